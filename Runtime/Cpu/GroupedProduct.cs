namespace Legato.Runtime.Cpu;

/// <summary>Output[r, n] = Σ_k Left[r, k] · Right[g, k, n] for each row r of each group g.</summary>
internal readonly struct GroupedProductArgs
{
    public required GroupedRows Rows { get; init; }
    public required int N { get; init; }
    public required int K { get; init; }
    public required GroupedOperand Left { get; init; }

    /// <summary>[groups, K, N], stored as <see cref="RightElement"/>; one of the two inner strides is 1.</summary>
    public required nint Right { get; init; }
    public required MatrixElement RightElement { get; init; }
    public required long RightGroupStride { get; init; }
    public required long RightRowStride { get; init; }
    public required long RightColumnStride { get; init; }

    /// <summary>float32 rows of N.</summary>
    public required nint Output { get; init; }
    public required nint OutputStride { get; init; }
    public required nint Scratch { get; init; }
    public required long ScratchBytes { get; init; }

    /// <summary>Called for each row and stretch of columns that is finished; the first argument is the group.</summary>
    public MatrixProductEpilogue? Epilogue { get; init; }

    public unsafe float* OutputRow(int row) => (float*)Output + row * OutputStride;

    /// <summary>The product of one group's right operand with one row.</summary>
    public unsafe MatrixProductArgs OfRow(int group, int row) => new()
    {
        M = 1,
        N = N,
        K = K,
        A = (nint)Left.Row(row),
        ARowStride = K,
        AColumnStride = 1,
        B = Right + (nint)(group * RightGroupStride * (RightElement == MatrixElement.Float32 ? sizeof(float) : sizeof(ushort))),
        BElement = RightElement,
        BRowStride = RightRowStride,
        BColumnStride = RightColumnStride,
        C = (nint)OutputRow(row),
        CRowStride = OutputStride,
    };
}

/// <summary>
/// The products of a mixture of experts: workers claim blocks of one group's rows and some columns, gather those rows into
/// panels, multiply, and put each finished row where it belongs. An element's bits are those that the dense product gives
/// it: they depend on K alone, not on which rows share its group.
/// </summary>
internal static unsafe class GroupedProduct
{
    /// <summary>Rows of a block at most: its panel and its sums share the L2 cache, and each panel of the right operand serves all of them.</summary>
    private const int RowBlock = 308;
    private const int MaxColumnBlock = 512;

    /// <summary>Up to so many rows a group is faster row by row, its right operand never packed.</summary>
    private const int FewRows = 4;

    /// <summary>What one worker needs.</summary>
    public static long ScratchBytes => ScratchFloats(MatrixProductTile.For(CpuIsaChoice.Active)) * sizeof(float);

    public static void Run(Worker worker, in GroupedProductArgs args)
    {
        MatrixProductTile tile = MatrixProductTile.For(CpuIsaChoice.Active);
        int width = ColumnBlock(args, worker.Count, tile), columnBlocks = MatrixProduct.Divide(args.N, width);
        float* scratch = MatrixProduct.OwnScratch(worker, args.Scratch, args.ScratchBytes);
        int first = 0, claimed = worker.Claim();
        for (int group = 0; group < args.Rows.Groups; group++)
        {
            int rows = args.Rows.Size(group), height = EvenBlock(rows, RowBlock, tile), items = MatrixProduct.Divide(rows, RowBlock) * columnBlocks;
            for (; claimed < first + items; claimed = worker.Claim())
            {
                int row = (claimed - first) / columnBlocks * height, n0 = (claimed - first) % columnBlocks * width;
                int start = args.Rows.Start(group) + row, end = start + Math.Min(height, rows - row);
                int n1 = Math.Min(args.N, n0 + width);
                if (rows <= FewRows && MatrixProductSkinny.Suits(args.OfRow(group, 0), CpuIsaChoice.Active))
                    ComputeRows(args, group, start, end, n0, n1, scratch);
                else
                    ComputeBlock(args, tile, scratch, group, start, end, n0, n1);
            }
            first += items;
        }
    }

