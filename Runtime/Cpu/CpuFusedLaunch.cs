using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>A fused kernel; each worker takes one run of its iterations.</summary>
/// <param name="lookup">The kernel for one of the operands in <see cref="WeightPanels"/>, where it may lie so.</param>
internal sealed class CpuFusedLaunch(Step.Fused step, Kernel kernel, CpuView[] views, CpuLowering lowering, (Kernel Kernel, int Operand)? lookup = null)
    : CpuLaunch(step.Name, step.Cost, lowering)
{
    private readonly CpuKernelCall inRows = new(kernel, views, lowering);
    private readonly CpuKernelCall? inPanels = lookup is var (rewritten, _) ? new(rewritten, views, lowering) : null;
    private readonly CpuView? weights = lookup is var (_, operand) ? views[operand] : null;
    private long count;

    private CpuKernelCall Call => weights is { InPanels: true } ? inPanels! : inRows;

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        Call.Bind(dimensions);
        count = Call.Count();
        Alone = count <= Call.Granularity || IsSmall;
    }

    public override void Access(List<CpuAccess> accesses) => Call.Access(accesses, Alone);

    public override void Run(Worker worker)
    {
        if (Alone)
        {
            Call.Run(0, count);
            return;
        }
        long blocks = (count + Call.Granularity - 1) / Call.Granularity;
        long from = blocks * worker.Index / worker.Count * Call.Granularity;
        long to = Math.Min(count, blocks * (worker.Index + 1) / worker.Count * Call.Granularity);
        if (from < to)
            Call.Run(from, to);
    }
}
