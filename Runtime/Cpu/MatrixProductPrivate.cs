namespace Legato.Runtime.Cpu;

/// <summary>
/// The product of a few rows, or of many small matrices: each worker claims a block of C and packs what that takes into
/// scratch of its own, so workers never wait for each other. A panel of B is multiplied while it is still in the L1 cache.
/// </summary>
internal static unsafe class MatrixProductPrivate
{
    /// <summary>Rows of A packed at once: with a depth block, 200 to 300 KB of the L2 cache.</summary>
    private const int RowBlock = 126;

    /// <summary>Up to so many rows, packing B for all workers costs more than it saves.</summary>
    private const int FewRows = 96;

    private const long SmallProduct = 1L << 22;
    private const int MaxColumnBlock = 512;

    public static bool Suits(in MatrixProductArgs args) =>
        args.M <= FewRows || args.K == 0 || (long)args.M * args.N * args.K <= (args.BatchCount > 1 ? SmallProduct : SmallProduct / 16);

    /// <summary>Scratch of one worker: a block of A and a panel of B.</summary>
    public static long ScratchBytes(MatrixProductTile tile) => AFloats(tile) * sizeof(float) + (long)MatrixProduct.DepthBlock * tile.Columns * sizeof(float);

    public static void Run(Worker worker, in MatrixProductArgs args, MatrixProductTile tile)
    {
        int rowBlock = MatrixProduct.RoundUp(RowBlock, tile.Rows);
        int columnBlock = ColumnBlock(args, worker.Count, tile);
        int rowBlocks = MatrixProduct.Divide(args.M, rowBlock), columnBlocks = MatrixProduct.Divide(args.N, columnBlock);
        float* scratch = MatrixProduct.OwnScratch(worker, args.Scratch, args.ScratchBytes);
        while (worker.TryClaim(args.BatchCount * rowBlocks * columnBlocks, out int item))
        {
            int batch = item / (rowBlocks * columnBlocks), block = item % (rowBlocks * columnBlocks);
            int m0 = block / columnBlocks * rowBlock, n0 = block % columnBlocks * columnBlock;
            int m1 = Math.Min(args.M, m0 + rowBlock), n1 = Math.Min(args.N, n0 + columnBlock);
            ComputeBlock(args, tile, scratch, batch, m0, m1, n0, n1);
            args.Epilogue?.Invoke(batch, m0, m1, n0, n1);
        }
    }

    private static void ComputeBlock(in MatrixProductArgs args, MatrixProductTile tile, float* scratch, int batch, int m0, int m1, int n0, int n1)
    {
        float* aPanels = scratch, bPanel = scratch + AFloats(tile);
        float* c = (float*)args.C + batch * args.CBatchStride + m0 * args.CRowStride;
        int k0 = 0;
        do
        {
            int depth = Math.Min(MatrixProduct.DepthBlock, args.K - k0);
            nint aPanelStride = (nint)depth * tile.AWidth;
            args.PackA(tile, batch, m0, m1, k0, depth, aPanels, aPanelStride);
            for (int n = n0; n < n1; n += tile.Columns)
            {
                int columns = Math.Min(tile.Columns, n1 - n);
                args.PackB(tile, batch, n, n + columns, k0, depth, bPanel, 0);
                tile.Strip(m1 - m0, columns, depth, aPanels, aPanelStride, bPanel, c + n, (nint)args.CRowStride, args.Accumulate || k0 > 0, default);
            }
            k0 += depth;
        } while (k0 < args.K);
    }

    /// <summary>Columns of a claim: several claims a worker, each at least a panel.</summary>
    private static int ColumnBlock(in MatrixProductArgs args, int workers, MatrixProductTile tile)
    {
        long others = (long)args.BatchCount * MatrixProduct.Divide(args.M, RowBlock);
        int claims = (int)Math.Max(1, workers * 8 / others);
        return Math.Min(MaxColumnBlock, MatrixProduct.RoundUp(MatrixProduct.Divide(args.N, claims), tile.Columns));
    }

    private static long AFloats(MatrixProductTile tile) =>
        (long)MatrixProduct.Divide(RowBlock, tile.Rows) * tile.AWidth * MatrixProduct.DepthBlock;
}
