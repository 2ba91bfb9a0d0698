using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Gradients of attention on Hopper, which begin with Σ output · outputGradient of each row. Every sum is made in one order.
/// </summary>
internal abstract class CudaHopperGradientLaunch : CudaLaunch
{
    /// <summary>Bytes of an element of an operand.</summary>
    protected const int ElementBytes = 2;

    private const int LargestHead = 128, Maps = 4;

    private readonly CudaHeads query, key, value, outputGradient;
    private readonly CudaView rows;
    private readonly CudaRowDot dots;
    private readonly CudaLowering lowering;

    /// <param name="heads">Query, key, value, output, output gradient, query gradient, key gradient, value gradient.</param>
    protected CudaHopperGradientLaunch(
        Step.AttentionGradient step, CudaHeads[] heads, CudaView logSumExp, CudaView[] extra, CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        (query, key, value, outputGradient) = (heads[0], heads[1], heads[2], heads[4]);
        (QueryGradient, KeyGradient, ValueGradient) = (heads[5], heads[6], heads[7]);
        this.lowering = lowering;
        PaddedRows = step.Shape.Batch * step.Shape.Heads * (step.Shape.QueryLength + (CudaRowDot.TileRows - 1));
        rows = lowering.Workspace(PaddedRows * 2);
        Attention = new CudaFlashAttention(step.Shape, extra, lowering);
        (Head, Value) = (CudaFlashAttention.Padded(Attention.HeadSize), CudaFlashAttention.Padded(Attention.ValueSize));
        dots = new CudaRowDot(step.Name, Attention, heads[3], outputGradient, rows, logSumExp, lowering);
    }

    protected CudaFlashAttention Attention { get; }

    protected CudaHeads QueryGradient { get; }

    protected CudaHeads KeyGradient { get; }

    protected CudaHeads ValueGradient { get; }

    /// <summary>No fewer than the rows of all heads' tiles.</summary>
    protected Extent PaddedRows { get; }

    /// <summary>Sizes of a query's and a value's head, padded.</summary>
    protected int Head { get; }

    /// <inheritdoc cref="Head"/>
    protected int Value { get; }

    /// <summary>The launch for a step, or null where another path must take it.</summary>
    public static CudaHopperGradientLaunch? Of(
        Step.AttentionGradient step, CudaHeads[] heads, CudaView logSumExp, CudaView[] extra, CudaLowering lowering)
    {
        bool takes = lowering.Device.IsHopper
            && CudaFlashAttention.AreHalves(heads[0], heads[1], heads[2], heads[4])
            && heads[5].View.Type == heads[6].View.Type && heads[6].View.Type == heads[7].View.Type
            && new[] { heads[3], heads[5] }.All(h => h.View.Type == ScalarType.F32 || h.View.Type == heads[0].View.Type)
            && CudaFlashAttention.Takes(step.Shape, LargestHead, heads);
        return !takes ? null
            : CudaFusedGradientLaunch.Takes(step.Shape, heads) ? new CudaFusedGradientLaunch(step, heads, logSumExp, extra, lowering)
            : new CudaFlashAttentionGradientLaunch(step, heads, logSumExp, extra, lowering);
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        CudaFlashAttention.Sizes sizes = Attention.At(dimensions);
        dots.Bind(dimensions, sizes);
        BindProducts(dimensions, sizes);
    }

    public override void Enqueue(nint stream) => dots.Enqueue(stream);

    protected abstract void BindProducts(ReadOnlySpan<long> dimensions, in CudaFlashAttention.Sizes sizes);

    /// <summary>A kernel of the four operands.</summary>
    /// <param name="pieces">Its texts, after those that all Hopper kernels share.</param>
    /// <param name="words">Of its structure, but for what masks and scores are given.</param>
    protected CudaHopperCall Call(
        HopperTile tile, ScalarType target, string entry, string[] pieces, int words, int sharedBytes, params ReadOnlySpan<(string Name, int Value)> constants)
    {
        string source = Attention.Source(
            query.View.Type, target, [("HEAD", Head), ("VALUE", Value), ("STAGES", tile.Stages), ("CONSUMERS", tile.Consumers), .. constants],
            ["Hopper", "HopperPipeline", .. pieces]);
        return new CudaHopperCall(lowering, source, entry, Name, Maps, words + Attention.ExtraArguments, tile, sharedBytes);
    }

    /// <summary>Sets what all kernels begin with: the operands' maps, for tiles of so many rows, and five sizes.</summary>
    protected void BindOperands(
        CudaHopperCall call, ReadOnlySpan<long> dimensions, in CudaFlashAttention.Sizes sizes, int queryRows, int keyRows, long tiles, long work)
    {
        Span<long> place = stackalloc long[CudaHeads.Arguments];
        (CudaHeads Heads, long Positions, long Count, int Size, int Rows)[] operands =
        [
            (query, sizes.Queries, sizes.Heads, Attention.HeadSize, queryRows), (key, sizes.Keys, sizes.KeyHeads, Attention.HeadSize, keyRows),
            (value, sizes.Keys, sizes.KeyHeads, Attention.ValueSize, keyRows), (outputGradient, sizes.Queries, sizes.Heads, Attention.ValueSize, queryRows),
        ];
        for (int i = 0; i < Maps; i++)
        {
            operands[i].Heads.Bind(place, dimensions);
            call.Map(
                i, query.View.Type, place, sizes.Batch, operands[i].Positions, operands[i].Count, operands[i].Size, operands[i].Rows);
        }
        Span<long> arguments = call.Arguments;
        arguments[0] = CudaFlashAttention.Pair(sizes.Queries, sizes.Keys);
        arguments[1] = CudaFlashAttention.Pair(sizes.Heads, sizes.Group);
        arguments[2] = CudaFlashAttention.Pair(tiles, work);
    }

    /// <summary>What all kernels end with: the log-sum-exp and the sum of each row, the work counter, and what masks and scores are given.</summary>
    protected void BindEnd(Span<long> arguments, ReadOnlySpan<long> dimensions, nint counter)
    {
        arguments[0] = rows.Address(dimensions);
        arguments[1] = counter;
        Attention.BindExtra(arguments[2..], dimensions);
    }
}
