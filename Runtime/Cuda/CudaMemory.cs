using Legato.Runtime.Devices;

namespace Legato.Runtime.Cuda;

/// <summary>Bytes on the GPU, zeroed; or a range of another's.</summary>
internal sealed class CudaMemory : IDeviceMemory
{
    private readonly CudaDevice device;
    private readonly CudaMemory? whole;
    private readonly long offset;
    private readonly bool comesLater;
    private nint address;

    /// <summary>An allocation of its own, counted by the device.</summary>
    /// <exception cref="LegatoException">The GPU has not so much memory.</exception>
    public CudaMemory(CudaDevice device, long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        (this.device, Bytes, address) = (device, bytes, device.Take(bytes));
    }

    private CudaMemory(CudaDevice device) => (this.device, comesLater) = (device, true);

    private CudaMemory(CudaMemory whole, long offset, long bytes) =>
        (device, this.whole, this.offset, Bytes) = (whole.device, whole, offset, bytes);

    public long Bytes { get; private set; }

    /// <summary>Whether it is a range of another's.</summary>
    public bool IsPart => whole is not null;

    public nint Address => whole is not null
        ? whole.Address + (nint)offset
        : address != 0 ? address : throw new ObjectDisposedException(nameof(CudaMemory));

    /// <summary>Where it lies among all memory: its address, or, as long as it has none, apart from all else.</summary>
    public nint Place => whole is not null ? whole.Place + (nint)offset : comesLater ? nint.MinValue : Address;

    /// <summary>Memory of which parts may be given away before it is there.</summary>
    public static CudaMemory Later(CudaDevice device) => new(device);

    /// <summary>Has it hold so many bytes, zeroed where it didn't before; its parts move with it.</summary>
    /// <exception cref="LegatoException">The GPU has not so much memory.</exception>
    public void Reserve(long bytes)
    {
        if (bytes <= Bytes)
            return;
        Dispose();
        (address, Bytes) = (device.Take(bytes), bytes);
    }

    /// <summary>A part of this memory; it is freed with the whole.</summary>
    public CudaMemory Slice(long start, long bytes)
    {
        if (!comesLater)
            Check(start, bytes);
        return new CudaMemory(this, start, bytes);
    }

    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        Check(offset, source.Length);
        if (device.IsOnPaper)
            return;
        // Code is loaded by products into a plan's memory: what is written there comes after them.
        if (IsPart)
            device.FinishLoading();
        if (source.Length < CudaUploads.Least)
            device.Staging.Write(Address + (nint)offset, source);
        else
            device.Uploads.Write(Address + (nint)offset, source);
    }

    public void Read(long offset, Span<byte> target)
    {
        Check(offset, target.Length);
        device.Staging.Read(Address + (nint)offset, target);
    }

    public void Dispose()
    {
        if (address == 0)
            return;
        device.Free(address, Bytes);
        (address, Bytes) = (0, comesLater ? 0 : Bytes);
    }

    private void Check(long offset, long bytes)
    {
        if (offset < 0 || bytes < 0 || offset > Bytes - bytes)
            throw new ArgumentOutOfRangeException(nameof(offset), $"bytes {offset} to {offset + bytes} of a memory of {Bytes}");
    }
}
