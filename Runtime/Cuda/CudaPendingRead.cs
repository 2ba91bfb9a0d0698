using Legato.Runtime.Devices;

namespace Legato.Runtime.Cuda;

/// <summary>Bytes of the GPU on their way to pinned memory of the host, with an event at their arrival.</summary>
internal sealed unsafe class CudaPendingRead : IPendingRead
{
    private readonly CudaDevice device;
    private readonly CudaMemory memory;
    private readonly int bytes;
    private readonly nint copy, arrival;

    public CudaPendingRead(CudaDevice device, CudaMemory memory, int bytes)
    {
        (this.device, this.memory, this.bytes) = (device, memory, bytes);
        device.MakeCurrent();
        CudaError.Check(Driver.MemAllocHost(out copy, (nuint)bytes), "allocating pinned memory");
        CudaError.Check(Driver.EventCreate(out arrival, Driver.WithoutTiming), "making an event");
    }

    public void Start()
    {
        device.MakeCurrent();
        CudaError.Check(Driver.CopyToHostAsync(copy, memory.Address, (nuint)bytes, device.Stream), "copying from the GPU");
        CudaError.Check(Driver.EventRecord(arrival, device.Stream), "recording an event");
    }

    public void Finish(Span<byte> target)
    {
        CudaError.Check(Driver.EventSynchronize(arrival), "running a plan");
        new ReadOnlySpan<byte>((void*)copy, target.Length).CopyTo(target);
    }

    public void Dispose()
    {
        device.MakeCurrent();
        _ = Driver.EventSynchronize(arrival);
        _ = Driver.EventDestroy(arrival);
        _ = Driver.MemFreeHost(copy);
    }
}
