namespace Legato.Runtime.Cuda;

/// <summary>
/// Pinned host memory that copies pass through. A write returns once its bytes are in here; the GPU takes them in the
/// order of its work. Safe for several threads.
/// </summary>
internal sealed unsafe class CudaStaging : IDisposable
{
    private const int Size = 16 << 20, Alignment = 64;

    private readonly CudaDevice device;
    private readonly Lock gate = new();
    private readonly nint address;
    private int used;

    public CudaStaging(CudaDevice device)
    {
        this.device = device;
        CudaError.Check(Driver.MemAllocHost(out address, Size), "allocating pinned memory");
    }

    public void Write(nint target, ReadOnlySpan<byte> source)
    {
        lock (gate)
        {
            device.MakeCurrent();
            while (source.Length > 0)
            {
                if (used >= Size)
                    Wait();
                int count = Math.Min(source.Length, Size - used);
                source[..count].CopyTo(new Span<byte>((void*)(address + used), count));
                CudaError.Check(Driver.CopyToDeviceAsync(target, address + used, (nuint)count, device.Stream), "copying to the GPU");
                used += (count + Alignment - 1) / Alignment * Alignment;
                target += count;
                source = source[count..];
            }
        }
    }

    public void Read(nint source, Span<byte> target)
    {
        lock (gate)
        {
            device.MakeCurrent();
            Wait();
            while (target.Length > 0)
            {
                int count = Math.Min(target.Length, Size);
                CudaError.Check(Driver.CopyToHostAsync(address, source, (nuint)count, device.Stream), "copying from the GPU");
                Wait();
                new ReadOnlySpan<byte>((void*)address, count).CopyTo(target);
                source += count;
                target = target[count..];
            }
        }
    }

    /// <summary>Waits until all that was asked of the GPU is done.</summary>
    public void Finish()
    {
        lock (gate)
            Wait();
    }

    public void Dispose() => _ = Driver.MemFreeHost(address);

    private void Wait()
    {
        device.Synchronize("running a plan");
        used = 0;
    }
}
