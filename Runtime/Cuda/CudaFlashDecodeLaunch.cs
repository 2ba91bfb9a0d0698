using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Attention of one query a row, a row's keys in parts (Flash-Decoding), which its blocks share: as many as there are
/// multiprocessors for, a cluster where the parts are few. The parts depend on the room for keys alone, so that a row's bits don't depend
/// on the batch around it.
/// </summary>
internal sealed class CudaFlashDecodeLaunch : CudaLaunch
{
    /// <summary>Heads that share a key head, parts of a row, keys that a part has a multiple of: as the kernel has them.</summary>
    private const int LargestGroup = 16, MostParts = 32, PartKeys = 128;

    private const int LargestHead = 256, Words = 21, Threads = 256, RoundKeys = 64, MostStages = 12;

    private readonly CudaFlashAttention attention;
    private readonly CudaHeads[] operands;
    private readonly CudaView? past;
    private readonly Lazy<CudaCall> call;
    private readonly CudaMemory? parts, counters;
    private readonly bool isClustered;
    private readonly int multiprocessors, ringBytes, partBytes;

    /// <param name="isCached">Whether no kernel of the plan writes keys or values but those at the past's end.</param>
    public CudaFlashDecodeLaunch(
        Step.Attention step, CudaHeads query, CudaHeads key, CudaHeads value, CudaHeads output, CudaView? past, CudaView[] extra, bool isCached, CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        (operands, this.past) = ([query, key, value, output], past);
        attention = new CudaFlashAttention(step.Shape, extra, lowering);
        multiprocessors = lowering.Device.Information.Multiprocessors;
        int group = (int)(step.Shape.Heads.Constant / step.Shape.KeyHeads.Constant);
        long most = Parts(lowering.Bounds(step.Shape.KeyLength).High), rows = lowering.Bounds(step.Shape.Batch * step.Shape.KeyHeads).High;
        partBytes = group * (attention.ValueSize + 2) * sizeof(float);
        isClustered = lowering.Device.HasClusters && most <= CudaDevice.LargestCluster;
        int keptBytes = isClustered ? (int)most * partBytes : 0;
        int stageBytes = RoundKeys * Math.Max(attention.HeadSize, attention.ValueSize) * sizeof(short);
        int stages = Math.Clamp((CudaSkinnyLaunch.BytesBeside(lowering.Device.Information.SharedBytes) - keptBytes - ScoreBytes(group)) / stageBytes, 2, MostStages);
        ringBytes = stages * stageBytes;
        string source = attention.Source(
            query.View.Type, output.View.Type,
            [
                ("HEAD", attention.HeadSize), ("VALUE", attention.ValueSize), ("GROUP", group), ("STAGES", stages),
                ("CACHED", isCached ? 1 : 0), ("CLUSTERED", isClustered ? 1 : 0),
            ],
            ["AsyncCopies", .. isClustered ? new[] { "Hopper" } : [], "AttentionDecodeRing", "AttentionDecodeParts", "AttentionDecode"]);
        lowering.Want(source);
        call = new Lazy<CudaCall>(() => new CudaCall(
            lowering.Device.Compiler.Load(source).Function("attention_decode", ringBytes + keptBytes), Words + attention.ExtraArguments, step.Name)
        {
            Threads = Threads,
            StartsEarly = lowering.Device.OverlapsLaunches,
        });
        if (isClustered)
            return;
        parts = lowering.Scratch(rows * MostParts * partBytes);
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
        long count = Parts(sizes.Keys), ofBlock = PartsOfBlock(count, sizes.Batch * sizes.KeyHeads), blocks = (count + ofBlock - 1) / ofBlock;
        Span<long> arguments = call.Value.Arguments;
        for (int i = 0; i < operands.Length; i++)
            operands[i].Bind(arguments[(i * CudaHeads.Arguments)..], dimensions);
        arguments = arguments[(operands.Length * CudaHeads.Arguments)..];
        arguments[0] = CudaFlashAttention.Pair(sizes.Keys, KeysOfPart(sizes.Keys));
        arguments[1] = count;
        arguments[2] = past?.Address(dimensions) ?? 0;
        arguments[3] = parts?.Address ?? 0;
        arguments[4] = counters?.Address ?? 0;
        attention.BindExtra(arguments[5..], dimensions);
        call.Value.ClusterX = isClustered ? blocks : 1;
        call.Value.SharedBytes = ringBytes + (isClustered ? (int)count * partBytes : 0);
        (call.Value.BlocksX, call.Value.BlocksY, call.Value.BlocksZ) = (blocks, sizes.KeyHeads, sizes.Batch);
    }

    public override void Enqueue(nint stream) => call.Value.Enqueue(stream);

    private static long Parts(long room) => (room + KeysOfPart(room) - 1) / KeysOfPart(room);

    /// <summary>Keys of a part, where there is room for so many in a row: from 2,048 on, 16 to 31 parts.</summary>
    private static long KeysOfPart(long room) => Math.Max(1, room / (MostParts / 2 * PartKeys)) * PartKeys;

    /// <summary>Parts that a block takes of one row, of so many, so that all rows' blocks run at once.</summary>
    private long PartsOfBlock(long count, long rows) => Math.Clamp((count * rows + multiprocessors - 1) / multiprocessors, 1, Math.Max(1, count));

    /// <summary>What the kernel has beside the ring and the parts: a round's scores, the parts' factors.</summary>
    private static int ScoreBytes(int group) => (16 * (RoundKeys + 8) + group * (MostParts + 1)) * sizeof(float);
}
