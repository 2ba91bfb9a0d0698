namespace Legato.Runtime.Cuda;

/// <summary>
/// Work that is done in the background, one piece after another. Nothing is done after a mistake, until it has been told to who waits or forgotten.
/// Safe for several threads.
/// </summary>
internal sealed class BackgroundWork
{
    private readonly Lock gate = new();
    private volatile Task last = Task.CompletedTask;

    /// <summary>Has a piece done after those that were begun before.</summary>
    public void Begin(Action work)
    {
        lock (gate)
            last = Follow(last, work);
    }

    /// <summary>Waits until all is done; throws what went wrong, and work may begin anew.</summary>
    public void Finish()
    {
        Task begun = last;
        try
        {
            begun.GetAwaiter().GetResult();
        }
        catch
        {
            Renew(begun);
            throw;
        }
    }

    /// <summary>The same for what is about to be given up, whether or not that went well.</summary>
    public void Abandon()
    {
        Task begun = last;
        begun.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing).GetAwaiter().GetResult();
        Renew(begun);
    }

    private static async Task Follow(Task before, Action work)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        work();
    }

    private void Renew(Task begun)
    {
        lock (gate)
            if (last == begun)
                last = Task.CompletedTask;
    }
}
