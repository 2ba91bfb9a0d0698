namespace Legato.Runtime.Cpu;

/// <summary>Output[g, m, n] = Σ_r Left[r, m] · Right[r, n] over the rows of group g.</summary>
internal readonly struct GroupedGradientArgs
{
    public required GroupedRows Rows { get; init; }
    public required int M { get; init; }
    public required int N { get; init; }
    public required GroupedOperand Left { get; init; }
    public required GroupedOperand Right { get; init; }

    /// <summary>float32 [groups, M, N], contiguous along N.</summary>
    public required nint Output { get; init; }
    public required long OutputGroupStride { get; init; }
    public required nint OutputRowStride { get; init; }
    public required nint Scratch { get; init; }
    public required long ScratchBytes { get; init; }
}

/// <summary>
/// The gradient of the right operand of a <see cref="GroupedProduct"/>: workers claim blocks of one group's matrix; the sum
/// runs over the group's rows in their order, in blocks of depth as in the dense product.
/// </summary>
internal static unsafe class GroupedGradient
{
    private const int RowBlock = 266, ColumnBlock = 256;

    /// <summary>What one worker needs.</summary>
    public static long ScratchBytes => ScratchFloats(MatrixProductTile.For(CpuIsaChoice.Active)) * sizeof(float);

    public static void Run(Worker worker, in GroupedGradientArgs args)
    {
        MatrixProductTile tile = MatrixProductTile.For(CpuIsaChoice.Active);
        int height = GroupedProduct.EvenBlock(args.M, RowBlock, tile);
        int rowBlocks = MatrixProduct.Divide(args.M, RowBlock), columnBlocks = MatrixProduct.Divide(args.N, ColumnBlock);
        float* scratch = MatrixProduct.OwnScratch(worker, args.Scratch, args.ScratchBytes);
        while (worker.TryClaim(args.Rows.Groups * rowBlocks * columnBlocks, out int item))
        {
            int group = item / (rowBlocks * columnBlocks), block = item % (rowBlocks * columnBlocks);
            int m0 = block / columnBlocks * height, n0 = block % columnBlocks * ColumnBlock;
            ComputeBlock(args, tile, scratch, group, m0, Math.Min(args.M, m0 + height), n0, Math.Min(args.N, n0 + ColumnBlock));
        }
    }

    private static void ComputeBlock(in GroupedGradientArgs args, MatrixProductTile tile, float* scratch, int group, int m0, int m1, int n0, int n1)
    {
        int rows = m1 - m0, columns = n1 - n0, start = args.Rows.Start(group), end = start + args.Rows.Size(group);
        float* gathered = scratch, aPanels = gathered + GatheredFloats, bPanels = aPanels + AFloats(tile);
        float* c = (float*)args.Output + group * args.OutputGroupStride + m0 * args.OutputRowStride + n0;
        if (start == end) Clear(c, args.OutputRowStride, rows, columns);
        for (int place = start; place < end; place += MatrixProduct.DepthBlock)
        {
            int depth = Math.Min(MatrixProduct.DepthBlock, end - place);
            nint aPanelStride = (nint)depth * tile.AWidth, bPanelStride = (nint)depth * tile.Columns;
            args.Left.Gather(args.Rows, place, place + depth, m0, rows, gathered);
            Pack(gathered, rows, depth, aPanels, tile.Rows, tile.AWidth, aPanelStride);
            args.Right.Gather(args.Rows, place, place + depth, n0, columns, gathered);
            Pack(gathered, columns, depth, bPanels, tile.Columns, tile.Columns, bPanelStride);
            for (int n = 0; n < columns; n += tile.Columns)
                tile.Strip(rows, Math.Min(tile.Columns, columns - n), depth, aPanels, aPanelStride, bPanels + n / tile.Columns * bPanelStride,
                    c + n, args.OutputRowStride, place > start, default);
        }
    }

    private static void Pack(float* gathered, int lanes, int depth, float* panels, int step, int width, nint panelStride) =>
        MatrixProductPack.Panels(MatrixElement.Float32, (byte*)gathered, sizeof(float), lanes * sizeof(float), lanes, depth, panels, step, width, panelStride);

    private static void Clear(float* c, nint stride, int rows, int columns)
    {
        for (int row = 0; row < rows; row++) new Span<float>(c + row * stride, columns).Clear();
    }

    private static long GatheredFloats => Math.Max(RowBlock, ColumnBlock) * MatrixProduct.DepthBlock;

    private static long AFloats(MatrixProductTile tile) =>
        (long)MatrixProduct.Divide(RowBlock, tile.Rows) * tile.AWidth * MatrixProduct.DepthBlock;

    private static long ScratchFloats(MatrixProductTile tile) =>
        GatheredFloats + AFloats(tile) + MatrixProduct.RoundUp(ColumnBlock, tile.Columns) * MatrixProduct.DepthBlock;
}