    /// <summary>Rows of each block where as few as can be are about equal: a low block packs as much of the other operand as a high one.</summary>
    internal static int EvenBlock(int rows, int most, MatrixProductTile tile) =>
        rows <= most ? rows : Math.Min(most, MatrixProduct.RoundUp(MatrixProduct.Divide(rows, MatrixProduct.Divide(rows, most)), tile.Rows));

    private static void ComputeRows(in GroupedProductArgs args, int group, int start, int end, int n0, int n1, float* scratch)
    {
        for (int place = start; place < end; place++)
        {
            int row = args.Rows.Row(place);
            MatrixProductSkinny.Compute(args.OfRow(group, row), n0, n1, scratch);
            args.Epilogue?.Invoke(group, row, row + 1, n0, n1);
        }
    }

    private static void ComputeBlock(in GroupedProductArgs args, MatrixProductTile tile, float* scratch, int group, int start, int end, int n0, int n1)
    {
        int rows = end - start, columns = n1 - n0;
        float* gathered = scratch, aPanels = gathered + RowBlock * MatrixProduct.DepthBlock;
        float* bPanel = aPanels + AFloats(tile), sums = bPanel + MatrixProduct.DepthBlock * tile.Columns;
        MatrixProductArgs right = args.OfRow(group, 0);
        new Span<float>(sums, args.K == 0 ? rows * columns : 0).Clear();
        for (int k = 0; k < args.K; k += MatrixProduct.DepthBlock)
        {
            int depth = Math.Min(MatrixProduct.DepthBlock, args.K - k);
            nint aPanelStride = (nint)depth * tile.AWidth;
            args.Left.Gather(args.Rows, start, end, k, depth, gathered);
            MatrixProductPack.Panels(MatrixElement.Float32, (byte*)gathered, depth * sizeof(float), sizeof(float), rows, depth,
                aPanels, tile.Rows, tile.AWidth, aPanelStride);
            for (int n = n0; n < n1; n += tile.Columns)
            {
                int strip = Math.Min(tile.Columns, n1 - n);
                right.PackB(tile, 0, n, n + strip, k, depth, bPanel, 0);
                tile.Strip(rows, strip, depth, aPanels, aPanelStride, bPanel, sums + (n - n0), columns, k > 0, default);
            }
        }
        Scatter(args, group, start, end, n0, n1, sums);
    }

    private static void Scatter(in GroupedProductArgs args, int group, int start, int end, int n0, int n1, float* sums)
    {
        int columns = n1 - n0;
        for (int place = start; place < end; place++, sums += columns)
        {
            int row = args.Rows.Row(place);
            new ReadOnlySpan<float>(sums, columns).CopyTo(new Span<float>(args.OutputRow(row) + n0, columns));
            args.Epilogue?.Invoke(group, row, row + 1, n0, n1);
        }
    }

    /// <summary>Columns of a claim: several claims a worker, each at least a panel.</summary>
    private static int ColumnBlock(in GroupedProductArgs args, int workers, MatrixProductTile tile)
    {
        int claims = Math.Max(1, workers * 8 / Math.Max(1, args.Rows.Blocks(RowBlock)));
        return Math.Min(MaxColumnBlock, MatrixProduct.RoundUp(MatrixProduct.Divide(args.N, claims), tile.Columns));
    }

    private static long AFloats(MatrixProductTile tile) =>
        (long)MatrixProduct.Divide(RowBlock, tile.Rows) * tile.AWidth * MatrixProduct.DepthBlock;

    private static long ScratchFloats(MatrixProductTile tile) =>
        RowBlock * MatrixProduct.DepthBlock + AFloats(tile) + MatrixProduct.DepthBlock * tile.Columns + RowBlock * MaxColumnBlock;
}
