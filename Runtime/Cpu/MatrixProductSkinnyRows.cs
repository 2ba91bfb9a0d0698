namespace Legato.Runtime.Cpu;

/// <summary>A skinny product whose weights are stored [K,N], with rows long enough to be read stretch by stretch.</summary>
internal static unsafe class MatrixProductSkinnyRows
{
    private const int Group = MatrixProductRows512.ColumnGroup;

    /// <summary>Sums that a claim may have: with two sets of four rows of B they fit the L1 cache.</summary>
    public const int MaxSums = 4096;

    /// <summary>Rows of B that several sets of rows of A are multiplied with in turn.</summary>
    private const int RowsStep = 16;

    /// <summary>Scratch of one worker: its sums.</summary>
    public static long ScratchBytes(in MatrixProductArgs args) => (long)args.M * SumStride(args) * sizeof(float);

    /// <summary>Columns [n0, n1), stretch by stretch.</summary>
    public static void Compute(in MatrixProductArgs args, int n0, int n1, float* sums)
    {
        int sumStride = SumStride(args);
        for (int n = n0; n < n1; n += sumStride)
            Stretch(args, n, Math.Min(n1, n + sumStride), sums, sumStride);
    }

    private static void Stretch(in MatrixProductArgs args, int n0, int n1, float* sums, int sumStride)
    {
        for (int k0 = 0; k0 < args.K; k0 += MatrixProduct.DepthBlock)
        {
            Multiply(args, k0, n0, n1, sums, sumStride);
            for (int m = 0; m < args.M; m++)
                Add(args.BElement, (float*)args.C + m * args.CRowStride + n0, sums + m * sumStride, n1 - n0, args.Accumulate || k0 > 0);
        }
    }

    /// <summary>One block of depth from k0: sums[m, n - n0] = A[m, k]·B[k, n] over the block's k.</summary>
    public static void Multiply(in MatrixProductArgs args, int k0, int n0, int n1, float* sums, int sumStride)
    {
        int k1 = Math.Min(args.K, k0 + MatrixProduct.DepthBlock);
        int steps = args.M <= MatrixProductRows512.MaxRows ? MatrixProduct.DepthBlock : RowsStep;
        for (int m = 0; m < args.M; m++) new Span<float>(sums + m * sumStride, n1 - n0).Clear();
        for (int k = k0; k < k1; k += steps)
            for (int m = 0; m < args.M; m += MatrixProductRows512.MaxRows)
                Rows(args, m, Math.Min(MatrixProductRows512.MaxRows, args.M - m), k, Math.Min(steps, k1 - k), n0, n1 - n0, sums + m * sumStride, sumStride);
    }

    /// <summary>Adds a block's sums to C, or begins it with them.</summary>
    public static void Add(MatrixElement element, float* target, float* sums, int width, bool add)
    {
        int whole = width / Group * Group;
        MatrixProductRows512.AddSums(element, target, sums, whole, add);
        for (int n = whole; n < width; n++) target[n] = add ? target[n] + sums[n] : sums[n];
    }

    private static int SumStride(in MatrixProductArgs args) => MaxSums / args.M / Group * Group;

    private static void Rows(in MatrixProductArgs args, int m, int rows, int k, int steps, int n0, int width, float* sums, int sumStride)
    {
        int whole = width / Group * Group;
        float* a = (float*)args.A + m * args.ARowStride + k;
        byte* b = (byte*)args.B + (k * args.BRowStride + n0) * args.BElementSize;
        nint bStride = (nint)args.BRowStride * args.BElementSize;
        var kernels = args.BElement switch
        {
            MatrixElement.Float32 => Kernels.Float32,
            MatrixElement.BFloat16 => Kernels.BFloat16,
            _ => Kernels.Float16,
        };
        if (whole > 0) kernels[rows - 1](steps, a, (nint)args.ARowStride, b, bStride, whole, sums, sumStride);
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

    private static class Kernels
    {
        public static readonly delegate*<int, float*, nint, byte*, nint, int, float*, nint, void>[]
            Float32 = MatrixProductRows512.Kernels<LineFloat32>(), BFloat16 = MatrixProductRows512.Kernels<LineBFloat16>(),
            Float16 = MatrixProductRows512.Kernels<LineFloat16>();
    }
}
