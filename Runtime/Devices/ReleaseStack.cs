namespace Legato.Runtime.Devices;

/// <summary>How to give back what was taken, the last first: what takes one thing after another gives all back where a later one fails.</summary>
internal sealed class ReleaseStack : IDisposable
{
    private readonly Stack<Action> releases = new();

    /// <summary>Something was taken, and is given back so.</summary>
    public void Add(Action release) => releases.Push(release);

    /// <summary>Gives back all that wasn't yet.</summary>
    public void Dispose()
    {
        while (releases.TryPop(out Action? release))
            release();
    }
}
