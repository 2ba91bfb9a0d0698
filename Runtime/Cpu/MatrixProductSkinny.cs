using System.Runtime.CompilerServices;

namespace Legato.Runtime.Cpu;

/// <summary>
/// The product of very few rows, as in decoding: B, the weights, is read once, at the speed of memory, and never packed.
/// Workers claim stretches of columns. With AVX-512 only; what doesn't suit goes to <see cref="MatrixProductPrivate"/>, with the
/// same bits.
/// </summary>
internal static unsafe class MatrixProductSkinny
{
    /// <summary>More rows than these are faster through panels.</summary>
    private const int MaxRows = 16;

    /// <summary>Bytes of weights in a claim, at least: long enough for the fetching ahead to pay, short enough to balance.</summary>
    private const int ClaimBytes = 256 << 10;

    /// <summary>Sums that a claim of weights stored [K,N] may have: with two sets of four rows of B they fit the L1 cache.</summary>
    private const int MaxSums = 4096;

    /// <summary>Rows of B that several sets of rows of A are multiplied with in turn.</summary>
    private const int RowsStep = 16;
    private const int Lanes = 16;

    public static bool Suits(in MatrixProductArgs args, CpuIsa isa) =>
        isa == CpuIsa.Avx512 && args.BatchCount == 1 && args.M <= MaxRows && args.N >= Lanes && args.K > 0 && args.AColumnStride == 1
        && args.AElement == MatrixElement.Float32
        && (AlongDepth(args) ? args.BElement != MatrixElement.Float16 : args.BColumnStride == 1);

    /// <summary>Scratch of one worker: its sums.</summary>
    public static long ScratchBytes(in MatrixProductArgs args) => AlongDepth(args) ? 0 : (long)args.M * SumStride(args) * sizeof(float);

    public static void Run(Worker worker, in MatrixProductArgs args)
    {
        bool alongDepth = AlongDepth(args);
        int width = alongDepth ? ColumnsClaim(args, worker.Count) : RowsClaim(args, worker.Count);
        while (worker.TryClaim(MatrixProduct.Divide(args.N, width), out int item))
        {
            int n0 = item * width, n1 = Math.Min(args.N, n0 + width);
            Compute(args, n0, n1, (float*)(args.Scratch + (nint)(ScratchBytes(args) * worker.Index)));
            args.Epilogue?.Invoke(0, 0, args.M, n0, n1);
        }
    }

    /// <summary>Columns [n0, n1) alone, with one worker's scratch.</summary>
    public static void Compute(in MatrixProductArgs args, int n0, int n1, float* scratch)
    {
        if (AlongDepth(args)) AlongDepth(args, n0, n1);
        else Across(args, n0, n1, scratch);
    }

    private static bool AlongDepth(in MatrixProductArgs args) => args.BRowStride == 1 && args.K > 1;

    private static int ColumnsClaim(in MatrixProductArgs args, int workers)
    {
        int fair = MatrixProduct.Divide(args.N, workers * 4);
        int least = (int)(ClaimBytes / ((long)args.K * args.BElementSize));
        return MatrixProduct.RoundUp(Math.Max(1, Math.Min(fair, least)), Lanes);
    }

    private static int SumStride(in MatrixProductArgs args) => MaxSums / args.M / Lanes * Lanes;

    private static int RowsClaim(in MatrixProductArgs args, int workers) =>
        Math.Min(SumStride(args), MatrixProduct.RoundUp(MatrixProduct.Divide(args.N, workers * 2), Lanes));

    private static void AlongDepth(in MatrixProductArgs args, int n0, int n1)
    {
        int rows = MatrixProduct.Divide(args.M, MatrixProduct.Divide(args.M, MatrixProductColumns512.MaxRows));
        for (int n = n0; n < n1; n += Lanes)
            for (int m = 0; m < args.M; m += rows)
                Columns(args, m, Math.Min(rows, args.M - m), n, Math.Min(Lanes, n1 - n));
    }

