namespace Legato.Runtime.Devices;

/// <summary>Bytes of a device on their way to the host, behind all work that was asked for before. Used again and again.</summary>
public interface IPendingRead : IDisposable
{
    /// <summary>Has the memory's first bytes copied once the work before is done; returns at once where the device works by itself.</summary>
    void Start();

    /// <summary>Waits for the copy last started, and for nothing after it.</summary>
    /// <param name="target">As many bytes as are wanted, at most those that the copy has.</param>
    void Finish(Span<byte> target);
}

/// <summary>A read of memory that the host works on itself: done as it starts.</summary>
internal sealed class FinishedRead(IDeviceMemory memory, int bytes) : IPendingRead
{
    private readonly byte[] copy = new byte[bytes];

    public void Start() => memory.Read(0, copy);

    public void Finish(Span<byte> target) => copy.AsSpan(0, target.Length).CopyTo(target);

    public void Dispose()
    {
    }
}
