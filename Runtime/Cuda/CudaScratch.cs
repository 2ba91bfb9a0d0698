namespace Legato.Runtime.Cuda;

/// <summary>
/// Memory beside the plan's that steps take in turn: a stream runs them one after the other, so that one region, as large
/// as the step that asks for most, serves all. What a step leaves in it is gone with the next.
/// </summary>
internal sealed class CudaScratch(CudaDevice device) : IDisposable
{
    private const long Alignment = 256;

    private readonly CudaMemory region = CudaMemory.Later(device);
    private long taken, most;
    private bool isOpen;

    /// <summary>From here on, what is taken is for another step.</summary>
    public void NextStep() => (taken, isOpen) = (0, true);

    /// <summary>A piece for the current step; its address is known once all steps have taken theirs.</summary>
    public CudaMemory Take(long bytes)
    {
        if (!isOpen)
            throw new InvalidOperationException("a step takes its scratch memory when it is added, not when its launch is made");
        CudaMemory piece = region.Slice(taken, bytes);
        taken += (bytes + Alignment - 1) / Alignment * Alignment;
        most = Math.Max(most, taken);
        return piece;
    }

    /// <summary>Allocates what was taken; no work that uses an earlier allocation is under way.</summary>
    /// <exception cref="LegatoException">The GPU has not so much memory.</exception>
    public void Allocate()
    {
        isOpen = false;
        region.Reserve(most);
    }

    public void Dispose() => region.Dispose();
}
