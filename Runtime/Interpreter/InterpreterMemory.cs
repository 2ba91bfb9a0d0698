using Legato.Runtime.Devices;

namespace Legato.Runtime.Interpreter;

/// <summary>Bytes of a managed array, or a range of another memory's.</summary>
internal sealed class InterpreterMemory : IDeviceMemory
{
    private readonly byte[] bytes;
    private readonly long start;
    private readonly InterpreterDevice? owner;
    private bool disposed;

    /// <summary>An allocation of its own, counted by the device.</summary>
    public InterpreterMemory(InterpreterDevice owner, long bytes)
    {
        this.bytes = new byte[bytes];
        this.owner = owner;
        Bytes = bytes;
        owner.Count(bytes);
    }

    private InterpreterMemory(byte[] bytes, long start, long length) => (this.bytes, this.start, Bytes) = (bytes, start, length);

    public long Bytes { get; }

    /// <summary>A part of this memory; it is freed with the whole.</summary>
    public InterpreterMemory Slice(long offset, long length)
    {
        _ = Span(offset, length);
        return new InterpreterMemory(bytes, start + offset, length);
    }

    public Span<byte> Span(long offset, long length)
    {
        if (offset < 0 || length < 0 || offset + length > Bytes)
            throw new ArgumentOutOfRangeException(nameof(offset), $"bytes {offset} to {offset + length} of a memory of {Bytes}");
        return bytes.AsSpan((int)(start + offset), (int)length);
    }

    public void Write(long offset, ReadOnlySpan<byte> source) => source.CopyTo(Span(offset, source.Length));

    public void Read(long offset, Span<byte> target) => Span(offset, target.Length).CopyTo(target);

    public void Dispose()
    {
        if (disposed)
            return;
        disposed = true;
        owner?.Count(-Bytes);
    }
}
