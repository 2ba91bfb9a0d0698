using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>The rows of one query block: which they are, and where they lie.</summary>
internal readonly struct AttentionBlock
{
    public AttentionBlock(in AttentionArgs args, in AttentionGeometry geometry, int batch, int keyHead, int headBlock, int positionBlock)
    {
        (Batch, KeyHead) = (batch, keyHead);
        int first = headBlock * geometry.BlockHeads;
        FirstHead = keyHead * args.Group + first;
        Heads = Math.Min(geometry.BlockHeads, args.Group - first);
        FirstPosition = positionBlock * geometry.Positions;
        Positions = Math.Min(geometry.Positions, args.QueryLength - FirstPosition);
        Past = args.PastOf(batch);
        Keys = args.KeysOf(batch);
    }

    public int Batch { get; }

    public int KeyHead { get; }

    public int FirstHead { get; }

    public int Heads { get; }

    /// <summary>Index of the first query, counted from the first of the step.</summary>
    public int FirstPosition { get; }

    public int Positions { get; }

    /// <summary>Keys before the first query of the step.</summary>
    public long Past { get; }

    /// <summary>Keys of the batch row.</summary>
    public long Keys { get; }

    public int Rows => Heads * Positions;

    public int Lanes => AttentionRows.Pad(Rows);

    /// <summary>The block against keys from <paramref name="low"/> to <paramref name="high"/>, both included.</summary>
    public MaskTile Against(in AttentionArgs args, long low, long high) => new(
        IntegerRange.Of(Batch), new(FirstHead, FirstHead + Heads - 1),
        new(Past + FirstPosition, Past + FirstPosition + Positions - 1), new(low, high), args.Program.Operands);

    /// <summary>The part of such a tile that belongs to one of the block's heads.</summary>
    public ScoreTile OfHead(int head, long low, long high) =>
        new(Batch, FirstHead + head, Past + FirstPosition, Past + FirstPosition + Positions - 1, low, high);
}
