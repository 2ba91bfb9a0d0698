using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Gradients of attention, by the portable kernels: Σ output · outputGradient of each row, then a block a tile of keys
/// for their gradients and the values', then a block a tile of queries.
/// </summary>
internal sealed class CudaAttentionGradientLaunch : CudaLaunch
{
    private const string Text = "AttentionGradientPortable.cu";

    private readonly CudaAttention attention;
    private readonly CudaHeads[] heads;
    private readonly CudaView logSumExp, rowDot;
    private readonly CudaCall dots, keys, queries;

    /// <param name="heads">Query, key, value, output, output gradient, query gradient, key gradient, value gradient.</param>
    public CudaAttentionGradientLaunch(
        Step.AttentionGradient step, CudaHeads[] heads, CudaView logSumExp, CudaView rowDot, CudaView[] extra, CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        (this.heads, this.logSumExp, this.rowDot) = (heads, logSumExp, rowDot);
        attention = new CudaAttention(step.Shape, extra, lowering);
        string[] names = ["Query", "Key", "Value", "Output", "OutputGradient", "QueryGradient", "KeyGradient", "ValueGradient"];
        (string, ScalarType)[] types = [.. names.Zip(heads.Select(h => h.View.Type))];
        int tile = CudaAttention.Tile;
        int shared = sizeof(float) * (2 * tile * (attention.HeadSize + 1) + 2 * tile * (attention.ValueSize + 1) + 2 * tile * (tile + 1));
        CudaCall Call(string name, int sharedBytes) => new(
            attention.Function(Text, name, sharedBytes, types), heads.Length * CudaHeads.Arguments + 2 + attention.Arguments, step.Name)
        {
            Threads = CudaAttention.Threads,
            SharedBytes = sharedBytes,
        };
        (dots, keys, queries) = (Call("row_dots", 0), Call("key_gradients", shared), Call("query_gradients", shared));
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        Span<long> arguments = dots.Arguments;
        for (int i = 0; i < heads.Length; i++)
            heads[i].Bind(arguments[(i * CudaHeads.Arguments)..], dimensions);
        Span<long> rest = arguments[(heads.Length * CudaHeads.Arguments)..];
        rest[0] = logSumExp.Address(dimensions);
        rest[1] = rowDot.Address(dimensions);
        attention.Bind(rest[2..], dimensions, isPlaced: true);
        arguments.CopyTo(keys.Arguments);
        arguments.CopyTo(queries.Arguments);

        (dots.BlocksX, dots.BlocksY, dots.BlocksZ) = (attention.QueryTiles(dimensions), attention.Heads(dimensions), attention.Batch(dimensions));
        (queries.BlocksX, queries.BlocksY, queries.BlocksZ) = (dots.BlocksX, dots.BlocksY, dots.BlocksZ);
        (keys.BlocksX, keys.BlocksY, keys.BlocksZ) = (attention.KeyTiles(dimensions), attention.KeyHeads(dimensions), dots.BlocksZ);
    }

    public override void Enqueue(nint stream)
    {
        dots.Enqueue(stream);
        keys.Enqueue(stream);
        queries.Enqueue(stream);
    }
}
