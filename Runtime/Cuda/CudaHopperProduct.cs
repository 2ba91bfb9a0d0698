using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>What a product on Hopper's tensor cores is compiled for.</summary>
/// <param name="LeftOverRows">Whether the left operand is contracted over its rows: they run along the depth, not across it.</param>
internal readonly record struct HopperProductForm(
    ScalarType Element, ScalarType Output, bool LeftOverRows, bool RightOverRows, bool Accumulate, bool HasBias, ProductGrouping Grouping)
{
    /// <summary>Whether the kernel gathers the left operand's rows.</summary>
    public bool Gathers => Grouping == ProductGrouping.GatheredRows;

    /// <summary>
    /// Whether a tile's results are stored while the next tile's products are under way: of groups of rows, as
    /// <see cref="CudaDeferredProduct"/> computes the same without groups; not of picked ones, whose producers leave no registers to wait in.
    /// </summary>
    public bool IsDeferred => Grouping is ProductGrouping.Rows or ProductGrouping.GatheredRows && Output == Element && !Accumulate && !HasBias;
}

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

    /// <summary>As <see cref="Rows"/>, but the rows aren't gathered yet: the kernel does that too, while products are under way.</summary>
    GatheredRows = 4,
}

/// <summary>A matrix of 16-bit elements whose rows lie together, as the copy engine reads it.</summary>
/// <param name="Stride">Elements from one row to the next.</param>
/// <param name="Count">Matrices, <paramref name="Apart"/> elements apart.</param>
internal readonly record struct HopperOperand(nint Address, long Rows, long Columns, long Stride, long Count = 1, long Apart = 0);

/// <summary>Where the rows lie that a product picks, or gathers into its left operand.</summary>
/// <param name="Share">Rows in groups that read one of these.</param>
/// <param name="Progress">How far a gathering has come.</param>
internal readonly record struct HopperSource(nint Address, long Stride, long Share, nint Progress = 0);

/// <summary>The sizes and the output of a product on Hopper.</summary>
internal readonly record struct HopperProductSizes(
    long Rows, long Columns, long Depth, nint Output, long Stride, long Groups = 1, long GroupStride = 0, nint Offsets = 0, nint Order = 0,
    HopperSource Source = default);

/// <summary>
/// A product by Hopper's tensor cores and copy engine, of any sizes as long as rows start at multiples of 16 bytes: odd
/// sizes, and groups of rows whose sizes only the GPU knows, run as fast as others.
/// </summary>
internal sealed class CudaHopperProduct
{
    /// <summary>Elements of 16 bytes.</summary>
    public const int AlignedElements = 8;

    private const int Columns = 256, Depth = 64, Stages = 4, Consumers = 2, Words = 15, ElementBytes = 2;

    /// <summary>Shared memory that rows pass through on their way to where they are gathered: slots, and bytes of one.</summary>
    private const int Slots = 4, SlotBytes = 8192;

    private static readonly ConcurrentDictionary<HopperProductForm, string> Sources = new();

    private readonly HopperProductForm form;
    private readonly CudaHopperCall call;

    public CudaHopperProduct(HopperProductForm form, string name, CudaLowering lowering)
    {
        this.form = form;
        var tile = new HopperTile(Columns, Stages, Consumers);
        int stageBytes = (64 * Consumers + Columns) * Depth * ElementBytes;
        call = new CudaHopperCall(lowering, SourceOf(form), "product_hopper", name, 2, Words, tile, Stages * stageBytes + (form.Gathers ? Slots * SlotBytes : 0));
    }

    /// <summary>What it is compiled for.</summary>
    public HopperProductForm Form => form;

    /// <summary>Changes where the kernel does.</summary>
    public string Key => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(SourceOf(form))));

    /// <summary>Whether the device and the types are such.</summary>
    public static bool Takes(ScalarType left, ScalarType right, ScalarType output, CudaLowering lowering) =>
        lowering.Device.IsHopper && left is ScalarType.BF16 or ScalarType.F16 && left == right && (output == left || output == ScalarType.F32);

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
        (arguments[10], arguments[11], arguments[12]) = (sizes.Source.Address, sizes.Source.Stride, sizes.Source.Share);
        (arguments[13], arguments[14]) = (left.Address, sizes.Source.Progress);
        long rowTiles = call.Tiles(sizes.Rows), columnTiles = (sizes.Columns + Columns - 1) / Columns;
        call.Bind(columnTiles * form.Grouping switch
        {
            ProductGrouping.None => rowTiles,
            ProductGrouping.Depth => rowTiles * sizes.Groups,
            // A group's last tile may be nearly empty.
            _ => rowTiles + sizes.Groups,
        });
    }

    public void Enqueue(nint stream) => call.Enqueue(stream);

    /// <summary>Memory, zeroed at first, in which the kernel keeps how far it has come with gathering so many rows at most.</summary>
    public static CudaMemory Progress(long rows, int groups, CudaLowering lowering)
    {
        long tiles = rows / (64 * Consumers) + groups;
        return lowering.Resources.Keep("how far rows are gathered", (1 + lowering.Device.Information.Multiprocessors + tiles) * sizeof(int));
    }

    private void Write(int map, in HopperOperand operand, int boxRows) => call.Map(
        map, form.Element, [operand.Address, operand.Apart, operand.Stride, 0], operand.Count, operand.Rows, 1, operand.Columns, boxRows);

    private static string SourceOf(HopperProductForm form) => Sources.GetOrAdd(form, Source);

    private static string Source(HopperProductForm form)
    {
        ProductGrouping divided = form.Grouping is ProductGrouping.None or ProductGrouping.Depth ? form.Grouping : ProductGrouping.Rows;
        string element = CudaTypes.Name(form.Element);
        (string Name, int Value)[] constants =
        [
            ("STAGES", Stages), ("CONSUMERS", Consumers), ("LEFT_OVER_ROWS", form.LeftOverRows ? 1 : 0), ("RIGHT_OVER_ROWS", form.RightOverRows ? 1 : 0),
            ("ACCUMULATE", form.Accumulate ? 1 : 0), ("BIAS", form.HasBias ? 1 : 0), ("GROUPED", (int)divided),
            ("PICKED", form.Grouping == ProductGrouping.PickedRows ? 1 : 0), ("GATHERS", form.Gathers ? Slots : 0), ("SLOT_BYTES", SlotBytes), ("DEFERRED", form.IsDeferred ? 1 : 0),
        ];
        return CudaCompiler.Prelude + $"typedef {element} Element;\ntypedef {CudaTypes.Name(form.Output)} Output;\n#define ELEMENT \"{element}\"\n"
            + string.Concat(constants.Select(c => $"#define {c.Name} {c.Value}\n"))
            + string.Concat(new[] { "Fragments", "Hopper", "HopperPipeline", "GroupedResults", "ProductTiles", "RowGathering", "ProductHopper" }.Select(p => CudaCompiler.Resource(p + ".cu")));
    }
}
