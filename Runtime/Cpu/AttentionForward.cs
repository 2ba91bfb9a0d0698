using System.Runtime.Intrinsics;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Attention forward by a team of workers. A row's bits depend on its own keys and on QueryLength, not on the batch around
/// it or the number of workers.
/// </summary>
internal static unsafe class AttentionForward
{
    /// <summary>
    /// Computes the step. All workers of a run call this with the same arguments; no claims may have been made since the last
    /// barrier. A worker may return while others still compute: a barrier must follow before the output is read.
    /// </summary>
    public static void Run(Worker worker, in AttentionArgs args) => Run(worker, args, CpuIsaChoice.Active);

    /// <summary>Whether workers say what they have done, so that the step may be over before all have come to it.</summary>
    public static bool CountsUnits(in AttentionArgs args) => args.QueryLength == 1;

    /// <summary>Bytes of scratch that so many workers need; pointers aren't looked at.</summary>
    public static long ScratchBytes(in AttentionArgs args, int workers) => args.QueryLength == 1
        ? AttentionDecode<Vector128<float>, Vector128<int>, Lanes128>.ScratchBytes(args, workers)
        : BlockScratchBytes(args, workers) * workers;

    /// <summary>Reads keys and values of a step of one query into the cache, as many as it takes, shared among the workers.</summary>
    public static void ReadAhead(Worker worker, in AttentionArgs args) =>
        AttentionDecode<Vector128<float>, Vector128<int>, Lanes128>.ReadAhead(worker, args);

    internal static void Run(Worker worker, in AttentionArgs args, CpuIsa isa)
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

    private static void Run<F, I, L>(Worker worker, in AttentionArgs args)
        where F : struct
        where I : struct
        where L : struct, ILanes<F, I>
    {
        nint* operands = stackalloc nint[AttentionScoring.ScoreOperands + args.Program.ExtraCount];
        for (int i = 0; i < args.Program.ExtraCount; i++)
            operands[AttentionScoring.ScoreOperands + i] = ((nint*)args.Extra)[i];
        if (args.QueryLength == 1)
            new AttentionDecode<F, I, L>(args, worker).Run(worker, args, operands);
        else
            RunBlocks<F, I, L>(worker, args, operands);
    }

    private static void RunBlocks<F, I, L>(Worker worker, in AttentionArgs args, nint* operands)
        where F : struct
        where I : struct
        where L : struct, ILanes<F, I>
    {
        var geometry = new AttentionGeometry(args);
        int together = geometry.Together(args, worker.Count), groups = (geometry.PositionBlocks + together - 1) / together;
        var scratch = new AttentionScratch(args.Scratch + (nint)(BlockScratchBytes(args, worker.Count) * worker.Index));
        var computation = new AttentionForwardBlocks<F, I, L>(args, geometry, together, ref scratch);
        Span<AttentionBlock> blocks = stackalloc AttentionBlock[together];
        while (worker.TryClaim(args.Batch * args.KeyHeads * geometry.HeadBlocks * groups, out int item))
        {
            // Late positions first: under a causal mask they are the longest work, and the last claims should be short.
            int first = (groups - 1 - item % groups) * together, rest = item / groups;
            int headBlock = rest % geometry.HeadBlocks, row = rest / geometry.HeadBlocks;
            int count = Math.Min(together, geometry.PositionBlocks - first);
            for (int i = 0; i < count; i++)
                blocks[i] = new(args, geometry, row / args.KeyHeads, row % args.KeyHeads, headBlock, first + i);
            computation.Run(args, blocks[..count], operands);
        }
    }

    private static long BlockScratchBytes(in AttentionArgs args, int workers)
    {
        var scratch = new AttentionScratch(0);
        var geometry = new AttentionGeometry(args);
        _ = new AttentionForwardBlocks<Vector128<float>, Vector128<int>, Lanes128>(args, geometry, geometry.Together(args, workers), ref scratch);
        return scratch.Bytes;
    }
}
