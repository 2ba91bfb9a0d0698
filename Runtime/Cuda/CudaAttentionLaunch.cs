using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Attention forward, by the portable kernel: a block a tile of queries.</summary>
internal sealed class CudaAttentionLaunch : CudaLaunch
{
    private readonly CudaAttention attention;
    private readonly CudaHeads[] operands;
    private readonly CudaView? logSumExp, past;
    private readonly CudaCall call;

    public CudaAttentionLaunch(
        Step.Attention step, CudaHeads query, CudaHeads key, CudaHeads value, CudaHeads output, CudaView? logSumExp, CudaView? past, CudaView[] extra,
        CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        attention = new CudaAttention(step.Shape, extra, lowering);
        operands = [query, key, value, output];
        (this.logSumExp, this.past) = (logSumExp, past);
        int tile = CudaAttention.Tile;
        int shared = sizeof(float) * (2 * tile * (attention.HeadSize + 1) + tile * (attention.ValueSize + 1) + tile * (tile + 1));
        nint function = attention.Function(
            "AttentionPortable.cu", "attention", shared,
            ("Query", query.View.Type), ("Key", key.View.Type), ("Value", value.View.Type), ("Output", output.View.Type));
        call = new CudaCall(function, operands.Length * CudaHeads.Arguments + 2 + attention.Arguments, step.Name)
        {
            Threads = CudaAttention.Threads,
            SharedBytes = shared,
        };
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        Span<long> arguments = call.Arguments;
        for (int i = 0; i < operands.Length; i++)
            operands[i].Bind(arguments[(i * CudaHeads.Arguments)..], dimensions);
        arguments = arguments[(operands.Length * CudaHeads.Arguments)..];
        arguments[0] = logSumExp?.Address(dimensions) ?? 0;
        arguments[1] = past?.Address(dimensions) ?? 0;
        attention.Bind(arguments[2..], dimensions, isPlaced: past is null);
        (call.BlocksX, call.BlocksY, call.BlocksZ) = (attention.QueryTiles(dimensions), attention.Heads(dimensions), attention.Batch(dimensions));
    }

    public override void Enqueue(nint stream) => call.Enqueue(stream);
}
