namespace Legato.Runtime.Cpu;

/// <summary>
/// The product of very few rows, as in decoding: B, the weights, is read once, at the speed of memory, and never packed.
/// With AVX-512 only; what doesn't suit goes to <see cref="MatrixProductPrivate"/>, with the same bits.
/// </summary>
internal static unsafe class MatrixProductSkinny
{
    internal const int Lanes = 16;

    /// <summary>More rows than these are faster through panels.</summary>
    private const int MaxRows = 16;

    public static bool Suits(in MatrixProductArgs args, CpuIsa isa) =>
        isa == CpuIsa.Avx512 && args.BatchCount == 1 && args.M <= MaxRows && args.N >= Lanes && args.K > 0 && args.AColumnStride == 1
        && args.AElement == MatrixElement.Float32
        && (StoredByColumns(args) ? args.BElement != MatrixElement.Float16 : args.BColumnStride == 1);

    /// <summary>Scratch of all workers.</summary>
    public static long ScratchBytes(in MatrixProductArgs args, int workers) =>
        StoredByColumns(args) ? 0
        : MatrixProductByDepth.Suits(args, workers) ? MatrixProductByDepth.ScratchBytes(args)
        : MatrixProductSkinnyRows.ScratchBytes(args) * workers;

    /// <summary>Whether workers read what others wrote to the scratch.</summary>
    public static bool SharesScratch(in MatrixProductArgs args, int workers) => !StoredByColumns(args) && MatrixProductByDepth.Suits(args, workers);

    public static void Run(Worker worker, in MatrixProductArgs args)
    {
        if (StoredByColumns(args)) MatrixProductSkinnyColumns.Run(worker, args);
        else if (MatrixProductByDepth.Suits(args, worker.Count)) MatrixProductByDepth.Run(worker, args);
        else MatrixProductSkinnyRows.Run(worker, args);
    }

    /// <summary>Columns [n0, n1) alone, by one worker; its scratch holds <see cref="MatrixProductSkinnyRows.MaxSums"/> floats.</summary>
    public static void Compute(in MatrixProductArgs args, int n0, int n1, float* scratch)
    {
        if (StoredByColumns(args)) MatrixProductSkinnyColumns.Compute(args, n0, n1);
        else MatrixProductSkinnyRows.Compute(args, n0, n1, scratch);
    }

    private static bool StoredByColumns(in MatrixProductArgs args) => args.BRowStride == 1 && args.K > 1;
}
