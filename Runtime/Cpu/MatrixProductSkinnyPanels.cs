namespace Legato.Runtime.Cpu;

/// <summary>A skinny product whose weights lie in panels (<see cref="WeightPanels"/>).</summary>
internal static unsafe class MatrixProductSkinnyPanels
{
    /// <summary>How far ahead lines are fetched where weights are read once: the processor's own fetching ends with a page. As measured on Zen 5.</summary>
    private const nint Ahead = 8 << 10;

    /// <summary>How deep a piece is that more rows than a kernel takes read several times, from the L2 cache.</summary>
    private const int SliceDepth = 2 * MatrixProduct.DepthBlock;

    /// <param name="weights">Those columns, and what is read after them.</param>
    /// <returns>How many bytes from the next column on are in the cache.</returns>
    public static nint Compute(in MatrixProductArgs args, int n0, int n1, WeightOrder weights)
    {
        int inPanels = args.ColumnsInPanels;
        if (n1 > inPanels)
        {
            if (n0 < inPanels) Compute(args, n0, inPanels, weights);
            return MatrixProductSkinnyColumns.Compute(args, Math.Max(n0, inPanels), n1, weights);
        }
        fixed (WeightPiece* own = weights.Own)
        {
            if (args.M > MatrixProductPanels512.MaxRows)
                return ComputeInPasses(args, n0, n1, weights, own);
            nint b = args.B + n0 * ColumnBytes(args);
            Kernel<FetchForOnce>(args, args.M)((n1 - n0) / WeightPanels.Rows, args.K, (float*)args.A, (nint)args.ARowStride, (byte*)b,
                weights.Fetch(b, Ahead, own, MatrixProductPanels512.StepBytes), (float*)args.C + n0, (nint)args.CRowStride, args.Accumulate);
            return Ahead;
        }
    }

    /// <summary>Each slice of a panel is read by some rows after the others, and meanwhile the next is fetched, a part in each pass.</summary>
    private static nint ComputeInPasses(in MatrixProductArgs args, int n0, int n1, in WeightOrder weights, WeightPiece* own)
    {
        int passes = MatrixProduct.Divide(args.M, MatrixProductPanels512.MaxRows), rows = MatrixProduct.Divide(args.M, passes);
        nint step = MatrixProductPanels512.StepBytes / Math.Min(passes, MatrixProductPanels512.StepLines), depthBytes = WeightPanels.Rows * args.BElementSize;
        nint b = args.B + n0 * ColumnBytes(args), slice = 0;
        for (int n = n0; n < n1; n += WeightPanels.Rows)
            for (int k = 0; k < args.K; k += SliceDepth, b += slice)
            {
                int depth = Math.Min(SliceDepth, args.K - k);
                slice = depth * depthBytes;
                nint fetched = 0;
                for (int m = 0; m < args.M; m += rows)
                {
                    // The first passes fetch all of the next slice, one part each; the rest ask for what is there.
                    PanelFetch fetch = weights.Fetch(b, fetched < slice ? slice + fetched : 0, own, step);
                    fetched += slice * step / MatrixProductPanels512.StepBytes;
                    Kernel<FetchToKeep>(args, Math.Min(rows, args.M - m))(1, depth, (float*)args.A + m * args.ARowStride + k, (nint)args.ARowStride, (byte*)b,
                        fetch, (float*)args.C + m * args.CRowStride + n, (nint)args.CRowStride, args.Accumulate || k > 0);
                }
            }
        return slice;
    }

    private static nint ColumnBytes(in MatrixProductArgs args) => (nint)args.BColumnStride * args.BElementSize;

    private static delegate*<nint, nint, float*, nint, byte*, in PanelFetch, float*, nint, bool, void> Kernel<TFetch>(in MatrixProductArgs args, int rows)
        where TFetch : struct, IWeightFetch =>
        (args.BElement == MatrixElement.Float32 ? Kernels<TFetch>.Float32 : Kernels<TFetch>.BFloat16)[rows - 1];

    private static class Kernels<TFetch> where TFetch : struct, IWeightFetch
    {
        public static readonly delegate*<nint, nint, float*, nint, byte*, in PanelFetch, float*, nint, bool, void>[]
            Float32 = MatrixProductPanels512.Kernels<ColumnWordsFloat32, TFetch>(), BFloat16 = MatrixProductPanels512.Kernels<ColumnWordsBFloat16, TFetch>();
    }
}
