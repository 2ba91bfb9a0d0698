using System.Runtime.CompilerServices;

namespace Legato.Runtime.Cpu;

/// <summary>A skinny product whose weights are stored [N,K].</summary>
internal static unsafe class MatrixProductSkinnyColumns
{
    private const int Lanes = MatrixProductSkinny.Lanes;

    /// <summary>Bytes of weights in a claim: few enough that workers end together.</summary>
    private const int ClaimBytes = 48 << 10;

    /// <summary>Columns of a claim.</summary>
    public static int Claim(in MatrixProductArgs args, int workers)
    {
        int fair = MatrixProduct.Divide(args.N, workers * 4);
        int most = (int)(ClaimBytes / ((long)args.K * args.BElementSize));
        return MatrixProduct.RoundUp(Math.Max(1, Math.Min(fair, most)), Lanes);
    }

    /// <summary>Fetches the beginnings of the columns from n0 on, so that a product may begin with them at full speed.</summary>
    public static void Prefetch(in MatrixProductArgs args, int n0) => MatrixProductColumns512.Prefetch(
        Column(args, n0), (nint)args.BColumnStride * args.BElementSize, (nint)args.K * args.BElementSize);

    /// <param name="next">The columns that will be read after these; none if null.</param>
    public static void Compute(in MatrixProductArgs args, int n0, int n1, byte* next)
    {
        int rows = MatrixProduct.Divide(args.M, MatrixProduct.Divide(args.M, MatrixProductColumns512.MaxRows));
        for (int n = n0; n < n1; n += Lanes)
        {
            byte* b = Column(args, n), after = n + Lanes < n1 ? Column(args, n + Lanes) : next == null ? b : next;
            for (int m = 0; m < args.M; m += rows)
                Columns(args, m, Math.Min(rows, args.M - m), n, Math.Min(Lanes, n1 - n), b, after);
        }
    }

    /// <summary>Where the 16 columns from n on begin; at the end of B the last 16.</summary>
    public static byte* Column(in MatrixProductArgs args, int n) => (byte*)args.B + Math.Min(n, args.N - Lanes) * args.BColumnStride * args.BElementSize;

    /// <summary>16 columns, of which only the new ones are stored.</summary>
    [SkipLocalsInit]
    private static void Columns(in MatrixProductArgs args, int m, int rows, int n, int columns, byte* b, byte* after)
    {
        float* edge = stackalloc float[MatrixProductColumns512.MaxRows * Lanes];
        float* a = (float*)args.A + m * args.ARowStride;
        float* c = (float*)args.C + m * args.CRowStride + n;
        nint bStride = (nint)args.BColumnStride * args.BElementSize;
        var kernel = (args.BElement == MatrixElement.Float32 ? Kernels.Float32 : Kernels.BFloat16)[rows - 1];
        if (columns == Lanes)
        {
            kernel(args.K, a, (nint)args.ARowStride, b, bStride, after, c, (nint)args.CRowStride, args.Accumulate);
            return;
        }
        int old = n - Math.Min(n, args.N - Lanes);
        new Span<float>(edge, rows * Lanes).Clear();
        if (args.Accumulate) Copy(c, args.CRowStride, edge + old, Lanes, rows, columns);
        kernel(args.K, a, (nint)args.ARowStride, b, bStride, after, edge, Lanes, args.Accumulate);
        Copy(edge + old, Lanes, c, args.CRowStride, rows, columns);
    }

    private static void Copy(float* from, long fromStride, float* to, long toStride, int rows, int columns)
    {
        for (int row = 0; row < rows; row++)
            new Span<float>(from + row * fromStride, columns).CopyTo(new Span<float>(to + row * toStride, columns));
    }

    private static class Kernels
    {
        public static readonly delegate*<nint, float*, nint, byte*, nint, byte*, float*, nint, bool, void>[]
            Float32 = MatrixProductColumns512.Kernels<ColumnWordsFloat32>(), BFloat16 = MatrixProductColumns512.Kernels<ColumnWordsBFloat16>();
    }
}
