namespace Legato.Runtime.Cpu;

/// <summary>
/// How an attention is cut into blocks of queries and tiles of keys. A block holds some positions of some of the query heads
/// that share a key head, so that keys and values are read once for all of them; its rows lie head by head. Depends on
/// the sizes of heads and sequences alone: not on the batch, nor on who computes.
/// </summary>
internal readonly struct AttentionGeometry
{
    /// <summary>Keys of a tile: a multiple of the product's rows.</summary>
    public const int TileKeys = 72;

    /// <summary>Rows of scratch for a tile's keys: the product reads whole groups of rows, from any first one.</summary>
    public const int PaddedTileKeys = TileKeys + 8;

    /// <summary>Blocks that a work item of the forward step has at most.</summary>
    public const int MostTogether = 4;

    private const int BlockRows = 64, FewestPositions = 16, MostRows = 128;

    public AttentionGeometry(in AttentionArgs args)
    {
        Positions = Math.Clamp(args.QueryLength, 1, Math.Max(FewestPositions, BlockRows / args.Group));
        BlockHeads = Math.Min(args.Group, Math.Max(1, MostRows / Positions));
        HeadBlocks = (args.Group + BlockHeads - 1) / BlockHeads;
        PositionBlocks = (args.QueryLength + Positions - 1) / Positions;
        Lanes = AttentionRows.Pad(Positions * BlockHeads);
        HeadStride = AttentionRows.Stride(args.HeadSize);
        ValueStride = AttentionRows.Stride(args.ValueSize);
    }

    /// <summary>Query positions of a block.</summary>
    public int Positions { get; }

    /// <summary>Query heads of a block.</summary>
    public int BlockHeads { get; }

    /// <summary>Blocks that the query heads of one key head are cut into.</summary>
    public int HeadBlocks { get; }

    public int PositionBlocks { get; }

    /// <summary>The block's rows, padded: the row length of a score tile.</summary>
    public int Lanes { get; }

    /// <summary>Neighbouring position blocks that are computed together where there is work enough, so that tiles are loaded once for all.</summary>
    public int Together(in AttentionArgs args, int workers)
    {
        long items = (long)args.Batch * args.KeyHeads * HeadBlocks * PositionBlocks;
        return (int)Math.Clamp(items / (4L * workers), 1, Math.Min(MostTogether, Math.Max(1, PositionBlocks)));
    }

    /// <summary>Floats between rows of queries or keys in scratch.</summary>
    public int HeadStride { get; }

    /// <summary>Floats between rows of values or outputs in scratch.</summary>
    public int ValueStride { get; }

    /// <summary>Rows of scratch for the block's rows: products are computed in groups of six.</summary>
    public int PaddedRows => Lanes + AttentionRows.Padding;

    /// <summary>Floats of a score tile; the product may read a little beyond its last row.</summary>
    public int ScoreFloats => TileKeys * Lanes + AttentionRows.Padding;
}
