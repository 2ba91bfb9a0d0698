using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>Rows by group, by one worker: counting a few thousand rows is done before others would have begun.</summary>
internal sealed unsafe class CpuDispatchLaunch : CpuLaunch
{
    private readonly CpuView index;
    private readonly CpuRowGroups groups;
    private GroupedRows rows;
    private nint indexAddress;

    public CpuDispatchLaunch(Step.Dispatch step, CpuLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        index = CpuRowGroups.Integers(lowering.View(step.Index));
        groups = new CpuRowGroups(step.Rows, lowering);
        Alone = true;
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        (rows, indexAddress) = (groups.Bind(dimensions), index.Address(dimensions));
    }

    public override void Access(List<CpuAccess> accesses)
    {
        Read(accesses, index);
        Write(accesses, groups.Offsets);
        Write(accesses, groups.Order);
    }

    public override void Run(Worker worker) => rows.Sort((int*)indexAddress);
}
