using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Attention of one query a row, keys split over blocks (Flash-Decoding), which are a cluster where there are so few. How they
/// are split depends on the room for keys alone, so that a row's bits don't depend on the batch around it.
/// </summary>
internal sealed class CudaFlashDecodeLaunch : CudaLaunch
{
    /// <summary>Heads that share a key head, parts of a row, keys of a round of a block's warps: as the kernel has them.</summary>
    private const int LargestGroup = 16, MostSplits = 32, RoundKeys = 128;

    private const int LargestHead = 256, Words = 21, Warps = 4, Threads = 128;

    private readonly CudaFlashAttention attention;
    private readonly CudaHeads[] operands;
    private readonly CudaView? past;
    private readonly Lazy<CudaCall> call;
    private readonly CudaMemory? parts, counters;
    private readonly bool isClustered;

    /// <param name="isCached">Whether no kernel of the plan writes keys or values but those at the past's end.</param>
    public CudaFlashDecodeLaunch(
        Step.Attention step, CudaHeads query, CudaHeads key, CudaHeads value, CudaHeads output, CudaView? past, CudaView[] extra, bool isCached, CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        (operands, this.past) = ([query, key, value, output], past);
        attention = new CudaFlashAttention(step.Shape, extra, lowering);
        int group = (int)(step.Shape.Heads.Constant / step.Shape.KeyHeads.Constant), partFloats = attention.ValueSize + 2;
        int sharedBytes = Warps * group * partFloats * sizeof(float);
        isClustered = lowering.Device.HasClusters && Splits(lowering.Bounds(step.Shape.KeyLength).High) <= CudaDevice.LargestCluster;
        string source = attention.Source(
            query.View.Type, output.View.Type,
            [("HEAD", attention.HeadSize), ("VALUE", attention.ValueSize), ("GROUP", group), ("CACHED", isCached ? 1 : 0), ("CLUSTERED", isClustered ? 1 : 0)],
            "AttentionDecode");
        lowering.Want(source);
        call = new Lazy<CudaCall>(() => new CudaCall(
            lowering.Device.Compiler.Load(source).Function("attention_decode", sharedBytes), Words + attention.ExtraArguments, step.Name)
        {
            Threads = Threads,
            SharedBytes = sharedBytes,
            StartsEarly = lowering.Device.OverlapsLaunches,
        });
        if (isClustered)
            return;
        long rows = lowering.Resources.Plan.Maximum(step.Shape.Batch * step.Shape.Heads);
        parts = lowering.Scratch(rows * MostSplits * partFloats * sizeof(float));
        counters = lowering.Resources.Keep("attention's parts to come", rows * sizeof(int));
    }

    public static bool Takes(Step.Attention step, CudaHeads query, CudaHeads key, CudaHeads value, CudaHeads output)
    {
        AttentionShape shape = step.Shape;
        return step.LogSumExp is null
            && shape.QueryLength.Equals(Extent.One)
            && shape.Heads.IsConstant && shape.KeyHeads.IsConstant && shape.Heads.Constant / shape.KeyHeads.Constant <= LargestGroup
            && CudaFlashAttention.AreHalves(query, key, value)
            && CudaFlashAttention.Takes(shape, LargestHead, query, key, value)
            && shape.HeadSize.Constant % CudaTensorMap.BoxColumns == 0 && shape.ValueSize.Constant % CudaTensorMap.BoxColumns == 0;
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        CudaFlashAttention.Sizes sizes = attention.At(dimensions);
        long splits = Splits(sizes.Keys);
        Span<long> arguments = call.Value.Arguments;
        for (int i = 0; i < operands.Length; i++)
            operands[i].Bind(arguments[(i * CudaHeads.Arguments)..], dimensions);
        arguments = arguments[(operands.Length * CudaHeads.Arguments)..];
        arguments[0] = CudaFlashAttention.Pair(sizes.Keys, BlockKeys(sizes.Keys));
        arguments[1] = splits;
        arguments[2] = past?.Address(dimensions) ?? 0;
        arguments[3] = parts?.Address ?? 0;
        arguments[4] = counters?.Address ?? 0;
        attention.BindExtra(arguments[5..], dimensions);
        call.Value.ClusterX = isClustered ? splits : 1;
        (call.Value.BlocksX, call.Value.BlocksY, call.Value.BlocksZ) = (splits, sizes.KeyHeads, sizes.Batch);
    }

    public override void Enqueue(nint stream) => call.Value.Enqueue(stream);

    private static long Splits(long room) => (room + BlockKeys(room) - 1) / BlockKeys(room);

    /// <summary>Keys of a block, where there is room for so many in a row: from 2,048 on, 16 to 31 parts.</summary>
    private static long BlockKeys(long room) => Math.Max(1, room / (MostSplits / 2 * RoundKeys)) * RoundKeys;
}
