using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Attention forward on the tensor cores of sm_80 and up.</summary>
internal sealed class CudaAmpereAttentionLaunch : CudaLaunch
{
    private const int LargestHead = 256, Words = 21;

    private readonly CudaFlashAttention attention;
    private readonly CudaHeads[] operands;
    private readonly CudaView? logSumExp, past;
    private readonly CudaAmpereCall call;

    public CudaAmpereAttentionLaunch(
        Step.Attention step, CudaHeads query, CudaHeads key, CudaHeads value, CudaHeads output, CudaView? logSumExp, CudaView? past, CudaView[] extra,
        CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        (operands, this.logSumExp, this.past) = ([query, key, value, output], logSumExp, past);
        attention = new CudaFlashAttention(step.Shape, extra, lowering);
        (int head, int values) = (attention.HeadSize, attention.ValueSize);
        call = new CudaAmpereCall(
            lowering, step.Name, attention, (query.View.Type, output.View.Type), "attention_forward",
            ["AttentionSoftmax", "AmpereTiles", "AttentionForwardAmpere"], [head], [head, values], "KEYS", Math.Max(head, values) > 128 ? 32 : 64, 1,
            Words + attention.ExtraArguments);
    }

    public static bool Takes(Step.Attention step, CudaHeads query, CudaHeads key, CudaHeads value, CudaHeads output) =>
        CudaFlashAttention.AreHalves(query, key, value)
        && (output.View.Type == ScalarType.F32 || output.View.Type == query.View.Type)
        && CudaFlashAttention.Takes(step.Shape, LargestHead, query, key, value, output);

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        CudaFlashAttention.Sizes sizes = attention.At(dimensions);
        Span<long> arguments = call.Arguments;
        for (int i = 0; i < operands.Length; i++)
            operands[i].Bind(arguments[(i * CudaHeads.Arguments)..], dimensions);
        arguments = arguments[(operands.Length * CudaHeads.Arguments)..];
        arguments[0] = CudaFlashAttention.Pair(sizes.Queries, sizes.Keys);
        arguments[1] = CudaFlashAttention.Pair(sizes.Heads, sizes.Group);
        arguments[2] = CudaFlashAttention.Pair(attention.HeadSize, attention.ValueSize);
        arguments[3] = logSumExp?.Address(dimensions) ?? 0;
        arguments[4] = past?.Address(dimensions) ?? 0;
        attention.BindExtra(arguments[5..], dimensions);
        call.Bind(sizes.Queries, sizes.Heads, sizes.Batch);
    }

    public override void Enqueue(nint stream) => call.Enqueue(stream);
}
