namespace Legato.Runtime.Cpu;

/// <summary>
/// A skinny product whose weights are stored [K,N] in short rows. Columns of a short row, divided among workers, are read in
/// pieces at half the speed of memory; so each worker takes blocks of depth whole, and at most two blocks in part. The blocks'
/// sums are added in their order once all are known: the bits are those of any other way.
/// </summary>
internal static unsafe class MatrixProductByDepth
{
    private const int Group = MatrixProductRows512.ColumnGroup;

    /// <summary>Bytes of a row that one worker reads in one piece at the full speed.</summary>
    private const int LongPiece = 8 << 10;

    public static bool Suits(in MatrixProductArgs args, int workers) =>
        workers > 1 && args.M <= MatrixProductRows512.MaxRows && args.K > MatrixProduct.DepthBlock
        && (long)args.N * args.BElementSize < (long)LongPiece * workers;

    /// <summary>The sums of every block of depth.</summary>
    public static long ScratchBytes(in MatrixProductArgs args) => (long)Blocks(args) * args.M * SumStride(args) * sizeof(float);

    public static void Run(Worker worker, in MatrixProductArgs args)
    {
        float* sums = (float*)args.Scratch;
        (int first, int from) = Boundary(args, worker.Index, worker.Count);
        (int last, int to) = Boundary(args, worker.Index + 1, worker.Count);
        for (int block = first; block <= last && block < Blocks(args); block++)
        {
            int n0 = block == first ? from : 0, n1 = block == last ? to : args.N;
            if (n0 < n1)
                MatrixProductSkinnyRows.Multiply(args, block * MatrixProduct.DepthBlock, n0, n1, BlockSums(args, sums, block) + n0, SumStride(args));
        }
        worker.Barrier();
        AddBlocks(args, sums, Column(args.N, worker.Index, worker.Count), Column(args.N, worker.Index + 1, worker.Count));
    }

    private static void AddBlocks(in MatrixProductArgs args, float* sums, int n0, int n1)
    {
        if (n0 == n1) return;
        for (int block = 0; block < Blocks(args); block++)
            for (int m = 0; m < args.M; m++)
                MatrixProductSkinnyRows.Add(args.BElement, (float*)args.C + m * args.CRowStride + n0, BlockSums(args, sums, block) + m * SumStride(args) + n0, n1 - n0, args.Accumulate || block > 0);
        args.Epilogue?.Invoke(0, 0, args.M, n0, n1);
    }

    /// <summary>Where a worker's part begins when all blocks' rows are dealt out evenly: in which block, at which of its columns.</summary>
    private static (int Block, int Column) Boundary(in MatrixProductArgs args, int worker, int workers)
    {
        long row = (long)args.K * worker / workers;
        int block = (int)(row / MatrixProduct.DepthBlock), start = block * MatrixProduct.DepthBlock;
        int depth = Math.Min(MatrixProduct.DepthBlock, args.K - start);
        return (block, depth == 0 ? 0 : Column(args.N, row - start, depth));
    }

    /// <summary>That share of the columns, in whole groups.</summary>
    private static int Column(int columns, long share, long whole) => share == whole ? columns : (int)(columns * share / whole) / Group * Group;

    private static float* BlockSums(in MatrixProductArgs args, float* sums, int block) => sums + (nint)block * args.M * SumStride(args);

    private static int Blocks(in MatrixProductArgs args) => MatrixProduct.Divide(args.K, MatrixProduct.DepthBlock);

    private static int SumStride(in MatrixProductArgs args) => MatrixProduct.RoundUp(args.N, Group);
}
