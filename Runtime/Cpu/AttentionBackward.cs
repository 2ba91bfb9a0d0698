using System.Runtime.Intrinsics;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Gradients of attention by a team of workers (Dao 2023, FlashAttention-2, algorithm 2), without atomics. Where there are
/// work enough items of a (batch row, key head), one pass computes all three gradients; else the keys' gradients and the
/// queries' are computed apart, which repeats two of the five products but gives many more items. Each gradient's sum runs
/// over positions in ascending order either way, so the bits don't depend on the number of workers.
/// </summary>
internal static unsafe class AttentionBackward
{
    /// <summary>Keys of a work item where the passes are apart.</summary>
    private const int ChunkKeys = 2 * AttentionGeometry.TileKeys;

    /// <summary>
    /// Computes the step. All workers of a run call this with the same arguments; no claims may have been made since the last
    /// barrier. A worker may return while others still compute: a barrier must follow before the gradients are read.
    /// </summary>
    public static void Run(Worker worker, in AttentionGradientArgs args) => Run(worker, args, CpuIsaChoice.Active);

    /// <summary>Bytes of scratch that so many workers need; pointers aren't looked at.</summary>
    public static long ScratchBytes(in AttentionGradientArgs args, int workers) => WorkerScratchBytes(args, workers) * workers;

    internal static void Run(Worker worker, in AttentionGradientArgs args, CpuIsa isa)
    {
        switch (isa)
        {
            case CpuIsa.Avx512:
                Run<Vector512<float>, Vector512<int>, Lanes512>(worker, args);
                break;
            case CpuIsa.Avx2:
                Run<Vector256<float>, Vector256<int>, Lanes256>(worker, args);
                break;
            default:
                Run<Vector128<float>, Vector128<int>, Lanes128>(worker, args);
                break;
        }
    }

    private static bool InOnePass(in AttentionArgs args, int workers) => workers == 1 || args.Batch * args.KeyHeads >= 2 * workers;

    private static int KeysAtOnce(in AttentionArgs args, int workers) => InOnePass(args, workers) ? args.KeyLength : ChunkKeys;

    private static long WorkerScratchBytes(in AttentionGradientArgs args, int workers)
    {
        var scratch = new AttentionScratch(0);
        _ = new AttentionBackwardBlock<Vector128<float>, Vector128<int>, Lanes128>(
            args, new AttentionGeometry(args.Forward), KeysAtOnce(args.Forward, workers), ref scratch);
        return scratch.Bytes;
    }

    private static void Run<F, I, L>(Worker worker, in AttentionGradientArgs args)
        where F : struct
        where I : struct
        where L : struct, ILanes<F, I>
    {
        AttentionArgs forward = args.Forward;
        nint* operands = stackalloc nint[AttentionScoring.ScoreOperands + forward.Program.ExtraCount];
        for (int i = 0; i < forward.Program.ExtraCount; i++)
            operands[AttentionScoring.ScoreOperands + i] = ((nint*)forward.Extra)[i];
        DotRows(worker, args);
        worker.Barrier();

        var geometry = new AttentionGeometry(forward);
        int keys = KeysAtOnce(forward, worker.Count);
        var scratch = new AttentionScratch(forward.Scratch + (nint)(WorkerScratchBytes(args, worker.Count) * worker.Index));
        var block = new AttentionBackwardBlock<F, I, L>(args, geometry, keys, ref scratch);
        if (InOnePass(forward, worker.Count))
            RunInOnePass(worker, args, block, operands);
        else
            RunApart(worker, args, block, geometry, operands);
    }

    /// <summary>RowDot = Σ output · outputGradient of each row; position by position, in which order they lie in memory.</summary>
    private static void DotRows(Worker worker, in AttentionGradientArgs args)
    {
        AttentionArgs forward = args.Forward;
        long rows = (long)forward.Batch * forward.QueryLength, end = rows * (worker.Index + 1) / worker.Count;
        for (long row = rows * worker.Index / worker.Count; row < end; row++)
        {
            (long batch, long i) = Math.DivRem(row, forward.QueryLength);
            for (int head = 0; head < forward.Heads; head++)
                args.RowDotRow(batch, head)[i] = AttentionRows.Dot(
                    forward.Output.Floats(batch, i, head), args.OutputGradient.Floats(batch, i, head), forward.ValueSize);
        }
    }

    private static void RunInOnePass<F, I, L>(
        Worker worker, in AttentionGradientArgs args, in AttentionBackwardBlock<F, I, L> block, nint* operands)
        where F : struct
        where I : struct
        where L : struct, ILanes<F, I>
    {
        AttentionArgs forward = args.Forward;
        while (worker.TryClaim(forward.Batch * forward.KeyHeads, out int item))
            block.Run(args, item / forward.KeyHeads, item % forward.KeyHeads, 0, forward.KeyLength, AttentionGradientParts.All, operands);
    }

    private static void RunApart<F, I, L>(
        Worker worker, in AttentionGradientArgs args, in AttentionBackwardBlock<F, I, L> block, in AttentionGeometry geometry, nint* operands)
        where F : struct
        where I : struct
        where L : struct, ILanes<F, I>
    {
        AttentionArgs forward = args.Forward;
        int rows = forward.Batch * forward.KeyHeads, queryBlocks = geometry.HeadBlocks * geometry.PositionBlocks;
        int chunks = (forward.KeyLength + ChunkKeys - 1) / ChunkKeys;
        while (worker.TryClaim(rows * (chunks + queryBlocks), out int item))
        {
            // Early keys and late queries are the longest work under a causal mask, so each row of items ends with short ones.
            int row = item / (chunks + queryBlocks), part = item % (chunks + queryBlocks);
            int batch = row / forward.KeyHeads, head = row % forward.KeyHeads;
            if (part < chunks)
                block.Run(
                    args, batch, head, part * ChunkKeys, Math.Min(ChunkKeys, forward.KeyLength - part * ChunkKeys),
                    AttentionGradientParts.Keys, operands);
            else
                block.RunQueries(args, batch, head, chunks + queryBlocks - 1 - part, operands);
        }
    }
}
