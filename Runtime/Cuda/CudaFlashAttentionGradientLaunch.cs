using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Gradients of attention on Hopper: Σ output · outputGradient of each row, then the queries' gradient by blocks of queries, then the
/// keys' and values' by blocks of keys. Every sum is made by one block in one order.
/// </summary>
internal sealed class CudaFlashAttentionGradientLaunch : CudaLaunch
{
    private const int LargestHead = 128, QueryWords = 11, KeyWords = 15, ElementBytes = 2;

    private readonly CudaFlashAttention attention;
    private readonly CudaHeads query, key, value, outputGradient, queryGradient, keyGradient, valueGradient;
    private readonly CudaView logSumExp, rowDot;
    private readonly CudaHopperCall queries, keys;
    private readonly HopperTile queryTile, keyTile;
    private readonly CudaRowDot dots;

    /// <param name="heads">Query, key, value, output, output gradient, query gradient, key gradient, value gradient.</param>
    public CudaFlashAttentionGradientLaunch(
        Step.AttentionGradient step, CudaHeads[] heads, CudaView logSumExp, CudaView rowDot, CudaView[] extra, CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        (query, key, value) = (heads[0], heads[1], heads[2]);
        (outputGradient, queryGradient, keyGradient, valueGradient) = (heads[4], heads[5], heads[6], heads[7]);
        (this.logSumExp, this.rowDot) = (logSumExp, rowDot);
        attention = new CudaFlashAttention(step.Shape, extra, lowering);
        ScalarType element = query.View.Type;
        int head = CudaFlashAttention.Padded(attention.HeadSize), values = CudaFlashAttention.Padded(attention.ValueSize);
        (queryTile, keyTile) = Math.Max(head, values) <= 64
            ? (new HopperTile(128, 3, 2), new HopperTile(64, 3, 3))
            : (new HopperTile(96, 3, 2), new HopperTile(64, 4, 2));

        CudaHopperCall Call(HopperTile tile, string streamed, ScalarType target, string function, string file, int words)
        {
            string source = attention.Source(
                element, target, [("HEAD", head), ("VALUE", values), (streamed, tile.Streamed), ("STAGES", tile.Stages), ("CONSUMERS", tile.Consumers)],
                "Hopper", "HopperPipeline", file);
            int rows = 64 * tile.Consumers + tile.Stages * tile.Streamed;
            return new CudaHopperCall(lowering, source, function, step.Name, 4, words + attention.ExtraArguments, tile, rows * (head + values) * ElementBytes);
        }

        queries = Call(queryTile, "KEYS", queryGradient.View.Type, "attention_query_gradient", "AttentionQueryGradientHopper", QueryWords);
        keys = Call(keyTile, "QUERIES", keyGradient.View.Type, "attention_key_gradient", "AttentionKeyGradientHopper", KeyWords);
        dots = new CudaRowDot(step.Name, attention, heads[3], outputGradient, rowDot, lowering);
    }

    public static bool Takes(Step.AttentionGradient step, CudaHeads[] heads, CudaLowering lowering) =>
        lowering.Device.IsHopper
        && CudaFlashAttention.AreHalves(heads[0], heads[1], heads[2], heads[4])
        && heads[6].View.Type == heads[7].View.Type
        && new[] { heads[3], heads[5], heads[6] }.All(h => h.View.Type == ScalarType.F32 || h.View.Type == heads[0].View.Type)
        && CudaFlashAttention.Takes(step.Shape, LargestHead, heads);

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        CudaFlashAttention.Sizes sizes = attention.At(dimensions);
        dots.Bind(dimensions, sizes);
        BindQueries(dimensions, sizes);
        BindKeys(dimensions, sizes);
    }

    public override void Enqueue(nint stream)
    {
        dots.Enqueue(stream);
        queries.Enqueue(stream);
        keys.Enqueue(stream);
    }

    private void BindQueries(ReadOnlySpan<long> dimensions, in CudaFlashAttention.Sizes sizes)
    {
        long tiles = queries.Tiles(sizes.Queries), work = tiles * sizes.Heads * sizes.Batch;
        queries.Bind(work);
        if (sizes.IsEmpty)
            return;
        BindMaps(queries, dimensions, sizes, queries.Rows, queryTile.Streamed);
        Span<long> arguments = queries.Arguments;
        BindSizes(arguments, sizes, tiles, work);
        arguments[3] = attention.HeadSize;
        queryGradient.Bind(arguments[4..], dimensions);
        BindRows(arguments[8..], dimensions, queries.Counter);
    }

    private void BindKeys(ReadOnlySpan<long> dimensions, in CudaFlashAttention.Sizes sizes)
    {
        long tiles = keys.Tiles(sizes.Keys), work = tiles * sizes.KeyHeads * sizes.Batch;
        keys.Bind(work);
        if (sizes.IsEmpty)
            return;
        BindMaps(keys, dimensions, sizes, keyTile.Streamed, keys.Rows);
        Span<long> arguments = keys.Arguments;
        BindSizes(arguments, sizes, tiles, work);
        arguments[3] = CudaFlashAttention.Pair(attention.HeadSize, attention.ValueSize);
        keyGradient.Bind(arguments[4..], dimensions);
        valueGradient.Bind(arguments[8..], dimensions);
        BindRows(arguments[12..], dimensions, keys.Counter);
    }

    private static void BindSizes(Span<long> arguments, in CudaFlashAttention.Sizes sizes, long tiles, long work)
    {
        arguments[0] = CudaFlashAttention.Pair(sizes.Queries, sizes.Keys);
        arguments[1] = CudaFlashAttention.Pair(sizes.Heads, sizes.Group);
        arguments[2] = CudaFlashAttention.Pair(tiles, work);
    }

    private void BindRows(Span<long> arguments, ReadOnlySpan<long> dimensions, nint counter)
    {
        arguments[0] = logSumExp.Address(dimensions);
        arguments[1] = rowDot.Address(dimensions);
        arguments[2] = counter;
        attention.BindExtra(arguments[3..], dimensions);
    }

    private void BindMaps(CudaHopperCall call, ReadOnlySpan<long> dimensions, in CudaFlashAttention.Sizes sizes, int queryRows, int keyRows)
    {
        Span<long> place = stackalloc long[CudaHeads.Arguments];
        (CudaHeads Heads, long Positions, long Count, int Size, int Rows)[] operands =
        [
            (query, sizes.Queries, sizes.Heads, attention.HeadSize, queryRows), (key, sizes.Keys, sizes.KeyHeads, attention.HeadSize, keyRows),
            (value, sizes.Keys, sizes.KeyHeads, attention.ValueSize, keyRows), (outputGradient, sizes.Queries, sizes.Heads, attention.ValueSize, queryRows),
        ];
        for (int i = 0; i < operands.Length; i++)
        {
            operands[i].Heads.Bind(place, dimensions);
            call.Map(
                i, query.View.Type, place, sizes.Batch, operands[i].Positions, operands[i].Count, operands[i].Size, operands[i].Rows);
        }
    }
}