    /// <summary>16 columns; at the end of B the last 16, of which only the new ones are stored.</summary>
    [SkipLocalsInit]
    private static void Columns(in MatrixProductArgs args, int m, int rows, int n, int columns)
    {
        float* edge = stackalloc float[MatrixProductColumns512.MaxRows * Lanes];
        int first = Math.Min(n, args.N - Lanes);
        float* a = (float*)args.A + m * args.ARowStride;
        byte* b = (byte*)args.B + first * args.BColumnStride * args.BElementSize;
        float* c = (float*)args.C + m * args.CRowStride + n;
        nint bStride = (nint)args.BColumnStride * args.BElementSize, rest = (nint)args.K * args.BElementSize;
        var kernel = (args.BElement == MatrixElement.Float32 ? ColumnsKernels.Float32 : ColumnsKernels.BFloat16)[rows - 1];
        if (columns == Lanes)
        {
            kernel(args.K, a, (nint)args.ARowStride, b, bStride, rest, c, (nint)args.CRowStride, args.Accumulate);
            return;
        }
        new Span<float>(edge, rows * Lanes).Clear();
        if (args.Accumulate) Copy(c, args.CRowStride, edge + (n - first), Lanes, rows, columns);
        kernel(args.K, a, (nint)args.ARowStride, b, bStride, rest, edge, Lanes, args.Accumulate);
        Copy(edge + (n - first), Lanes, c, args.CRowStride, rows, columns);
    }

    private static void Copy(float* from, long fromStride, float* to, long toStride, int rows, int columns)
    {
        for (int row = 0; row < rows; row++)
            new Span<float>(from + row * fromStride, columns).CopyTo(new Span<float>(to + row * toStride, columns));
    }

    private static void Across(in MatrixProductArgs args, int n0, int n1, float* sums)
    {
        int width = n1 - n0, whole = width / Lanes * Lanes, sumStride = SumStride(args);
        int steps = args.M <= MatrixProductRows512.MaxRows ? MatrixProduct.DepthBlock : RowsStep;
        for (int k0 = 0; k0 < args.K; k0 += MatrixProduct.DepthBlock)
        {
            int k1 = Math.Min(args.K, k0 + MatrixProduct.DepthBlock);
            new Span<float>(sums, args.M * sumStride).Clear();
            for (int k = k0; k < k1; k += steps)
                for (int m = 0; m < args.M; m += MatrixProductRows512.MaxRows)
                    Rows(args, m, Math.Min(MatrixProductRows512.MaxRows, args.M - m), k, Math.Min(steps, k1 - k), n0, whole, width, sums + m * sumStride, sumStride);
            for (int m = 0; m < args.M; m++)
                Add((float*)args.C + m * args.CRowStride + n0, sums + m * sumStride, width, args.Accumulate || k0 > 0);
        }
    }

    private static void Rows(in MatrixProductArgs args, int m, int rows, int k, int steps, int n0, int whole, int width, float* sums, int sumStride)
    {
        float* a = (float*)args.A + m * args.ARowStride + k;
        byte* b = (byte*)args.B + (k * args.BRowStride + n0) * args.BElementSize;
        nint bStride = (nint)args.BRowStride * args.BElementSize;
        var kernels = args.BElement switch
        {
            MatrixElement.Float32 => RowsKernels.Float32,
            MatrixElement.BFloat16 => RowsKernels.BFloat16,
            _ => RowsKernels.Float16,
        };
        kernels[rows - 1](steps, a, (nint)args.ARowStride, b, bStride, whole, sums, sumStride);
        for (int n = whole; n < width; n++)
            for (int row = 0; row < rows; row++)
                for (int step = 0; step < steps; step++)
                    sums[row * sumStride + n] = MathF.FusedMultiplyAdd(
                        a[row * args.ARowStride + step], Load(args.BElement, b + step * bStride + n * args.BElementSize), sums[row * sumStride + n]);
    }

    private static float Load(MatrixElement element, byte* source) => element switch
    {
        MatrixElement.Float32 => StoredFloat32.Load(source),
        MatrixElement.BFloat16 => StoredBFloat16.Load(source),
        _ => StoredFloat16.Load(source),
    };

    private static void Add(float* target, float* source, int count, bool add)
    {
        for (int n = 0; n < count; n++) target[n] = add ? target[n] + source[n] : source[n];
    }

    private static class ColumnsKernels
    {
        public static readonly delegate*<nint, float*, nint, byte*, nint, nint, float*, nint, bool, void>[]
            Float32 = MatrixProductColumns512.Kernels<ColumnStepsFloat32>(), BFloat16 = MatrixProductColumns512.Kernels<ColumnStepsBFloat16>();
    }

    private static class RowsKernels
    {
        public static readonly delegate*<int, float*, nint, byte*, nint, int, float*, nint, void>[]
            Float32 = MatrixProductRows512.Kernels<StoredFloat32>(), BFloat16 = MatrixProductRows512.Kernels<StoredBFloat16>(),
            Float16 = MatrixProductRows512.Kernels<StoredFloat16>();
    }
}
