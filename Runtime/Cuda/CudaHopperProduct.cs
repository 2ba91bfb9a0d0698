using System.Security.Cryptography;
using System.Text;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>What a product on Hopper's tensor cores is compiled for.</summary>
/// <param name="LeftOverRows">Whether the left operand is contracted over its rows: they run along the depth, not across it.</param>
internal readonly record struct HopperProductForm(
    ScalarType Element, ScalarType Output, bool LeftOverRows, bool RightOverRows, bool Accumulate, bool HasBias, ProductGrouping Grouping);

/// <summary>What is added to a product: rows <paramref name="Stride"/> elements apart, and a vector to each row.</summary>
internal readonly record struct HopperAddends(nint Matrix, long Stride, nint Bias);

/// <summary>What the groups of a product divide.</summary>
internal enum ProductGrouping
{
    /// <summary>Nothing: it is one product.</summary>
    None = 0,

    /// <summary>The left operand's rows, each group with a right operand of its own.</summary>
    Rows = 1,

    /// <summary>The rows that are contracted, each group with an output of its own.</summary>
    Depth = 2,

    /// <summary>As <see cref="Rows"/>, but the rows aren't gathered: the kernel picks them from where they lie.</summary>
    PickedRows = 3,
}

/// <summary>A matrix of 16-bit elements whose rows lie together, as the copy engine reads it.</summary>
/// <param name="Stride">Elements from one row to the next.</param>
/// <param name="Count">Matrices, <paramref name="Apart"/> elements apart.</param>
internal readonly record struct HopperOperand(nint Address, long Rows, long Columns, long Stride, long Count = 1, long Apart = 0);

/// <summary>The sizes and the output of a product on Hopper.</summary>
/// <param name="Share">Rows in groups that read one row of the left operand.</param>
internal readonly record struct HopperProductSizes(
    long Rows, long Columns, long Depth, nint Output, long Stride, long Groups = 1, long GroupStride = 0, nint Offsets = 0, nint Order = 0,
    long Share = 1);

/// <summary>
/// A product by Hopper's tensor cores and copy engine, of any sizes as long as rows start at multiples of 16 bytes: odd
/// sizes, and groups of rows whose sizes only the GPU knows, run as fast as others.
/// </summary>
internal sealed class CudaHopperProduct
{
    /// <summary>Elements of 16 bytes.</summary>
    public const int AlignedElements = 8;

    private const int Columns = 256, Depth = 64, Stages = 4, Consumers = 2, Words = 13, ElementBytes = 2;

    private readonly HopperProductForm form;
    private readonly CudaHopperCall call;

    public CudaHopperProduct(HopperProductForm form, string name, CudaLowering lowering)
    {
        this.form = form;
        var tile = new HopperTile(Columns, Stages, Consumers);
        int stageBytes = (64 * Consumers + Columns) * Depth * ElementBytes;
        call = new CudaHopperCall(lowering, Source(form), "product_hopper", name, 2, Words, tile, Stages * stageBytes);
    }

    /// <summary>What it is compiled for.</summary>
    public HopperProductForm Form => form;

    /// <summary>Changes where the kernel does.</summary>
    public string Key => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(Source(form))));

    /// <summary>Whether the device and the types are such.</summary>
    public static bool Takes(ScalarType left, ScalarType right, ScalarType output, CudaLowering lowering) =>
        lowering.Device.Architecture == 90 && left is ScalarType.BF16 or ScalarType.F16 && left == right && (output == left || output == ScalarType.F32);

    public void Bind(in HopperOperand left, in HopperOperand right, in HopperProductSizes sizes, in HopperAddends added = default)
    {
        const int box = CudaTensorMap.BoxColumns;
        Write(0, left, form.LeftOverRows ? box : call.Rows);
        Write(1, right, form.RightOverRows ? box : Columns);
        Span<long> arguments = call.Arguments;
        arguments[0] = CudaFlashAttention.Pair(sizes.Rows, sizes.Columns);
        arguments[1] = CudaFlashAttention.Pair(sizes.Depth, sizes.Groups);
        (arguments[2], arguments[3], arguments[4]) = (sizes.Stride, sizes.GroupStride, added.Stride);
        (arguments[5], arguments[6], arguments[7]) = (sizes.Output, added.Matrix, added.Bias);
        (arguments[8], arguments[9]) = (sizes.Offsets, sizes.Order);
        (arguments[10], arguments[11], arguments[12]) = (left.Address, left.Stride, sizes.Share);
        long rowTiles = call.Tiles(sizes.Rows), columnTiles = (sizes.Columns + Columns - 1) / Columns;
        call.Bind(columnTiles * form.Grouping switch
        {
            ProductGrouping.None => rowTiles,
            // A group's last tile may be nearly empty.
            ProductGrouping.Rows or ProductGrouping.PickedRows => rowTiles + sizes.Groups,
            _ => rowTiles * sizes.Groups,
        });
    }

    public void Enqueue(nint stream) => call.Enqueue(stream);

    private void Write(int map, in HopperOperand operand, int boxRows) => call.Map(
        map, form.Element, [operand.Address, operand.Apart, operand.Stride, 0], operand.Count, operand.Rows, 1, operand.Columns, boxRows);

    private static string Source(HopperProductForm form)
    {
        bool picked = form.Grouping == ProductGrouping.PickedRows;
        string element = CudaTypes.Name(form.Element);
        (string Name, int Value)[] constants =
        [
            ("STAGES", Stages), ("CONSUMERS", Consumers), ("LEFT_OVER_ROWS", form.LeftOverRows ? 1 : 0), ("RIGHT_OVER_ROWS", form.RightOverRows ? 1 : 0),
            ("ACCUMULATE", form.Accumulate ? 1 : 0), ("BIAS", form.HasBias ? 1 : 0), ("GROUPED", (int)(picked ? ProductGrouping.Rows : form.Grouping)), ("PICKED", picked ? 1 : 0),
        ];
        return CudaCompiler.Prelude + $"typedef {element} Element;\ntypedef {CudaTypes.Name(form.Output)} Output;\n#define ELEMENT \"{element}\"\n"
            + string.Concat(constants.Select(c => $"#define {c.Name} {c.Value}\n"))
            + string.Concat(new[] { "Fragments", "Hopper", "HopperPipeline", "ProductHopper" }.Select(p => CudaCompiler.Resource(p + ".cu")));
    }
}
