using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>A fused kernel; each worker takes one run of its iterations.</summary>
internal sealed class CpuFusedLaunch(Step.Fused step, Kernel kernel, CpuView[] views, CpuLowering lowering)
    : CpuLaunch(step.Name, step.Cost, lowering)
{
    private readonly CpuKernelCall call = new(kernel, views, lowering);
    private long count;

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        call.Bind(dimensions);
        count = call.Count();
        Alone = count <= call.Granularity || IsSmall;
    }

    public override void Access(List<CpuAccess> accesses) => call.Access(accesses, Alone);

    public override void Run(Worker worker)
    {
        if (Alone)
        {
            call.Run(0, count);
            return;
        }
        long blocks = (count + call.Granularity - 1) / call.Granularity;
        long from = blocks * worker.Index / worker.Count * call.Granularity;
        long to = Math.Min(count, blocks * (worker.Index + 1) / worker.Count * call.Granularity);
        if (from < to)
            call.Run(from, to);
    }
}
