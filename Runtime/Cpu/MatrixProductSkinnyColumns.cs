using System.Runtime.CompilerServices;

namespace Legato.Runtime.Cpu;

/// <summary>A skinny product whose weights are stored [N,K]: workers claim stretches of columns.</summary>
internal static unsafe class MatrixProductSkinnyColumns
{
    private const int Lanes = MatrixProductSkinny.Lanes;

    /// <summary>Bytes of weights in a claim: what is fetched ahead of its end, 16 columns, is wasted.</summary>
    private const int ClaimBytes = 2 << 20;

    public static void Run(Worker worker, in MatrixProductArgs args)
    {
        int width = Claim(args, worker.Count);
        while (worker.TryClaim(MatrixProduct.Divide(args.N, width), out int item))
        {
            int n0 = item * width, n1 = Math.Min(args.N, n0 + width);
            Compute(args, n0, n1);
            args.Epilogue?.Invoke(0, 0, args.M, n0, n1);
        }
    }

    private static int Claim(in MatrixProductArgs args, int workers)
    {
        int fair = MatrixProduct.Divide(args.N, workers * 4);
        int most = (int)(ClaimBytes / ((long)args.K * args.BElementSize));
        return MatrixProduct.RoundUp(Math.Max(1, Math.Min(fair, most)), Lanes);
    }

    public static void Compute(in MatrixProductArgs args, int n0, int n1)
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
        nint bStride = (nint)args.BColumnStride * args.BElementSize;
        var kernel = (args.BElement == MatrixElement.Float32 ? Kernels.Float32 : Kernels.BFloat16)[rows - 1];
        if (columns == Lanes)
        {
            kernel(args.K, a, (nint)args.ARowStride, b, bStride, c, (nint)args.CRowStride, args.Accumulate);
            return;
        }
        new Span<float>(edge, rows * Lanes).Clear();
        if (args.Accumulate) Copy(c, args.CRowStride, edge + (n - first), Lanes, rows, columns);
        kernel(args.K, a, (nint)args.ARowStride, b, bStride, edge, Lanes, args.Accumulate);
        Copy(edge + (n - first), Lanes, c, args.CRowStride, rows, columns);
    }

    private static void Copy(float* from, long fromStride, float* to, long toStride, int rows, int columns)
    {
        for (int row = 0; row < rows; row++)
            new Span<float>(from + row * fromStride, columns).CopyTo(new Span<float>(to + row * toStride, columns));
    }

    private static class Kernels
    {
        public static readonly delegate*<nint, float*, nint, byte*, nint, float*, nint, bool, void>[]
            Float32 = MatrixProductColumns512.Kernels<ColumnStepsFloat32>(), BFloat16 = MatrixProductColumns512.Kernels<ColumnStepsBFloat16>();
    }
}
