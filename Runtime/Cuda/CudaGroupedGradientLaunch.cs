using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>The gradient of a grouped product's right operand.</summary>
internal sealed class CudaGroupedGradientLaunch : CudaLaunch
{
    private const int Tile = 32;

    private readonly CudaRowGroups rows;
    private readonly CudaGroupedMatrix left, right;
    private readonly CudaView output;
    private readonly CpuExtent groupStride, rowStride;
    private readonly CudaGatherCall[] gathers = [];
    private readonly CudaHopperProduct? hopper;
    private readonly Lazy<CudaCall> portable;

    public CudaGroupedGradientLaunch(Step.GroupedGradient step, CudaRowGroups rows, CudaView output, CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        // Rows of the output lie together: one that is stored by columns is computed as its transpose.
        bool transposed = !step.Output.ColumnStride.Equals(Extent.One) && step.Output.RowStride.Equals(Extent.One);
        (this.rows, this.output) = (rows, output);
        left = transposed ? new(step.Right, step.N, lowering) : new(step.Left, step.M, lowering);
        right = transposed ? new(step.Left, step.M, lowering) : new(step.Right, step.N, lowering);
        Extent stride = transposed ? step.Output.ColumnStride : step.Output.RowStride;
        (groupStride, rowStride) = (lowering.Extent(step.OutputGroupStride), lowering.Extent(stride));
        const int aligned = CudaHopperProduct.AlignedElements;
        if (CudaHopperProduct.Takes(left.View.Type, right.View.Type, output.Type, lowering) && left.IsAligned && right.IsAligned
            && output.Alignment % aligned == 0 && stride.IsMultiple(aligned) && step.OutputGroupStride.IsMultiple(aligned))
        {
            gathers = [new(left, rows, step.Name, lowering), new(right, rows, step.Name, lowering)];
            hopper = new CudaHopperProduct(
                new HopperProductForm(left.View.Type, output.Type, true, true, false, false, ProductGrouping.Depth), step.Name, lowering);
        }
        portable = new Lazy<CudaCall>(() =>
            CudaGroupedProductLaunch.GroupedKernel("grouped_gradient", 13, left.View.Type, right.View.Type, output.Type, step.Name, lowering));
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        (long m, long n) = (left.Columns(dimensions), right.Columns(dimensions));
        if (hopper is null)
        {
            BindPortable(m, n, dimensions);
            return;
        }
        foreach (CudaGatherCall gather in gathers)
            gather.Bind(dimensions);
        long gathered = rows.Gathered(dimensions);
        hopper.Bind(
            new HopperOperand(gathers[0].Memory.Address, gathered, m, m), new HopperOperand(gathers[1].Memory.Address, gathered, n, n),
            new HopperProductSizes(
                m, n, 0, output.Address(dimensions), rowStride.Evaluate(dimensions), rows.Groups, groupStride.Evaluate(dimensions),
                rows.Offsets.Address(dimensions), rows.Order.Address(dimensions)));
    }

    public override void Enqueue(nint stream)
    {
        foreach (CudaGatherCall gather in gathers)
            gather.Enqueue(stream);
        if (hopper is null)
            portable.Value.Enqueue(stream);
        else
            hopper.Enqueue(stream);
    }

    private void BindPortable(long m, long n, ReadOnlySpan<long> dimensions)
    {
        long[] arguments =
        [
            left.View.Address(dimensions), right.View.Address(dimensions), output.Address(dimensions), rows.Offsets.Address(dimensions),
            rows.Order.Address(dimensions), m, n, left.Stride(dimensions), left.Share, right.Stride(dimensions), right.Share,
            groupStride.Evaluate(dimensions), rowStride.Evaluate(dimensions),
        ];
        arguments.CopyTo(portable.Value.Arguments);
        (portable.Value.BlocksX, portable.Value.BlocksY, portable.Value.BlocksZ) = ((n + Tile - 1) / Tile, (m + Tile - 1) / Tile, rows.Groups);
    }
}
