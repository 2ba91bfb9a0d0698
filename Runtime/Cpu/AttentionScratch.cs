namespace Legato.Runtime.Cpu;

/// <summary>Hands out pieces of one worker's scratch, each aligned to 64 bytes.</summary>
internal unsafe struct AttentionScratch(nint start)
{
    private nint next = start;

    /// <summary>Bytes handed out, if it started at 0.</summary>
    public readonly long Bytes => next;

    public float* Floats(long count)
    {
        var piece = (float*)next;
        next += (nint)((count * sizeof(float) + 63) / 64 * 64);
        return piece;
    }
}
