namespace Legato.Runtime.Cpu;

/// <summary>
/// The product of few rows, as in decoding: B, the weights, is read from memory once, at its speed, and never packed.
/// With AVX-512 only; what doesn't suit goes to <see cref="MatrixProductPrivate"/>, with the same bits.
/// </summary>
internal static unsafe class MatrixProductSkinny
{
    internal const int Lanes = 16;

    /// <summary>More rows than these are faster through tiles, those of weights in panels through tiles of many rows.</summary>
    private const int MaxRows = 16, MaxRowsOfPanels = 192;

    public static bool Suits(in MatrixProductArgs args, CpuIsa isa) =>
        isa == CpuIsa.Avx512 && args.BatchCount == 1 && args.M > 0 && args.M <= (args.BInPanels ? MaxRowsOfPanels : MaxRows) && args.N >= Lanes
        && args.K > 0 && args.AColumnStride == 1 && args.AElement == MatrixElement.Float32
        && (StoredByColumns(args) ? args.BElement != MatrixElement.Float16 : args.BColumnStride == 1);

    /// <summary>Whether the product may be a member of a <see cref="MatrixProductSkinnyRun"/>.</summary>
    public static bool SuitsRun(in MatrixProductArgs args, int workers) => Suits(args, CpuIsaChoice.Active) && !SharesScratch(args, workers);

    /// <summary>Scratch of all workers.</summary>
    public static long ScratchBytes(in MatrixProductArgs args, int workers) =>
        SharesScratch(args, workers) ? MatrixProductByDepth.ScratchBytes(args) : WorkerScratchBytes(args) * workers;

    /// <summary>Scratch of one worker where each has its own.</summary>
    public static long WorkerScratchBytes(in MatrixProductArgs args) => StoredByColumns(args) ? 0 : MatrixProductSkinnyRows.ScratchBytes(args);

    /// <summary>Whether workers read what others wrote to the scratch.</summary>
    public static bool SharesScratch(in MatrixProductArgs args, int workers) => !StoredByColumns(args) && MatrixProductByDepth.Suits(args, workers);

    public static void Run(Worker worker, in MatrixProductArgs args)
    {
        if (SharesScratch(args, worker.Count)) MatrixProductByDepth.Run(worker, args);
        else new MatrixProductSkinnyRun(new(in args), [1]).Run(worker, args.Scratch, args.ScratchBytes, null, 0);
    }

    /// <summary>Columns that stay together.</summary>
    public static int Grain(in MatrixProductArgs args) => args.BInPanels ? WeightPanels.Rows : StoredByColumns(args) ? Lanes : MatrixProductRows512.ColumnGroup;

    /// <summary>Columns [n0, n1) alone, by one worker.</summary>
    /// <param name="sums">Room for <see cref="MatrixProductSkinnyRows.MaxSums"/> floats where weights are stored [K,N].</param>
    /// <param name="weights">Those columns, and what is read after them.</param>
    /// <returns>How many bytes from the next column on are in the cache.</returns>
    public static nint Compute(in MatrixProductArgs args, int n0, int n1, float* sums, WeightOrder weights)
    {
        if (args.BInPanels) return MatrixProductSkinnyPanels.Compute(args, n0, n1, weights);
        if (StoredByColumns(args)) return MatrixProductSkinnyColumns.Compute(args, n0, n1, weights);
        MatrixProductSkinnyRows.Compute(args, n0, n1, sums);
        return 0;
    }

    /// <summary>Columns [n0, n1) alone, with nothing known of what is read after them.</summary>
    public static void Compute(in MatrixProductArgs args, int n0, int n1, float* sums) =>
        Compute(args, n0, n1, sums, new WeightOrder(Weights(args, n0, n1), [], 0));

    /// <summary>What columns [n0, n1) are in memory; nothing where they aren't one piece.</summary>
    public static WeightPiece Weights(in MatrixProductArgs args, int n0, int n1)
    {
        nint stride = (nint)args.BColumnStride * args.BElementSize;
        return StoredByColumns(args) ? new(args.B + n0 * stride, (n1 - n0) * stride) : new(args.B, 0);
    }

    public static bool StoredByColumns(in MatrixProductArgs args) => args.BRowStride == 1 && args.K > 1;
}
