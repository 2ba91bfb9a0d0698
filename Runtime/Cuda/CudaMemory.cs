using Legato.Runtime.Devices;

namespace Legato.Runtime.Cuda;

/// <summary>Bytes on the GPU, zeroed; or a range of another's.</summary>
internal sealed class CudaMemory : IDeviceMemory
{
    private readonly CudaDevice device;
    private readonly bool isOwner;
    private nint address;

    /// <summary>An allocation of its own, counted by the device.</summary>
    /// <exception cref="LegatoException">The GPU has not so much memory.</exception>
    public CudaMemory(CudaDevice device, long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        (this.device, Bytes, isOwner) = (device, bytes, true);
        device.MakeCurrent();
        int result = Driver.MemAlloc(out address, (nuint)Math.Max(1, bytes));
        if (result == Driver.ErrorOutOfMemory)
            throw new LegatoException(
                $"{bytes} bytes of GPU memory can't be had: {device.BytesFree} are free on {device.Information.Name}, Legato holds {device.BytesAllocated}",
                remedy: "choose a smaller batch or context, or end the other programs on the GPU (nvidia-smi lists them)");
        CudaError.Check(result, "allocating memory");
        CudaError.Check(Driver.MemsetAsync(address, 0, (nuint)bytes, device.Stream), "clearing memory");
        device.Count(bytes);
    }

    private CudaMemory(CudaDevice device, nint address, long bytes) => (this.device, this.address, Bytes) = (device, address, bytes);

    public long Bytes { get; }

    public nint Address => address != 0 ? address : throw new ObjectDisposedException(nameof(CudaMemory));

    /// <summary>A part of this memory; it is freed with the whole.</summary>
    public CudaMemory Slice(long offset, long bytes)
    {
        Check(offset, bytes);
        return new CudaMemory(device, Address + (nint)offset, bytes);
    }

    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        Check(offset, source.Length);
        device.Staging.Write(Address + (nint)offset, source);
    }

    public void Read(long offset, Span<byte> target)
    {
        Check(offset, target.Length);
        device.Staging.Read(Address + (nint)offset, target);
    }

    public void Dispose()
    {
        if (!isOwner || address == 0)
            return;
        device.MakeCurrent();
        _ = Driver.StreamSynchronize(device.Stream);
        _ = Driver.MemFree(address);
        address = 0;
        device.Count(-Bytes);
    }

    private void Check(long offset, long bytes)
    {
        if (offset < 0 || bytes < 0 || offset + bytes > Bytes)
            throw new ArgumentOutOfRangeException(nameof(offset), $"bytes {offset} to {offset + bytes} of a memory of {Bytes}");
    }
}
