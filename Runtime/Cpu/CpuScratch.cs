namespace Legato.Runtime.Cpu;

/// <summary>Working memory that the steps of a kind share, as large as the largest asks for.</summary>
internal sealed class CpuScratch(Func<long, CpuMemory> allocate) : IDisposable
{
    private CpuMemory? memory;

    public nint Address => memory?.Address ?? 0;

    public long Bytes => memory?.Bytes ?? 0;

    /// <summary>Makes sure that there are so many bytes; not while a run is in progress.</summary>
    public void Reserve(long bytes)
    {
        if (bytes <= Bytes)
            return;
        memory?.Dispose();
        memory = allocate(bytes);
    }

    public void Dispose() => memory?.Dispose();
}
