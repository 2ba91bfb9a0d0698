using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>What such a product is compiled for.</summary>
/// <param name="RightOverRows">Whether the right operand is contracted over its rows, not along them.</param>
/// <param name="Parts">Products computed as one.</param>
/// <param name="Combination">As of <see cref="JoinedProducts"/>.</param>
internal readonly record struct DeferredProductForm(
    ScalarType Element, bool RightOverRows, int Parts, ProductJoin Join, bool HasBias, string? Combination = null);

/// <summary>One of the products computed as one: its shape and places. Of those that give one result, the first one's output is that.</summary>
internal readonly record struct DeferredPart(ProductShape Shape, nint Left, nint Right, nint Output, nint Bias);

/// <summary>
/// Products with 16-bit results, by Hopper's tensor cores and copy engine: a tile's results are stored
/// while the next tile's products are under way.
/// </summary>
internal sealed class CudaDeferredProduct : CudaOwnProduct
{
    private const int Columns = 256, Depth = 64, Stages = 4, Consumers = 2, Cluster = 2, AlignedColumns = 8, ElementBytes = 2;

    /// <summary>The arguments' size is a multiple of so many words: that of the alignment of tensor maps.</summary>
    private const int WordAlignment = 8;

    private static readonly ConcurrentDictionary<DeferredProductForm, string> Sources = new();

    private readonly DeferredProductForm form;
    private readonly string source;
    private readonly CudaHopperCall call;
    private readonly int lefts, resultColumns;

    public CudaDeferredProduct(DeferredProductForm form, string name, CudaLowering lowering)
    {
        (this.form, source) = (form, Sources.GetOrAdd(form, Source));
        lefts = form.Join == ProductJoin.Summed ? form.Parts : 1;
        Results = form.Join == ProductJoin.Beside ? form.Parts : 1;
        resultColumns = form.Join == ProductJoin.Combined ? Columns / form.Parts : Columns;
        int words = (SizeWords + 3 * Results + WordAlignment - 1) / WordAlignment * WordAlignment;
        int stageBytes = ((64 * Consumers + Columns) * Depth + Columns) * ElementBytes;
        var tile = new HopperTile(Columns, Stages, Consumers, Cluster: Cluster);
        call = new CudaHopperCall(lowering, source, "product_deferred", name, lefts + form.Parts, words, tile, Stages * stageBytes);
    }

    /// <summary>Matrices that it gives.</summary>
    public int Results { get; }

    /// <summary>Words of the sizes: rows, depths and columns, 32 bits each.</summary>
    private int SizeWords => (1 + lefts + Results + 1) / 2;

    public override string Key => KeyOf(source);

    public override bool Takes(ProductShape shape, in ProductAddresses at) =>
        shape.Batch == 1 && !shape.B.Transposed && form.RightOverRows == !shape.A.Transposed
        && IsAligned(shape.B, at.Left) && IsAligned(shape.A, at.Right) && IsAligned(shape.C, at.Output)
        && (!form.HasBias || shape.Rows % AlignedColumns == 0);

    public override void Bind(ProductShape shape, in ProductAddresses at) =>
        Bind([new DeferredPart(shape, at.Left, at.Right, at.Output, at.Bias)]);

    /// <summary>Takes the shapes and places of all products.</summary>
    public void Bind(ReadOnlySpan<DeferredPart> parts)
    {
        const int box = CudaTensorMap.BoxColumns;
        long m = parts[0].Shape.Columns, across = 0;
        Span<long> addresses = call.Arguments[SizeWords..];
        Span<int> sizes = MemoryMarshal.Cast<long, int>(call.Arguments[..SizeWords]);
        sizes[0] = checked((int)m);
        for (int i = 0; i < form.Parts; i++)
        {
            ((ProductShape shape, nint left, nint right, nint output, nint bias), long n, long k) = (parts[i], parts[i].Shape.Rows, parts[i].Shape.Depth);
            if (i < lefts)
            {
                Write(i, new HopperOperand(left, m, k, shape.B.Leading), call.Rows);
                sizes[1 + i] = checked((int)k);
            }
            if (form.RightOverRows)
                Write(lefts + i, new HopperOperand(right, k, n, shape.A.Leading), box);
            else
                Write(lefts + i, new HopperOperand(right, n, k, shape.A.Leading), Columns / Cluster);
            if (i >= Results)
                continue;
            sizes[1 + lefts + i] = checked((int)n);
            (addresses[i], addresses[Results + i], addresses[2 * Results + i]) = (shape.C.Leading, output, bias);
            across += (n + resultColumns - 1) / resultColumns;
        }
        call.Bind(call.Tiles(m, Cluster) * across);
    }

    public override void Enqueue(nint stream) => call.Enqueue(stream);

    private void Write(int map, in HopperOperand operand, int boxRows) =>
        call.Map(map, form.Element, [operand.Address, operand.Apart, operand.Stride, 0], operand.Count, operand.Rows, 1, operand.Columns, boxRows);

    private static string Source(DeferredProductForm form)
    {
        string element = CudaTypes.Name(form.Element);
        (string Name, int Value)[] constants =
        [
            ("STAGES", Stages), ("CONSUMERS", Consumers), ("RIGHT_OVER_ROWS", form.RightOverRows ? 1 : 0), ("PARTS", form.Parts),
            ("CHAINED", form.Join == ProductJoin.Summed ? 1 : 0), ("COMBINED", form.Join == ProductJoin.Combined ? 1 : 0), ("BIAS", form.HasBias ? 1 : 0),
        ];
        return CudaCompiler.Prelude + $"typedef {element} Element;\n#define ELEMENT \"{element}\"\n"
            + string.Concat(constants.Select(c => $"#define {c.Name} {c.Value}\n")) + form.Combination
            + string.Concat(new[] { "Fragments", "Hopper", "HopperPipeline", "DeferredTiles", "DeferredResults", "ProductDeferred" }.Select(p => CudaCompiler.Resource(p + ".cu")));
    }
}
