using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>The gradient of a grouped product's right operand.</summary>
internal sealed class CpuGroupedGradientLaunch : CpuLaunch
{
    private readonly CpuRowGroups rows;
    private readonly CpuGroupedMatrix left, right;
    private readonly CpuView output;
    private readonly CpuExtent m, n, groupStride, rowStride;
    private readonly CpuScratch scratch;
    private readonly int workers;
    private GroupedGradientArgs args;

    public CpuGroupedGradientLaunch(Step.GroupedGradient step, CpuLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        // The gradient writes rows: one that is stored by columns is computed as its transpose.
        bool transposed = !step.Output.ColumnStride.Equals(Extent.One) && step.Output.RowStride.Equals(Extent.One);
        rows = new CpuRowGroups(step.Rows, lowering);
        left = new CpuGroupedMatrix(transposed ? step.Right : step.Left, lowering);
        right = new CpuGroupedMatrix(transposed ? step.Left : step.Right, lowering);
        output = lowering.View(step.Output.View);
        if (output.Type != ScalarType.F32 || !(transposed || step.Output.ColumnStride.Equals(Extent.One)))
            throw new InvalidOperationException($"{step.Name} writes {output.Type} {output.Name}; it must be F32 and contiguous");
        (m, n) = (lowering.Extent(transposed ? step.N : step.M), lowering.Extent(transposed ? step.M : step.N));
        groupStride = lowering.Extent(step.OutputGroupStride);
        rowStride = lowering.Extent(transposed ? step.Output.ColumnStride : step.Output.RowStride);
        (scratch, workers) = (lowering.ProductScratch, lowering.Device.Threads);
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        scratch.Reserve(GroupedGradient.ScratchBytes * workers);
        args = new GroupedGradientArgs
        {
            Rows = rows.Bind(dimensions),
            M = m.Size(dimensions),
            N = n.Size(dimensions),
            Left = left.Bind(dimensions),
            Right = right.Bind(dimensions),
            Output = output.Address(dimensions),
            OutputGroupStride = groupStride.Evaluate(dimensions),
            OutputRowStride = (nint)rowStride.Evaluate(dimensions),
            Scratch = 0,
            ScratchBytes = 0,
        };
    }

    public override void Access(List<CpuAccess> accesses)
    {
        Read(accesses, rows.Offsets);
        Read(accesses, rows.Order);
        Read(accesses, left.View);
        Read(accesses, right.View);
        Write(accesses, output);
        accesses.Add(CpuLowering.ProductScratchAccess(together: false));
    }

    public override void Run(Worker worker) => GroupedGradient.Run(worker, args with { Scratch = scratch.Address, ScratchBytes = scratch.Bytes });
}
