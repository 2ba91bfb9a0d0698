using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>Which gradients a pass computes.</summary>
[Flags]
internal enum AttentionGradientParts
{
    Queries = 1,

    /// <summary>Keys and values.</summary>
    Keys = 2,

    All = Queries | Keys,
}

/// <summary>
/// One worker's part of attention's gradient. Of each tile the probabilities p = exp(score - logSumExp) are computed again,
/// and dp = values · outputGradient, ds = p (dp - rowDot) slope. Tiles are [key, row], as in the forward step.
/// </summary>
internal readonly unsafe struct AttentionBackwardBlock<F, I, L>
    where F : struct
    where I : struct
    where L : struct, ILanes<F, I>
{
    private readonly AttentionGeometry geometry;
    private readonly float* queries, queriesTransposed, outputs, outputsTransposed, queryGradients, logSumExp, rowDot;
    private readonly float* keys, values, scores, gradients, slopes, keyGradients, valueGradients;

    /// <param name="keyCount">Keys in scratch, and their gradients' sums, at once: a tile at least.</param>
    public AttentionBackwardBlock(in AttentionGradientArgs args, in AttentionGeometry geometry, int keyCount, ref AttentionScratch scratch)
    {
        this.geometry = geometry;
        long lanes = geometry.Lanes, paddedKeys = keyCount + AttentionGeometry.PaddedTileKeys - AttentionGeometry.TileKeys;
        queries = scratch.Floats(lanes * geometry.HeadStride);
        queriesTransposed = scratch.Floats(lanes * AttentionRows.Pad(args.Forward.HeadSize));
        outputs = scratch.Floats(lanes * geometry.ValueStride);
        outputsTransposed = scratch.Floats(lanes * AttentionRows.Pad(args.Forward.ValueSize));
        queryGradients = scratch.Floats((long)geometry.PaddedRows * geometry.HeadStride);
        logSumExp = scratch.Floats(lanes);
        rowDot = scratch.Floats(lanes);
        keys = scratch.Floats(paddedKeys * geometry.HeadStride);
        values = scratch.Floats(paddedKeys * geometry.ValueStride);
        scores = scratch.Floats(geometry.ScoreFloats);
        gradients = scratch.Floats(geometry.ScoreFloats);
        slopes = scratch.Floats(geometry.ScoreFloats);
        keyGradients = scratch.Floats(paddedKeys * geometry.HeadStride);
        valueGradients = scratch.Floats(paddedKeys * geometry.ValueStride);
    }

    /// <summary>Gradients of <paramref name="count"/> keys of one key head, and of all its queries where asked for (then the keys must be all).</summary>
    public void Run(in AttentionGradientArgs args, int batch, int keyHead, int firstKey, int count, AttentionGradientParts parts, nint* operands)
    {
        Load(args.Forward, batch, keyHead, firstKey, count);
        AttentionRows.Clear(keyGradients, (long)count * geometry.HeadStride);
        AttentionRows.Clear(valueGradients, (long)count * geometry.ValueStride);
        for (int headBlock = 0; headBlock < geometry.HeadBlocks; headBlock++)
            for (int position = 0; position < geometry.PositionBlocks; position++)
                RunBlock(args, new(args.Forward, geometry, batch, keyHead, headBlock, position), firstKey, count, parts, operands);
        for (int k = 0; k < count; k++)
        {
            AttentionRows.Scale(
                keyGradients + (long)k * geometry.HeadStride, args.Forward.Program.Scale, args.Forward.HeadSize, args.KeyGradient.Floats(batch, firstKey + k, keyHead));
            AttentionRows.Scale(
                valueGradients + (long)k * geometry.ValueStride, 1, args.Forward.ValueSize, args.ValueGradient.Floats(batch, firstKey + k, keyHead));
        }
    }

    /// <summary>Gradients of the queries of one block, numbered through the head blocks.</summary>
    public void RunQueries(in AttentionGradientArgs args, int batch, int keyHead, int number, nint* operands)
    {
        var block = new AttentionBlock(
            args.Forward, geometry, batch, keyHead, number / geometry.PositionBlocks, number % geometry.PositionBlocks);
        RunBlock(args, block, 0, args.Forward.KeyLength, AttentionGradientParts.Queries, operands);
    }

    private void RunBlock(in AttentionGradientArgs args, in AttentionBlock block, long firstKey, int count, AttentionGradientParts parts, nint* operands)
    {
        MaskTiles mask = args.Forward.Program.Tiles;
        IntegerRange visible = mask.VisibleKeys(block.Against(args.Forward, firstKey, firstKey + count - 1));
        if (visible.Low <= visible.High)
            LoadRows(args, block);
        AttentionRows.Clear(queryGradients, (long)block.Rows * geometry.HeadStride);
        for (long low = visible.Low; low <= visible.High; low += AttentionGeometry.TileKeys)
        {
            var tile = new IntegerRange(low, Math.Min(low + AttentionGeometry.TileKeys - 1, visible.High));
            TileKind kind = mask.Classify(block.Against(args.Forward, tile.Low, tile.High));
            if (kind != TileKind.Empty)
                AddTile(args, block, kind, tile, firstKey, parts, operands);
        }
        if ((parts & AttentionGradientParts.Queries) != 0)
            StoreQueryGradients(args, block);
    }

    private void AddTile(
        in AttentionGradientArgs args, in AttentionBlock block, TileKind kind, IntegerRange tile, long firstKey, AttentionGradientParts parts, nint* operands)
    {
        AttentionArgs forward = args.Forward;
        int count = (int)(tile.High - tile.Low + 1);
        long offset = tile.Low - firstKey;
        if (parts == AttentionGradientParts.Queries)
        {
            Load(forward, block.Batch, block.KeyHead, tile.Low, count);
            offset = 0;
        }
        ComputeTile(args, block, kind, tile, offset, operands);
        if ((parts & AttentionGradientParts.Keys) != 0)
            AddToKeys(forward, block, count, offset);
        if ((parts & AttentionGradientParts.Queries) != 0)
            AddToQueries(forward, block, count, offset);
    }

    private void Load(in AttentionArgs args, int batch, int keyHead, long first, int count)
    {
        AttentionRows.Load(args.Key, batch, first, keyHead, count, args.HeadSize, keys, geometry.HeadStride);
        AttentionRows.Load(args.Value, batch, first, keyHead, count, args.ValueSize, values, geometry.ValueStride);
    }

    private void LoadRows(in AttentionGradientArgs args, in AttentionBlock block)
    {
        AttentionArgs forward = args.Forward;
        int lanes = block.Lanes;
        for (int head = 0, row = 0; head < block.Heads; head++, row += block.Positions)
        {
            int source = block.FirstHead + head;
            AttentionRows.Load(
                forward.Query, block.Batch, block.FirstPosition, source, block.Positions, forward.HeadSize,
                queries + (long)row * geometry.HeadStride, geometry.HeadStride);
            AttentionRows.Load(
                args.OutputGradient, block.Batch, block.FirstPosition, source, block.Positions, forward.ValueSize,
                outputs + (long)row * geometry.ValueStride, geometry.ValueStride);
            for (int i = 0; i < block.Positions; i++)
            {
                float sum = forward.LogSumExpRow(block.Batch, source)[block.FirstPosition + i];
                // A row that sees no key has -inf, from which its hidden scores would differ by NaN; less infinity they give 0.
                logSumExp[row + i] = float.IsNegativeInfinity(sum) ? float.PositiveInfinity : sum;
                rowDot[row + i] = args.RowDotRow(block.Batch, source)[block.FirstPosition + i];
            }
        }
        AttentionRows.Clear(queries + (long)block.Rows * geometry.HeadStride, (long)(lanes - block.Rows) * geometry.HeadStride);
        AttentionRows.Clear(outputs + (long)block.Rows * geometry.ValueStride, (long)(lanes - block.Rows) * geometry.ValueStride);
        new Span<float>(logSumExp + block.Rows, lanes - block.Rows).Fill(float.PositiveInfinity);
        AttentionRows.Clear(rowDot + block.Rows, lanes - block.Rows);
        AttentionRows.Transpose(queries, geometry.HeadStride, lanes, forward.HeadSize, forward.Program.Scale, queriesTransposed, lanes);
        AttentionRows.Transpose(outputs, geometry.ValueStride, lanes, forward.ValueSize, 1, outputsTransposed, lanes);
    }

    /// <summary>Leaves p in scores and ds in gradients, with rows of zeros up to the product's next multiple.</summary>
    private void ComputeTile(in AttentionGradientArgs args, in AttentionBlock block, TileKind kind, IntegerRange tile, long offset, nint* operands)
    {
        AttentionArgs forward = args.Forward;
        AttentionScoring scoring = forward.Program.ByQueries;
        int count = (int)(tile.High - tile.Low + 1), lanes = block.Lanes;
        AttentionProduct<F, I, L>.Multiply(
            keys + offset * geometry.HeadStride, geometry.HeadStride, 1, queriesTransposed, lanes,
            scores, lanes, count, lanes, forward.HeadSize, accumulate: false);
        AttentionProduct<F, I, L>.Multiply(
            values + offset * geometry.ValueStride, geometry.ValueStride, 1, outputsTransposed, lanes,
            gradients, lanes, count, lanes, forward.ValueSize, accumulate: false);
        for (int head = 0; head < block.Heads; head++)
            scoring.Apply(
                kind, operands, scores + head * block.Positions, slopes + head * block.Positions, block.OfHead(head, tile.Low, tile.High), lanes);
        Differentiate(lanes, count, scoring.HasSlopes);
        int padding = (AttentionProduct<F, I, L>.Rows - count % AttentionProduct<F, I, L>.Rows) % AttentionProduct<F, I, L>.Rows;
        AttentionRows.Clear(scores + (long)count * lanes, (long)padding * lanes);
        AttentionRows.Clear(gradients + (long)count * lanes, (long)padding * lanes);
    }

    private void Differentiate(int lanes, int count, bool hasSlopes)
    {
        for (int lane = 0; lane < lanes; lane += L.Count)
        {
            F shift = L.Load((long)(logSumExp + lane)), dot = L.Load((long)(rowDot + lane));
            float* score = scores + lane, gradient = gradients + lane, slope = slopes + lane;
            for (int k = 0; k < count; k++, score += lanes, gradient += lanes, slope += lanes)
            {
                F p = AttentionExponential<F, I, L>.Of(L.Subtract(L.Load((long)score), shift));
                F d = L.Multiply(p, L.Subtract(L.Load((long)gradient), dot));
                if (hasSlopes)
                    d = L.Multiply(d, L.Load((long)slope));
                L.Store((long)score, p);
                L.Store((long)gradient, d);
            }
        }
    }

    private void AddToKeys(in AttentionArgs args, in AttentionBlock block, int count, long offset)
    {
        int lanes = block.Lanes;
        AttentionProduct<F, I, L>.Multiply(
            scores, lanes, 1, outputs, geometry.ValueStride, valueGradients + offset * geometry.ValueStride, geometry.ValueStride,
            count, AttentionRows.Pad(args.ValueSize), block.Rows, accumulate: true);
        AttentionProduct<F, I, L>.Multiply(
            gradients, lanes, 1, queries, geometry.HeadStride, keyGradients + offset * geometry.HeadStride, geometry.HeadStride,
            count, AttentionRows.Pad(args.HeadSize), block.Rows, accumulate: true);
    }

    private void AddToQueries(in AttentionArgs args, in AttentionBlock block, int count, long offset) =>
        AttentionProduct<F, I, L>.Multiply(
            gradients, 1, block.Lanes, keys + offset * geometry.HeadStride, geometry.HeadStride, queryGradients, geometry.HeadStride,
            block.Rows, AttentionRows.Pad(args.HeadSize), count, accumulate: true);

    private void StoreQueryGradients(in AttentionGradientArgs args, in AttentionBlock block)
    {
        for (int head = 0, row = 0; head < block.Heads; head++)
            for (int i = 0; i < block.Positions; i++, row++)
                AttentionRows.Scale(
                    queryGradients + (long)row * geometry.HeadStride, args.Forward.Program.Scale, args.Forward.HeadSize,
                    args.QueryGradient.Floats(block.Batch, block.FirstPosition + i, block.FirstHead + head));
    }
}
