namespace Legato.Runtime.Cpu;

/// <summary>
/// The product of some hundred rows and weights stored [N,K]. A, which all columns need, is packed once for all workers. Each
/// worker claims blocks of columns and packs them into memory of its own, which stays in its L2 cache: panels that pass from
/// core to core, or through memory, would cost more than the turning of their elements. While a block is multiplied, the
/// weights of the next are fetched.
/// </summary>
internal static unsafe class MatrixProductByColumns
{
    /// <summary>Packed rows beyond so many bytes leave the L3 cache while the columns pass.</summary>
    private const long MostABytes = 8 << 20;

    /// <summary>A worker has at least so many blocks, that none waits long for the last.</summary>
    private const int BlocksEach = 4;

    /// <summary>Tiles of rows that are packed as one item.</summary>
    private const int TilesPacked = 4;

    public static bool Suits(in MatrixProductArgs args, int workers, MatrixProductTile tile) =>
        args.BatchCount == 1 && args.BRowStride == 1 && AFloats(args, tile) * sizeof(float) <= MostABytes
        && PanelBytes(args, tile) <= tile.CacheBytes && MatrixProduct.Divide(args.N, tile.Columns) >= BlocksEach * workers;

    public static long ScratchBytes(in MatrixProductArgs args, int workers, MatrixProductTile tile) =>
        (AFloats(args, tile) + workers * BFloats(args, workers, tile)) * sizeof(float);

    public static void Run(Worker worker, in MatrixProductArgs args, MatrixProductTile tile)
    {
        float* a = (float*)args.Scratch, b = a + AFloats(args, tile) + worker.Index * BFloats(args, worker.Count, tile);
        nint aPanelStride = (nint)args.K * tile.AWidth;
        int rows = TilesPacked * tile.Rows;
        while (worker.TryClaim(MatrixProduct.Divide(args.M, rows), out int item))
            args.PackA(tile, 0, item * rows, Math.Min(args.M, (item + 1) * rows), 0, args.K, a + item * TilesPacked * aPanelStride, aPanelStride);
        worker.Barrier();

        int width = BlockColumns(args, worker.Count, tile);
        int n0 = worker.Claim() * width;
        while (n0 < args.N)
        {
            int next = worker.Claim() * width;
            int n1 = Math.Min(args.N, n0 + width);
            args.PackB(tile, 0, n0, n1, 0, args.K, b, (nint)args.K * tile.Columns);
            Multiply(args, tile, a, b, n0, n1, next);
            args.Epilogue?.Invoke(0, 0, args.M, n0, n1);
            n0 = next;
        }
    }

    /// <summary>Multiplies all rows with the packed columns [n0, n1), and meanwhile fetches the block that begins at column <paramref name="next"/>.</summary>
    private static void Multiply(in MatrixProductArgs args, MatrixProductTile tile, float* a, float* b, int n0, int n1, int next)
    {
        nint aPanelStride = (nint)args.K * tile.AWidth, bPanelStride = (nint)args.K * tile.Columns, cStride = (nint)args.CRowStride;
        int tiles = MatrixProduct.Divide(args.M, tile.Rows) * MatrixProduct.Divide(n1 - n0, tile.Columns);
        byte* source = (byte*)args.B + (nint)args.BColumnStride * args.BElementSize * next;
        nint bytes = next < args.N ? (nint)Math.Min(n1 - n0, args.N - next) * (nint)args.BColumnStride * args.BElementSize : 0;
        nint each = (bytes + tiles - 1) / tiles;
        float* c = (float*)args.C;
        for (int m = 0; m < args.M; m += tile.Rows, a += aPanelStride, c += tile.Rows * cStride)
        {
            float* panel = b;
            for (int n = n0; n < n1; n += tile.Columns, panel += bPanelStride, source += each)
                tile.Strip(Math.Min(tile.Rows, args.M - m), Math.Min(tile.Columns, n1 - n), args.K, a, aPanelStride, panel, c + n, cStride,
                    args.Accumulate, new MatrixProductNext(source, each));
        }
    }

    /// <summary>As many columns as half of the L2 cache's share holds, in as many blocks as divide evenly among the workers.</summary>
    private static int BlockColumns(in MatrixProductArgs args, int workers, MatrixProductTile tile)
    {
        int panels = MatrixProduct.Divide(args.N, tile.Columns);
        int most = (int)Math.Clamp(tile.CacheBytes / 2 / PanelBytes(args, tile), 1, panels / (BlocksEach * workers));
        int blocks = MatrixProduct.RoundUp(MatrixProduct.Divide(panels, most), workers);
        return MatrixProduct.Divide(panels, blocks) * tile.Columns;
    }

    private static long PanelBytes(in MatrixProductArgs args, MatrixProductTile tile) => (long)args.K * tile.Columns * sizeof(float);

    /// <summary>A whole number of cache lines.</summary>
    private static long AFloats(in MatrixProductArgs args, MatrixProductTile tile) =>
        Lines((long)MatrixProduct.Divide(args.M, tile.Rows) * tile.AWidth * args.K);

    private static long BFloats(in MatrixProductArgs args, int workers, MatrixProductTile tile) =>
        Lines((long)BlockColumns(args, workers, tile) * args.K);

    private static long Lines(long floats) => (floats + 15) / 16 * 16;
}
