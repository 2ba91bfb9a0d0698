using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>A grouped product; how many rows each group has is read when it runs.</summary>
internal sealed class CpuGroupedProductLaunch : CpuLaunch
{
    private readonly CpuRowGroups rows;
    private readonly CpuGroupedMatrix left;
    private readonly CpuView right, output;
    private readonly MatrixElement rightElement;
    private readonly CpuExtent n, k, groupStride, rowStride, columnStride, outputStride;
    private readonly CpuKernelCall? epilogue;
    private readonly MatrixProductEpilogue? finish;
    private readonly CpuScratch scratch;
    private readonly int workers;
    private GroupedProductArgs args;

    public CpuGroupedProductLaunch(Step.GroupedProduct step, CpuLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        rows = new CpuRowGroups(step.Rows, lowering);
        left = new CpuGroupedMatrix(step.Left, lowering);
        (right, output) = (lowering.View(step.Right.View), lowering.View(step.Output.View));
        rightElement = CpuMatrixProductLaunch.Element(right);
        if (output.Type != ScalarType.F32 || !step.Output.ColumnStride.Equals(Extent.One))
            throw new InvalidOperationException($"{step.Name} writes {output.Type} {output.Name}; it must be F32 and contiguous");
        (n, k) = (lowering.Extent(step.N), lowering.Extent(step.K));
        (rowStride, columnStride) = (lowering.Extent(step.Right.RowStride), lowering.Extent(step.Right.ColumnStride));
        (groupStride, outputStride) = (lowering.Extent(step.RightGroupStride), lowering.Extent(step.Output.RowStride));
        (scratch, workers) = (lowering.ProductScratch, lowering.Device.Threads);
        if (step.Epilogue is { } kernel)
        {
            epilogue = new CpuKernelCall(kernel, [output, .. lowering.Views(step.EpilogueOperands)], lowering);
            finish = (_, m0, m1, n0, n1) => epilogue.RunBlock(m0, m1, n0, n1);
        }
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        epilogue?.Bind(dimensions);
        scratch.Reserve(GroupedProduct.ScratchBytes * workers);
        args = new GroupedProductArgs
        {
            Rows = rows.Bind(dimensions),
            N = n.Size(dimensions),
            K = k.Size(dimensions),
            Left = left.Bind(dimensions),
            Right = right.Address(dimensions),
            RightElement = rightElement,
            RightGroupStride = groupStride.Evaluate(dimensions),
            RightRowStride = rowStride.Evaluate(dimensions),
            RightColumnStride = columnStride.Evaluate(dimensions),
            Output = output.Address(dimensions),
            OutputStride = (nint)outputStride.Evaluate(dimensions),
            Scratch = 0,
            ScratchBytes = 0,
            Epilogue = finish,
        };
    }

    public override void Access(List<CpuAccess> accesses)
    {
        Read(accesses, rows.Offsets);
        Read(accesses, rows.Order);
        Read(accesses, left.View);
        Read(accesses, right);
        Write(accesses, output);
        epilogue?.Access(accesses, alone: false);
        accesses.Add(CpuLowering.ProductScratchAccess(together: false));
    }

    public override void Run(Worker worker) => GroupedProduct.Run(worker, args with { Scratch = scratch.Address, ScratchBytes = scratch.Bytes });
}
