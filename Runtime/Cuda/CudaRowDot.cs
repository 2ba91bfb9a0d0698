using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Σ output · outputGradient of each row: what the gradients of attention on tensor cores begin with. Where a log-sum-exp is given, both stand in
/// the target tile by tile of <see cref="TileRows"/> rows, as Hopper's kernels read them.
/// </summary>
internal sealed class CudaRowDot
{
    /// <summary>Rows of a tile.</summary>
    public const int TileRows = 64;

    private const int Threads = 256;

    private readonly CudaHeads output, outputGradient;
    private readonly CudaView target;
    private readonly CudaView? logSumExp;
    private readonly Lazy<CudaCall> call;
    private readonly int lanes, valueSize;

    public CudaRowDot(string name, CudaFlashAttention attention, CudaHeads output, CudaHeads outputGradient, CudaView target, CudaView? logSumExp, CudaLowering lowering)
    {
        (this.output, this.outputGradient, this.target, this.logSumExp, valueSize) = (output, outputGradient, target, logSumExp, attention.ValueSize);
        lanes = valueSize > 128 ? 32 : valueSize > 64 ? 16 : 8;
        string source = attention.Source(outputGradient.View.Type, output.View.Type, [("LANES", lanes), ("TILE", logSumExp is null ? 0 : TileRows)], "AttentionRowDot");
        lowering.Want(source);
        call = new Lazy<CudaCall>(() => new CudaCall(lowering.Device.Compiler.Load(source).Function("attention_row_dot"), 12, name) { Threads = Threads });
    }

    public void Bind(ReadOnlySpan<long> dimensions, in CudaFlashAttention.Sizes sizes)
    {
        long heads = sizes.Batch * sizes.Heads, rows = heads * sizes.Queries;
        Span<long> arguments = call.Value.Arguments;
        output.Bind(arguments, dimensions);
        outputGradient.Bind(arguments[4..], dimensions);
        arguments[8] = logSumExp?.Address(dimensions) ?? 0;
        arguments[9] = target.Address(dimensions);
        arguments[10] = CudaFlashAttention.Pair(rows, sizes.Queries);
        arguments[11] = CudaFlashAttention.Pair(sizes.Heads, valueSize);
        call.Value.BlocksX = logSumExp is null ? (rows * lanes + Threads - 1) / Threads : heads * ((sizes.Queries + TileRows - 1) / TileRows);
    }

    public void Enqueue(nint stream) => call.Value.Enqueue(stream);
}
