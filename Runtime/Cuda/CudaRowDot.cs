using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Σ output · outputGradient of each row: what the gradients of attention on tensor cores begin with.</summary>
internal sealed class CudaRowDot
{
    private const int Threads = 256;

    private readonly CudaHeads output, outputGradient;
    private readonly CudaView rowDot;
    private readonly Lazy<CudaCall> call;
    private readonly int lanes, valueSize;

    public CudaRowDot(string name, CudaFlashAttention attention, CudaHeads output, CudaHeads outputGradient, CudaView rowDot, CudaLowering lowering)
    {
        (this.output, this.outputGradient, this.rowDot, valueSize) = (output, outputGradient, rowDot, attention.ValueSize);
        lanes = valueSize > 128 ? 32 : valueSize > 64 ? 16 : 8;
        string source = attention.Source(outputGradient.View.Type, output.View.Type, [("LANES", lanes)], "AttentionRowDot");
        lowering.Want(source);
        call = new Lazy<CudaCall>(() => new CudaCall(lowering.Device.Compiler.Load(source).Function("attention_row_dot"), 11, name) { Threads = Threads });
    }

    public void Bind(ReadOnlySpan<long> dimensions, in CudaFlashAttention.Sizes sizes)
    {
        long rows = sizes.Batch * sizes.Queries * sizes.Heads;
        Span<long> arguments = call.Value.Arguments;
        output.Bind(arguments, dimensions);
        outputGradient.Bind(arguments[4..], dimensions);
        arguments[8] = rowDot.Address(dimensions);
        arguments[9] = CudaFlashAttention.Pair(rows, sizes.Queries);
        arguments[10] = CudaFlashAttention.Pair(sizes.Heads, valueSize);
        call.Value.BlocksX = (rows * lanes + Threads - 1) / Threads;
    }

    public void Enqueue(nint stream) => call.Value.Enqueue(stream);
}
