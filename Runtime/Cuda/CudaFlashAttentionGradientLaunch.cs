using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Gradients of attention on Hopper for large heads, which leave no registers for all of them at once: the queries' by blocks of queries, then the
/// keys' and values' by blocks of keys. Every sum is made by one block.
/// </summary>
internal sealed class CudaFlashAttentionGradientLaunch : CudaHopperGradientLaunch
{
    private const int QueryWords = 10, KeyWords = 14;

    private static readonly HopperTile QueryTile = new(Streamed: 96, Stages: 3, Consumers: 2), KeyTile = new(Streamed: 64, Stages: 4, Consumers: 2);

    private readonly CudaHopperCall queries, keys;

    public CudaFlashAttentionGradientLaunch(
        Step.AttentionGradient step, CudaHeads[] heads, CudaView logSumExp, CudaView[] extra, CudaLowering lowering)
        : base(step, heads, logSumExp, extra, lowering)
    {
        queries = Call(
            QueryTile, QueryGradient.View.Type, "attention_query_gradient", ["AttentionQueryGradientHopper"], QueryWords, SharedBytes(QueryTile), ("KEYS", QueryTile.Streamed));
        keys = Call(
            KeyTile, KeyGradient.View.Type, "attention_key_gradient", ["AttentionKeyGradientHopper"], KeyWords, SharedBytes(KeyTile), ("QUERIES", KeyTile.Streamed));
    }

    public override void Enqueue(nint stream)
    {
        base.Enqueue(stream);
        queries.Enqueue(stream);
        keys.Enqueue(stream);
    }

    protected override void BindProducts(ReadOnlySpan<long> dimensions, in CudaFlashAttention.Sizes sizes)
    {
        BindQueries(dimensions, sizes);
        BindKeys(dimensions, sizes);
    }

    private void BindQueries(ReadOnlySpan<long> dimensions, in CudaFlashAttention.Sizes sizes)
    {
        long tiles = queries.Tiles(sizes.Queries), work = tiles * sizes.Heads * sizes.Batch;
        queries.Bind(work);
        if (sizes.IsEmpty)
            return;
        BindOperands(queries, dimensions, sizes, queries.Rows, QueryTile.Streamed, tiles, work);
        Span<long> arguments = queries.Arguments;
        arguments[3] = Attention.HeadSize;
        QueryGradient.Bind(arguments[4..], dimensions);
        BindEnd(arguments[8..], dimensions, queries.Counter);
    }

    private void BindKeys(ReadOnlySpan<long> dimensions, in CudaFlashAttention.Sizes sizes)
    {
        long tiles = keys.Tiles(sizes.Keys), work = tiles * sizes.KeyHeads * sizes.Batch;
        keys.Bind(work);
        if (sizes.IsEmpty)
            return;
        BindOperands(keys, dimensions, sizes, KeyTile.Streamed, keys.Rows, tiles, work);
        Span<long> arguments = keys.Arguments;
        arguments[3] = CudaFlashAttention.Pair(Attention.HeadSize, Attention.ValueSize);
        KeyGradient.Bind(arguments[4..], dimensions);
        ValueGradient.Bind(arguments[8..], dimensions);
        BindEnd(arguments[12..], dimensions, keys.Counter);
    }

    private int SharedBytes(HopperTile tile) => (tile.Rows + tile.Stages * tile.Streamed) * (Head + Value) * ElementBytes;
}
