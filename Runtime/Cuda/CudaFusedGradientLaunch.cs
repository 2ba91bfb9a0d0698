using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Gradients of attention on Hopper by one kernel, whose blocks hold keys and values and add up the queries' gradient in float32 in an order
/// that is fixed: five products a tile, where a kernel for each side needs seven.
/// </summary>
internal sealed class CudaFusedGradientLaunch : CudaHopperGradientLaunch
{
    /// <summary>What the kernel's registers hold the gradients of; larger heads take two kernels.</summary>
    private const int LargestHead = 64;

    /// <summary>Stages of keys and values, and of score gradients.</summary>
    private const int KeyStages = 2, ScoreStages = 2;

    private const int Words = 21;

    private static readonly HopperTile Tile = new(Streamed: CudaRowDot.TileRows, Stages: 4, Consumers: 2, Others: 2);

    private readonly CudaHopperCall call;
    private readonly CudaView sums;
    private readonly CudaMemory turns;
    private readonly int multiprocessors;

    public CudaFusedGradientLaunch(
        Step.AttentionGradient step, CudaHeads[] heads, CudaView logSumExp, CudaView[] extra, CudaLowering lowering)
        : base(step, heads, logSumExp, extra, lowering)
    {
        multiprocessors = lowering.Device.Information.Multiprocessors;
        int rows = Tile.Rows, elements = (KeyStages * rows + Tile.Stages * Tile.Streamed) * (Head + Value) + ScoreStages * rows * Tile.Streamed;
        call = Call(
            Tile, KeyGradient.View.Type, "attention_gradient", ["AttentionGradientTiles", "AttentionGradientTurns", "AttentionGradientHopper"], Words, elements * ElementBytes,
            ("QUERIES", Tile.Streamed), ("KEY_STAGES", KeyStages));
        sums = lowering.Workspace(PaddedRows * Head);
        // The kernel leaves them as it finds them: zero.
        turns = lowering.Resources.Keep("attention's turns", lowering.Resources.Plan.Maximum(PaddedRows) / Tile.Streamed * sizeof(int));
    }

    public static bool Takes(AttentionShape shape, CudaHeads[] heads) => CudaFlashAttention.Takes(shape, LargestHead, heads);

    public override void Enqueue(nint stream)
    {
        base.Enqueue(stream);
        call.Enqueue(stream);
    }

    protected override void BindProducts(ReadOnlySpan<long> dimensions, in CudaFlashAttention.Sizes sizes)
    {
        long tiles = call.Tiles(sizes.Keys), rows = sizes.KeyHeads * sizes.Batch, work = tiles * rows;
        call.Bind(work);
        if (sizes.IsEmpty)
            return;
        BindOperands(call, dimensions, sizes, Tile.Streamed, call.Rows, tiles, work);
        Span<long> arguments = call.Arguments;
        arguments[3] = CudaFlashAttention.Pair(Attention.HeadSize, Attention.ValueSize);
        // Of the last heads, as many as make four tiles of keys for each multiprocessor, long tiles come first: so all end at about the same time.
        arguments[4] = CudaFlashAttention.Pair(rows, Math.Max(0, rows - (4 * multiprocessors + tiles - 1) / tiles));
        QueryGradient.Bind(arguments[5..], dimensions);
        KeyGradient.Bind(arguments[9..], dimensions);
        ValueGradient.Bind(arguments[13..], dimensions);
        (arguments[17], arguments[18]) = (sums.Address(dimensions), turns.Address);
        BindEnd(arguments[19..], dimensions, call.Counter);
    }
}
