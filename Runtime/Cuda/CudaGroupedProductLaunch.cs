using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>A grouped product; how many rows each group has is read by the GPU.</summary>
internal sealed class CudaGroupedProductLaunch : CudaLaunch
{
    private const int Tile = 32, Threads = 256;

    /// <summary>
    /// Up to so many columns, rows are picked by the product: measured on an H200, that costs it 4 %, and gathering them before
    /// it takes about 325 / columns of its time. Those of more columns are gathered by the product, unless they are there.
    /// </summary>
    private const int MostColumnsForPicking = 8192;

    private readonly CudaRowGroups rows;
    private readonly CudaGroupedMatrix left;
    private readonly CudaView right, output;
    private readonly CpuExtent n, k, groupStride, rowStride, columnStride, outputStride;
    private readonly CudaHopperProduct? hopper;
    private readonly CudaMemory? gathered, progress;
    private readonly Lazy<CudaCall> portable;
    private readonly bool overRows;

    public CudaGroupedProductLaunch(Step.GroupedProduct step, CudaRowGroups rows, CudaGroupedMatrix left, CudaView right, CudaView output, CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        (this.rows, this.left, this.right, this.output) = (rows, left, right, output);
        (n, k, groupStride) = (lowering.Extent(step.N), lowering.Extent(step.K), lowering.Extent(step.RightGroupStride));
        (rowStride, columnStride) = (lowering.Extent(step.Right.RowStride), lowering.Extent(step.Right.ColumnStride));
        outputStride = lowering.Extent(step.Output.RowStride);
        overRows = step.Right.ColumnStride.Equals(Extent.One);
        if (IsForHopper(step, lowering))
        {
            ProductGrouping grouping = ProductGrouping.PickedRows;
            if (!PicksRows(step, lowering))
            {
                (gathered, bool isThere) = lowering.Gathered.Take(left, rows);
                grouping = isThere ? ProductGrouping.Rows : ProductGrouping.GatheredRows;
                progress = isThere ? null : CudaHopperProduct.Progress(lowering.Resources.Plan.Maximum(step.Rows.Count), rows.Groups, lowering);
            }
            hopper = new CudaHopperProduct(new HopperProductForm(left.View.Type, output.Type, false, overRows, false, false, grouping), step.Name, lowering);
        }
        portable = new Lazy<CudaCall>(() => GroupedKernel("grouped_product", 14, left.View.Type, right.Type, output.Type, step.Name, lowering));
    }

    /// <summary>Whether a product on Hopper reads the left operand's rows where they lie.</summary>
    public static bool PicksRows(Step.GroupedProduct step, CudaLowering lowering) =>
        lowering.Resources.Plan.Maximum(step.N) <= MostColumnsForPicking;

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        if (hopper is null)
            BindPortable(dimensions);
        else
            BindHopper(dimensions);
    }

    public override void Enqueue(nint stream)
    {
        if (hopper is null)
            portable.Value.Enqueue(stream);
        else
            hopper.Enqueue(stream);
    }

    /// <summary>A function over rows by group without tensor cores.</summary>
    public static CudaCall GroupedKernel(string function, int arguments, ScalarType left, ScalarType right, ScalarType output, string name, CudaLowering lowering)
    {
        string types = $"typedef {CudaTypes.Name(left)} Left;\ntypedef {CudaTypes.Name(right)} Right;\ntypedef {CudaTypes.Name(output)} Output;\n";
        string source = CudaCompiler.Prelude + types + CudaCompiler.Resource("TileProduct.cu") + CudaCompiler.Resource("GroupedPortable.cu");
        return new CudaCall(lowering.Device.Compiler.Load(source).Function(function), arguments, name) { Threads = Threads };
    }

    private bool IsForHopper(Step.GroupedProduct step, CudaLowering lowering)
    {
        const int aligned = CudaHopperProduct.AlignedElements;
        Extent stride = overRows ? step.Right.RowStride : step.Right.ColumnStride;
        return CudaHopperProduct.Takes(left.View.Type, right.Type, output.Type, lowering)
            && left.IsAligned
            && (overRows || step.Right.RowStride.Equals(Extent.One)) && right.Alignment % aligned == 0 && stride.IsMultiple(aligned)
            && step.RightGroupStride.IsMultiple(aligned)
            && output.Alignment % aligned == 0 && step.Output.RowStride.IsMultiple(aligned);
    }

    private void BindHopper(ReadOnlySpan<long> dimensions)
    {
        (long columns, long depth) = (n.Evaluate(dimensions), k.Evaluate(dimensions));
        long count = rows.Count(dimensions);
        var source = new HopperSource(left.View.Address(dimensions), left.Stride(dimensions), left.Share, progress?.Address ?? 0);
        HopperOperand operand = gathered is null
            ? new(source.Address, count / left.Share, depth, source.Stride)
            : new(gathered.Address, rows.Gathered(dimensions), depth, depth);
        (long Rows, long Columns, long Stride) matrix = overRows ? (depth, columns, rowStride.Evaluate(dimensions)) : (columns, depth, columnStride.Evaluate(dimensions));
        var matrices = new HopperOperand(right.Address(dimensions), matrix.Rows, matrix.Columns, matrix.Stride, rows.Groups, groupStride.Evaluate(dimensions));
        hopper!.Bind(operand, matrices, new HopperProductSizes(
            count, columns, depth, output.Address(dimensions), outputStride.Evaluate(dimensions), rows.Groups,
            Offsets: rows.Offsets.Address(dimensions), Order: rows.Order.Address(dimensions), Source: source));
    }

    private void BindPortable(ReadOnlySpan<long> dimensions)
    {
        long[] arguments =
        [
            left.View.Address(dimensions), right.Address(dimensions), output.Address(dimensions), rows.Offsets.Address(dimensions), rows.Order.Address(dimensions),
            rows.Groups, n.Evaluate(dimensions), k.Evaluate(dimensions), left.Stride(dimensions), left.Share, groupStride.Evaluate(dimensions),
            rowStride.Evaluate(dimensions), columnStride.Evaluate(dimensions), outputStride.Evaluate(dimensions),
        ];
        arguments.CopyTo(portable.Value.Arguments);
        portable.Value.BlocksX = rows.Count(dimensions) / Tile + rows.Groups;
        portable.Value.BlocksY = (n.Evaluate(dimensions) + Tile - 1) / Tile;
    }
}
