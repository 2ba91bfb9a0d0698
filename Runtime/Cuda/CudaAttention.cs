using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// What the portable kernels of attention have in common: sizes as arguments, the compiler's part of their text, and
/// which tiles of scores hold anything.
/// </summary>
internal sealed class CudaAttention
{
    /// <summary>Queries and keys of a tile; threads of a block.</summary>
    public const int Tile = 32, Threads = 128;

    private readonly AttentionShape shape;
    private readonly CudaLowering lowering;
    private readonly CudaAttentionText text;
    private readonly CudaView[] extra;
    private readonly CpuExtent[] extents;
    private readonly CpuExtent batch, heads, keyHeads, queries, keys;
    private CudaMemory? tiles;

    public CudaAttention(AttentionShape shape, CudaView[] extra, CudaLowering lowering)
    {
        (this.shape, this.extra, this.lowering) = (shape, extra, lowering);
        (batch, heads, keyHeads) = (lowering.Extent(shape.Batch), lowering.Extent(shape.Heads), lowering.Extent(shape.KeyHeads));
        (queries, keys) = (lowering.Extent(shape.QueryLength), lowering.Extent(shape.KeyLength));
        (HeadSize, ValueSize) = ((int)shape.HeadSize.Constant, (int)shape.ValueSize.Constant);
        text = CudaAttentionText.Of(shape, [.. extra.Select(v => v.Type)], lowering.Bounds);
        extents = lowering.Extents(text.Extents);
    }

    public int HeadSize { get; }

    public int ValueSize { get; }

    /// <summary>Arguments after the operands: six sizes and addresses, then the extra operands and sizes.</summary>
    public int Arguments => 6 + extra.Length + extents.Length;

    public long Batch(ReadOnlySpan<long> dimensions) => batch.Evaluate(dimensions);

    public long Heads(ReadOnlySpan<long> dimensions) => heads.Evaluate(dimensions);

    public long KeyHeads(ReadOnlySpan<long> dimensions) => keyHeads.Evaluate(dimensions);

    public long QueryTiles(ReadOnlySpan<long> dimensions) => (queries.Evaluate(dimensions) + Tile - 1) / Tile;

    public long KeyTiles(ReadOnlySpan<long> dimensions) => (keys.Evaluate(dimensions) + Tile - 1) / Tile;

    /// <summary>A kernel's function, for operands of these types by the names that its text gives them.</summary>
    public nint Function(string resource, string name, int sharedBytes, params (string Name, ScalarType Type)[] operands)
    {
        string types = string.Concat(operands.Select(o => $"typedef {CudaTypes.Name(o.Type)} {o.Name};\n"));
        string sizes = $"#define HEAD_SIZE {HeadSize}\n#define VALUE_SIZE {ValueSize}\n";
        return lowering.Device.Compiler.Load(CudaCompiler.Prelude + types + sizes + text.Text + CudaCompiler.Resource(resource)).Function(name, sharedBytes);
    }

    /// <summary>Fills in the arguments after the operands.</summary>
    /// <param name="isPlaced">Whether query i stands at position i, so that the mask's tiles are known beforehand.</param>
    public void Bind(Span<long> arguments, ReadOnlySpan<long> dimensions, bool isPlaced)
    {
        arguments[0] = heads.Evaluate(dimensions);
        arguments[1] = keyHeads.Evaluate(dimensions);
        arguments[2] = queries.Evaluate(dimensions);
        arguments[3] = keys.Evaluate(dimensions);
        arguments[4] = isPlaced && shape.Mask is not null ? Classify(dimensions) : 0;
        arguments[5] = KeyTiles(dimensions);
        for (int i = 0; i < extra.Length; i++)
            arguments[6 + i] = extra[i].Address(dimensions);
        for (int i = 0; i < extents.Length; i++)
            arguments[6 + extra.Length + i] = extents[i].Evaluate(dimensions);
    }

    /// <summary>A byte a tile of queries and keys, for all rows and heads: what the mask does to it.</summary>
    private nint Classify(ReadOnlySpan<long> dimensions)
    {
        long rows = QueryTiles(dimensions), columns = KeyTiles(dimensions);
        var kinds = new byte[rows * columns];
        var mask = new MaskTiles(shape.Mask, name => lowering.Resources.Bindings[name]);
        IntegerRange allBatch = Range(batch.Evaluate(dimensions)), allHeads = Range(heads.Evaluate(dimensions));
        for (long i = 0; i < rows; i++)
            for (long j = 0; j < columns; j++)
                kinds[i * columns + j] = (byte)mask.Classify(new MaskTile(
                    allBatch, allHeads, Part(i, queries.Evaluate(dimensions)), Part(j, keys.Evaluate(dimensions))));
        if (tiles is null || tiles.Bytes < kinds.Length)
            tiles = lowering.Resources.Keep(kinds.Length);
        tiles.Write(0, kinds);
        return tiles.Address;
    }

    private static IntegerRange Range(long count) => new(0, Math.Max(0, count - 1));

    private static IntegerRange Part(long tile, long count) => new(tile * Tile, Math.Min((tile + 1) * Tile, count) - 1);
}
