using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Attention forward on Hopper: bulk tensor copies, warpgroup products, a persistent grid.</summary>
internal sealed class CudaFlashAttentionLaunch : CudaLaunch
{
    private const int LargestHead = 256, Words = 11;

    /// <summary>Of keys and values, so many are taken to stay in the second-level cache.</summary>
    private const long CachedBytes = 32 << 20;

    private readonly CudaFlashAttention attention;
    private readonly CudaHeads query, key, value, output;
    private readonly CudaView? logSumExp, past;
    private readonly CudaHopperCall call;
    private readonly HopperTile tile;

    public CudaFlashAttentionLaunch(
        Step.Attention step, CudaHeads query, CudaHeads key, CudaHeads value, CudaHeads output, CudaView? logSumExp, CudaView? past, CudaView[] extra,
        CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        (this.query, this.key, this.value, this.output) = (query, key, value, output);
        (this.logSumExp, this.past) = (logSumExp, past);
        attention = new CudaFlashAttention(step.Shape, extra, lowering);
        int head = CudaFlashAttention.Padded(attention.HeadSize), values = CudaFlashAttention.Padded(attention.ValueSize);
        tile = Tile(Math.Max(head, values));
        string source = attention.Source(
            query.View.Type, output.View.Type,
            [("HEAD", head), ("VALUE", values), ("KEYS", tile.Streamed), ("STAGES", tile.Stages), ("CONSUMERS", tile.Consumers)],
            "AttentionSoftmax", "Hopper", "HopperPipeline", "AttentionForwardHopper");
        int elements = 64 * tile.Consumers * head + tile.Stages * tile.Streamed * (head + values);
        call = new CudaHopperCall(lowering, source, "attention_forward", step.Name, 3, Words + attention.ExtraArguments, tile, elements * query.View.Type.Size());
    }

    public static bool Takes(Step.Attention step, CudaHeads query, CudaHeads key, CudaHeads value, CudaHeads output, CudaLowering lowering) =>
        lowering.Device.IsHopper
        && CudaFlashAttention.AreHalves(query, key, value)
        && (output.View.Type == ScalarType.F32 || output.View.Type == query.View.Type)
        && CudaFlashAttention.Takes(step.Shape, LargestHead, query, key, value, output);

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        CudaFlashAttention.Sizes sizes = attention.At(dimensions);
        long tiles = call.Tiles(sizes.Queries), work = tiles * sizes.Heads * sizes.Batch;
        call.Bind(work);
        if (sizes.IsEmpty)
            return;
        Span<long> place = stackalloc long[CudaHeads.Arguments];
        query.Bind(place, dimensions);
        call.Map(0, query.View.Type, place, sizes.Batch, sizes.Queries, sizes.Heads, attention.HeadSize, call.Rows);
        key.Bind(place, dimensions);
        call.Map(1, key.View.Type, place, sizes.Batch, sizes.Keys, sizes.KeyHeads, attention.HeadSize, tile.Streamed);
        value.Bind(place, dimensions);
        call.Map(2, value.View.Type, place, sizes.Batch, sizes.Keys, sizes.KeyHeads, attention.ValueSize, tile.Streamed);

        Span<long> arguments = call.Arguments;
        arguments[0] = CudaFlashAttention.Pair(sizes.Queries, sizes.Keys);
        arguments[1] = CudaFlashAttention.Pair(sizes.Heads, sizes.Group);
        arguments[2] = CudaFlashAttention.Pair(tiles, work);
        long keyBytes = sizes.Keys * (attention.HeadSize + attention.ValueSize) * key.View.Type.Size();
        long band = Math.Clamp(CachedBytes / keyBytes * sizes.Group, sizes.Group, sizes.Heads * sizes.Batch);
        arguments[3] = CudaFlashAttention.Pair(attention.ValueSize, band);
        output.Bind(arguments[4..], dimensions);
        arguments[8] = logSumExp?.Address(dimensions) ?? 0;
        arguments[9] = past?.Address(dimensions) ?? 0;
        arguments[10] = call.Counter;
        attention.BindExtra(arguments[11..], dimensions);
    }

    public override void Enqueue(nint stream) => call.Enqueue(stream);

    /// <summary>What was fastest on an H200 under a causal mask, at 16,384 positions of 128 elements and 1,024 of 64.</summary>
    private static HopperTile Tile(int largestHead) => largestHead switch
    {
        <= 64 => new HopperTile(128, 4, 2),
        <= 128 => new HopperTile(128, 2, 2),
        _ => new HopperTile(64, 2, 2),
    };
}
