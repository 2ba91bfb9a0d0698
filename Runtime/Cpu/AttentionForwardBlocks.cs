using System.Runtime.CompilerServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// One worker's part of a forward step over blocks of queries: softmax(scores) · values with an online softmax over tiles
/// of keys (Dao 2023, FlashAttention-2, algorithm 1). Score tiles are held transposed, [key, row]: a row of the
/// softmax is a lane, so maxima and sums need no step across lanes, and keys and values enter the products as they lie.
/// </summary>
internal readonly unsafe struct AttentionForwardBlocks<F, I, L>
    where F : struct
    where I : struct
    where L : struct, ILanes<F, I>
{
    private readonly AttentionGeometry geometry;
    private readonly float* rows, keys, values, scores, correction;

    /// <summary>Of each block: transposed queries, unnormalised outputs, and the softmax's running maxima and denominators.</summary>
    private readonly float* queries, sums, largest, denominator;

    private readonly int queryFloats, sumFloats;

    /// <param name="blocks">How many blocks are computed together.</param>
    public AttentionForwardBlocks(in AttentionArgs args, in AttentionGeometry geometry, int blocks, ref AttentionScratch scratch)
    {
        this.geometry = geometry;
        queryFloats = AttentionRows.Pad(args.HeadSize) * geometry.Lanes;
        sumFloats = geometry.PaddedRows * geometry.ValueStride;
        rows = scratch.Floats((long)geometry.Lanes * geometry.HeadStride);
        keys = scratch.Floats((long)AttentionGeometry.PaddedTileKeys * geometry.HeadStride);
        values = scratch.Floats((long)AttentionGeometry.PaddedTileKeys * geometry.ValueStride);
        scores = scratch.Floats(geometry.ScoreFloats);
        correction = scratch.Floats(geometry.Lanes);
        queries = scratch.Floats((long)blocks * queryFloats);
        sums = scratch.Floats((long)blocks * sumFloats);
        largest = scratch.Floats((long)blocks * geometry.Lanes);
        denominator = scratch.Floats((long)blocks * geometry.Lanes);
    }

    /// <summary>Computes neighbouring blocks of queries against each tile of their keys in turn.</summary>
    /// <param name="operands">Room for a score kernel's pointers, the extra ones in place.</param>
    public void Run(in AttentionArgs args, ReadOnlySpan<AttentionBlock> blocks, nint* operands)
    {
        Span<IntegerRange> visible = stackalloc IntegerRange[blocks.Length];
        var all = new IntegerRange(long.MaxValue, long.MinValue);
        for (int i = 0; i < blocks.Length; i++)
        {
            Start(args, blocks[i], i);
            visible[i] = args.Program.Tiles.VisibleKeys(blocks[i].Against(args, 0, blocks[i].Keys - 1));
            if (visible[i].Low <= visible[i].High)
                all = all.Hull(visible[i]);
        }
        // Tiles lie on a grid, so that a block's sums don't depend on which blocks it is computed with.
        for (long tile = all.Low / AttentionGeometry.TileKeys * AttentionGeometry.TileKeys; tile <= all.High; tile += AttentionGeometry.TileKeys)
            AddTile(args, blocks, visible, new(Math.Max(tile, all.Low), Math.Min(tile + AttentionGeometry.TileKeys - 1, all.High)), operands);
        for (int i = 0; i < blocks.Length; i++)
            Store(args, blocks[i], i);
    }

    private void Start(in AttentionArgs args, in AttentionBlock block, int index)
    {
        for (int head = 0; head < block.Heads; head++)
            AttentionRows.Load(
                args.Query, block.Batch, block.FirstPosition, block.FirstHead + head, block.Positions, args.HeadSize,
                rows + (long)head * block.Positions * geometry.HeadStride, geometry.HeadStride);
        AttentionRows.Clear(rows + (long)block.Rows * geometry.HeadStride, (long)(block.Lanes - block.Rows) * geometry.HeadStride);
        AttentionRows.Transpose(
            rows, geometry.HeadStride, block.Lanes, args.HeadSize, args.Program.Scale, queries + (long)index * queryFloats, block.Lanes);
        AttentionRows.Clear(sums + (long)index * sumFloats, sumFloats);
        AttentionRows.Clear(denominator + (long)index * geometry.Lanes, geometry.Lanes);
        new Span<float>(largest + (long)index * geometry.Lanes, geometry.Lanes).Fill(float.NegativeInfinity);
    }

    private void AddTile(
        in AttentionArgs args, ReadOnlySpan<AttentionBlock> blocks, ReadOnlySpan<IntegerRange> visible, IntegerRange tile, nint* operands)
    {
        bool loaded = false;
        for (int i = 0; i < blocks.Length; i++)
        {
            var part = new IntegerRange(Math.Max(tile.Low, visible[i].Low), Math.Min(tile.High, visible[i].High));
            if (part.Low > part.High)
                continue;
            TileKind kind = args.Program.Tiles.Classify(blocks[i].Against(args, part.Low, part.High));
            if (kind == TileKind.Empty)
                continue;
            if (!loaded)
                Load(args, blocks[i], tile);
            loaded = true;
            AddTile(args, blocks[i], i, kind, part, (int)(part.Low - tile.Low), operands);
        }
    }

    private void Load(in AttentionArgs args, in AttentionBlock block, IntegerRange tile)
    {
        int count = (int)(tile.High - tile.Low + 1);
        AttentionRows.Load(args.Key, block.Batch, tile.Low, block.KeyHead, count, args.HeadSize, keys, geometry.HeadStride);
        AttentionRows.Load(args.Value, block.Batch, tile.Low, block.KeyHead, count, args.ValueSize, values, geometry.ValueStride);
        AttentionRows.Prefetch(args.Key, block.Batch, tile.High + 1, block.KeyHead, count, args.HeadSize);
        AttentionRows.Prefetch(args.Value, block.Batch, tile.High + 1, block.KeyHead, count, args.ValueSize);
    }

    /// <param name="offset">Where the part begins in the loaded tile.</param>
    private void AddTile(in AttentionArgs args, in AttentionBlock block, int index, TileKind kind, IntegerRange part, int offset, nint* operands)
    {
        int count = (int)(part.High - part.Low + 1), lanes = block.Lanes;
        AttentionProduct<F, I, L>.Multiply(
            keys + offset * geometry.HeadStride, geometry.HeadStride, 1, queries + (long)index * queryFloats, lanes,
            scores, lanes, count, lanes, args.HeadSize, accumulate: false);
        for (int head = 0; head < block.Heads; head++)
            args.Program.ByQueries.Apply(
                kind, operands, scores + head * block.Positions, null, block.OfHead(head, part.Low, part.High), lanes);
        for (int lane = 0; lane < lanes; lane += L.Count)
            Exponentiate(scores + lane, index * geometry.Lanes + lane, lane, lanes, count);
        float* sum = sums + (long)index * sumFloats;
        Correct(sum, block.Rows, AttentionRows.Pad(args.ValueSize));
        AttentionProduct<F, I, L>.Multiply(
            scores, 1, lanes, values + offset * geometry.ValueStride, geometry.ValueStride, sum, geometry.ValueStride,
            block.Rows, AttentionRows.Pad(args.ValueSize), count, accumulate: true);
    }

    /// <summary>Turns one vector of rows' scores into exp(score - largest), and takes them into the running maximum and denominator.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Exponentiate(float* column, int row, int lane, int stride, int count)
    {
        F before = L.Load((long)(largest + row));
        F now = Largest(column, stride, count, before);
        // Rows that have seen no key yet keep -inf as their maximum; 0 in its place makes their exponentials 0, not NaN.
        F shift = L.Select(L.Equal(now, L.Of(float.NegativeInfinity)), L.Of(0f), now);
        F sum = L.Of(0f);
        for (int k = 0; k < count; k++, column += stride)
        {
            F p = AttentionExponential<F, I, L>.Of(L.Subtract(L.Load((long)column), shift));
            L.Store((long)column, p);
            sum = L.Add(sum, p);
        }
        F factor = AttentionExponential<F, I, L>.Of(L.Subtract(before, shift));
        L.Store((long)(denominator + row), L.MultiplyAdd(L.Load((long)(denominator + row)), factor, sum));
        L.Store((long)(largest + row), now);
        L.Store((long)(correction + lane), factor);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static F Largest(float* column, int stride, int count, F start)
    {
        F a = start, b = start, c = start, d = start;
        int k = 0;
        for (; k + 4 <= count; k += 4, column += 4 * stride)
        {
            a = Larger(a, L.Load((long)column));
            b = Larger(b, L.Load((long)(column + stride)));
            c = Larger(c, L.Load((long)(column + 2 * stride)));
            d = Larger(d, L.Load((long)(column + 3 * stride)));
        }
        for (; k < count; k++, column += stride)
            a = Larger(a, L.Load((long)column));
        return Larger(Larger(a, b), Larger(c, d));
    }

    /// <summary>Cheaper than the maximum that honours NaN, which the exponentials bring out anyway.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static F Larger(F x, F y) => L.Select(L.Less(x, y), y, x);

    private void Correct(float* sum, int count, int size)
    {
        for (int r = 0; r < count; r++, sum += geometry.ValueStride)
            if (correction[r] != 1)
                AttentionRows.Scale(sum, correction[r], size, sum);
    }

    private void Store(in AttentionArgs args, in AttentionBlock block, int index)
    {
        float* sum = sums + (long)index * sumFloats;
        for (int head = 0, r = index * geometry.Lanes; head < block.Heads; head++)
            for (int i = 0; i < block.Positions; i++, r++, sum += geometry.ValueStride)
            {
                float scale = denominator[r] == 0 ? 0 : 1 / denominator[r];
                int position = block.FirstPosition + i;
                AttentionRows.Scale(sum, scale, args.ValueSize, args.Output.Floats(block.Batch, position, block.FirstHead + head));
                if (args.LogSumExp != 0)
                    args.LogSumExpRow(block.Batch, block.FirstHead + head)[position] = largest[r] + MathF.Log(denominator[r]);
            }
    }
}
