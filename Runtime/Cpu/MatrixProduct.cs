namespace Legato.Runtime.Cpu;

/// <summary>
/// Dense matrix products by a team of workers. The sum over k is taken in blocks of <see cref="DepthBlock"/>: within a block
/// one chain of fused multiply-adds in ascending k, and the blocks' sums are added to C in ascending order. That order
/// depends on K alone, so an element's bits depend neither on M and N (the batch around a row), nor on the operands' layout,
/// the number of workers or who computed what.
/// </summary>
public static unsafe class MatrixProduct
{
    internal const int DepthBlock = 384;
    private const int ScratchAlignment = 64;

    /// <summary>
    /// Computes the product. All workers of a run call this with the same arguments; no claims may have been made since the
    /// last barrier. A worker may return while others still compute: a barrier must follow before C is read.
    /// </summary>
    /// <exception cref="ArgumentException">The arguments contradict themselves or the scratch is too small.</exception>
    public static void Run(Worker worker, in MatrixProductArgs args) => Run(worker, args, CpuIsaChoice.Active);

    /// <summary>The scratch, in bytes, that <see cref="Run(Worker, in MatrixProductArgs)"/> needs with so many workers; pointers aren't looked at.</summary>
    public static long ScratchBytes(in MatrixProductArgs args, int workers) => ScratchBytes(args, workers, CpuIsaChoice.Active);

    internal static void Run(Worker worker, in MatrixProductArgs args, CpuIsa isa)
    {
        Check(args, worker.Count, isa);
        if (args.M == 0 || args.N == 0) return;
        MatrixProductTile tile = MatrixProductTile.For(isa);
        if (MatrixProductSkinny.Suits(args, isa)) MatrixProductSkinny.Run(worker, args);
        else if (MatrixProductPrivate.Suits(args)) MatrixProductPrivate.Run(worker, args, tile);
        else if (ByColumns(args, worker.Count, tile) is { Suits: true } byColumns) byColumns.Run(worker, args.Scratch);
        else new MatrixProductShared(args, worker.Count, tile).Run(worker);
    }

    internal static long ScratchBytes(in MatrixProductArgs args, int workers, CpuIsa isa)
    {
        if (args.M == 0 || args.N == 0) return 0;
        if (MatrixProductSkinny.Suits(args, isa)) return MatrixProductSkinny.ScratchBytes(args, workers);
        MatrixProductTile tile = MatrixProductTile.For(isa);
        if (MatrixProductPrivate.Suits(args)) return MatrixProductPrivate.ScratchBytes(tile) * workers;
        return ByColumns(args, workers, tile) is { Suits: true } byColumns
            ? byColumns.ScratchBytes
            : new MatrixProductShared(args, workers, tile).ScratchBytes;
    }

    /// <summary>Whether workers read what others wrote to the scratch, so that two products can't use it without a barrier between.</summary>
    internal static bool SharesScratch(in MatrixProductArgs args, int workers) =>
        MatrixProductSkinny.Suits(args, CpuIsaChoice.Active)
            ? MatrixProductSkinny.SharesScratch(args, workers)
            : !MatrixProductPrivate.Suits(args);

    /// <summary>
    /// The part of the scratch that is this worker's own, an equal part of all of it: wherever steps follow one another without
    /// a barrier, of whatever kind and however little each needs, nobody touches another's.
    /// </summary>
    internal static float* OwnScratch(Worker worker, nint scratch, long bytes) =>
        (float*)(scratch + (nint)(bytes / worker.Count / ScratchAlignment * ScratchAlignment * worker.Index));

    private static MatrixProductByColumns ByColumns(in MatrixProductArgs args, int workers, MatrixProductTile tile) =>
        new(new(in args), [1], workers, tile);

    internal static int Divide(int dividend, int divisor) => (dividend + divisor - 1) / divisor;

    internal static int RoundUp(int value, int multiple) => Divide(value, multiple) * multiple;

    private static void Check(in MatrixProductArgs args, int workers, CpuIsa isa)
    {
        if (args.M < 0 || args.N < 0 || args.K < 0 || args.Batch < 0)
            throw new ArgumentException($"negative size in [{args.M},{args.K}]·[{args.K},{args.N}]×{args.Batch}");
        if (args.Scratch % ScratchAlignment != 0)
            throw new ArgumentException($"the scratch isn't aligned to {ScratchAlignment} bytes");
        long needed = ScratchBytes(args, workers, isa);
        if (args.ScratchBytes < needed)
            throw new ArgumentException($"[{args.M},{args.K}]·[{args.K},{args.N}] needs {needed} bytes of scratch, not {args.ScratchBytes}");
    }
}
