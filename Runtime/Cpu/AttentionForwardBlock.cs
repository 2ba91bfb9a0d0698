using System.Runtime.CompilerServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// One worker's part of a forward step over blocks of queries: softmax(scores) · values with an online softmax over tiles
/// of keys (Dao 2023, FlashAttention-2, algorithm 1). Score tiles are held transposed, [key, row]: a row of the
/// softmax is a lane, so maxima and sums need no step across lanes, and keys and values enter the products as they lie.
/// </summary>
internal readonly unsafe struct AttentionForwardBlock<F, I, L>
    where F : struct
    where I : struct
    where L : struct, ILanes<F, I>
{
    private readonly AttentionGeometry geometry;
    private readonly float* rows, queries, keys, values, scores, sums, largest, denominator, correction;

    public AttentionForwardBlock(in AttentionArgs args, in AttentionGeometry geometry, ref AttentionScratch scratch)
    {
        this.geometry = geometry;
        rows = scratch.Floats((long)geometry.Lanes * geometry.HeadStride);
        queries = scratch.Floats((long)AttentionRows.Pad(args.HeadSize) * geometry.Lanes);
        keys = scratch.Floats((long)AttentionGeometry.TileKeys * geometry.HeadStride);
        values = scratch.Floats((long)AttentionGeometry.TileKeys * geometry.ValueStride);
        scores = scratch.Floats(geometry.ScoreFloats);
        sums = scratch.Floats((long)geometry.PaddedRows * geometry.ValueStride);
        largest = scratch.Floats(geometry.Lanes);
        denominator = scratch.Floats(geometry.Lanes);
        correction = scratch.Floats(geometry.Lanes);
    }

    /// <param name="operands">Room for a score kernel's pointers, the extra ones in place.</param>
    public void Run(in AttentionArgs args, in AttentionBlock block, nint* operands)
    {
        LoadQueries(args, block);
        new Span<float>(largest, block.Lanes).Fill(float.NegativeInfinity);
        AttentionRows.Clear(denominator, block.Lanes);
        MaskTiles mask = args.Program.Tiles;
        IntegerRange visible = mask.VisibleKeys(block.Against(0, block.Keys - 1));
        bool any = false;
        for (long first = visible.Low; first <= visible.High; first += AttentionGeometry.TileKeys)
        {
            long last = Math.Min(first + AttentionGeometry.TileKeys - 1, visible.High);
            TileKind kind = mask.Classify(block.Against(first, last));
            if (kind == TileKind.Empty)
                continue;
            AddTile(args, block, kind, first, last, operands, accumulate: any);
            any = true;
        }
        if (!any)
            AttentionRows.Clear(sums, (long)block.Rows * geometry.ValueStride);
        Store(args, block);
    }

    private void LoadQueries(in AttentionArgs args, in AttentionBlock block)
    {
        for (int head = 0; head < block.Heads; head++)
            AttentionRows.Load(
                args.Query, block.Batch, block.FirstPosition, block.FirstHead + head, block.Positions, args.HeadSize,
                rows + (long)head * block.Positions * geometry.HeadStride, geometry.HeadStride);
        AttentionRows.Clear(rows + (long)block.Rows * geometry.HeadStride, (long)(block.Lanes - block.Rows) * geometry.HeadStride);
        AttentionRows.Transpose(rows, geometry.HeadStride, block.Lanes, args.HeadSize, args.Program.Scale, queries, block.Lanes);
    }

    private void AddTile(
        in AttentionArgs args, in AttentionBlock block, TileKind kind, long first, long last, nint* operands, bool accumulate)
    {
        int count = (int)(last - first + 1), lanes = block.Lanes;
        AttentionRows.Load(args.Key, block.Batch, first, block.KeyHead, count, args.HeadSize, keys, geometry.HeadStride);
        AttentionProduct<F, I, L>.Multiply(
            keys, geometry.HeadStride, 1, queries, lanes, scores, lanes, count, lanes, args.HeadSize, accumulate: false);
        for (int head = 0; head < block.Heads; head++)
            args.Program.ByQueries.Apply(
                kind, operands, scores + head * block.Positions, null, block.OfHead(head, first, last), lanes);
        for (int lane = 0; lane < lanes; lane += L.Count)
            Exponentiate(scores + lane, lane, lanes, count);
        if (accumulate)
            Correct(block.Rows, AttentionRows.Pad(args.ValueSize));
        AttentionRows.Load(args.Value, block.Batch, first, block.KeyHead, count, args.ValueSize, values, geometry.ValueStride);
        AttentionProduct<F, I, L>.Multiply(
            scores, 1, lanes, values, geometry.ValueStride, sums, geometry.ValueStride, block.Rows, AttentionRows.Pad(args.ValueSize), count, accumulate);
    }

    /// <summary>Turns one vector of rows' scores into exp(score - largest), and takes them into the running maximum and denominator.</summary>
    private void Exponentiate(float* column, int lane, int stride, int count)
    {
        F before = L.Load((long)(largest + lane));
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
        L.Store((long)(denominator + lane), L.MultiplyAdd(L.Load((long)(denominator + lane)), factor, sum));
        L.Store((long)(largest + lane), now);
        L.Store((long)(correction + lane), factor);
    }

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

    private void Correct(int count, int size)
    {
        float* row = sums;
        for (int r = 0; r < count; r++, row += geometry.ValueStride)
            if (correction[r] != 1)
                AttentionRows.Scale(row, correction[r], size, row);
    }

    private void Store(in AttentionArgs args, in AttentionBlock block)
    {
        for (int head = 0, r = 0; head < block.Heads; head++)
            for (int i = 0; i < block.Positions; i++, r++)
            {
                float scale = denominator[r] == 0 ? 0 : 1 / denominator[r];
                int position = block.FirstPosition + i;
                AttentionRows.Scale(
                    sums + (long)r * geometry.ValueStride, scale, args.ValueSize, args.Output.Floats(block.Batch, position, block.FirstHead + head));
                if (args.LogSumExp != 0)
                    args.LogSumExpRow(block.Batch, block.FirstHead + head)[position] = largest[r] + MathF.Log(denominator[r]);
            }
    }
}
