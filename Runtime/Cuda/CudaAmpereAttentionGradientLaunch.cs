using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Gradients of attention on the tensor cores of sm_80 and up: Σ output · outputGradient of each row, then the queries' gradient by blocks of
/// queries, then the keys' and values' by blocks of keys. Every sum is made by one block in one order.
/// </summary>
internal sealed class CudaAmpereAttentionGradientLaunch : CudaLaunch
{
    private const int LargestHead = 256, Words = 29;

    private readonly CudaFlashAttention attention;
    private readonly CudaHeads[] operands;
    private readonly CudaHeads queryGradient, keyGradient, valueGradient;
    private readonly CudaView logSumExp, rowDot;
    private readonly CudaRowDot dots;
    private readonly CudaAmpereCall queries, keys;

    /// <param name="heads">Query, key, value, output, output gradient, query gradient, key gradient, value gradient.</param>
    public CudaAmpereAttentionGradientLaunch(
        Step.AttentionGradient step, CudaHeads[] heads, CudaView logSumExp, CudaView rowDot, CudaView[] extra, CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        (operands, this.logSumExp, this.rowDot) = ([heads[0], heads[1], heads[2], heads[4]], logSumExp, rowDot);
        (queryGradient, keyGradient, valueGradient) = (heads[5], heads[6], heads[7]);
        attention = new CudaFlashAttention(step.Shape, extra, lowering);
        dots = new CudaRowDot(step.Name, attention, heads[3], heads[4], rowDot, null, lowering);
        int[] sizes = [attention.HeadSize, attention.ValueSize];
        int largest = sizes.Max(), tile = largest > 128 ? 16 : largest > 64 ? 32 : 64;
        CudaAmpereCall Call(string entry, string file, ScalarType target, int split) => new(
            lowering, step.Name, attention, (heads[0].View.Type, target), entry, ["AmpereTiles", "AmpereGradient", file], sizes, sizes, "STREAMED", tile,
            split, Words + attention.ExtraArguments);
        queries = Call("attention_query_gradient", "AttentionQueryGradientAmpere", queryGradient.View.Type, 1);
        keys = Call("attention_key_gradient", "AttentionKeyGradientAmpere", keyGradient.View.Type, largest > 128 ? 2 : 1);
    }

    public static bool Takes(Step.AttentionGradient step, CudaHeads[] heads) =>
        CudaFlashAttention.AreHalves(heads[0], heads[1], heads[2], heads[4])
        && heads[6].View.Type == heads[7].View.Type
        && new[] { heads[3], heads[5], heads[6] }.All(h => h.View.Type == ScalarType.F32 || h.View.Type == heads[0].View.Type)
        && CudaFlashAttention.Takes(step.Shape, LargestHead, heads);

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        CudaFlashAttention.Sizes sizes = attention.At(dimensions);
        dots.Bind(dimensions, sizes);
        Bind(queries.Arguments, dimensions, sizes, queryGradient, queryGradient);
        Bind(keys.Arguments, dimensions, sizes, keyGradient, valueGradient);
        queries.Bind(sizes.Queries, sizes.Heads, sizes.Batch);
        keys.Bind(sizes.Keys, sizes.KeyHeads, sizes.Batch);
    }

    public override void Enqueue(nint stream)
    {
        dots.Enqueue(stream);
        queries.Enqueue(stream);
        keys.Enqueue(stream);
    }

    private void Bind(Span<long> arguments, ReadOnlySpan<long> dimensions, in CudaFlashAttention.Sizes sizes, CudaHeads target, CudaHeads valueTarget)
    {
        CudaHeads[] all = [.. operands, target, valueTarget];
        for (int i = 0; i < all.Length; i++)
            all[i].Bind(arguments[(i * CudaHeads.Arguments)..], dimensions);
        arguments = arguments[(all.Length * CudaHeads.Arguments)..];
        arguments[0] = CudaFlashAttention.Pair(sizes.Queries, sizes.Keys);
        arguments[1] = CudaFlashAttention.Pair(sizes.Heads, sizes.Group);
        arguments[2] = CudaFlashAttention.Pair(attention.HeadSize, attention.ValueSize);
        arguments[3] = logSumExp.Address(dimensions);
        arguments[4] = rowDot.Address(dimensions);
        attention.BindExtra(arguments[5..], dimensions);
    }
}
