using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>Attention forward.</summary>
internal sealed class CpuAttentionLaunch(Step.Attention step, CpuLowering lowering) : CpuLaunch(step.Name, step.Cost, lowering)
{
    private readonly CpuAttentionOperands operands = new(
        step.Shape, step.Query, step.Key, step.Value, step.Output, step.Extra, lowering, AttentionProgram.Forward);

    private readonly CpuView? logSumExp = step.LogSumExp is { } view ? lowering.View(view) : null;
    private readonly CpuView? past = step.Past is { } view ? lowering.View(view) : null;
    private readonly CpuScratch scratch = lowering.AttentionScratch;
    private readonly int workers = lowering.Device.Threads;
    private AttentionArgs args;

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        args = operands.Bind(dimensions, logSumExp?.Address(dimensions) ?? 0, past?.Address(dimensions) ?? 0);
        scratch.Reserve(AttentionForward.ScratchBytes(args, workers));
    }

    public override void Access(List<CpuAccess> accesses)
    {
        Read(accesses, operands.Query.View);
        Read(accesses, operands.Key.View);
        Read(accesses, operands.Value.View);
        foreach (CpuView view in operands.Extra)
            Read(accesses, view);
        Read(accesses, past);
        Write(accesses, operands.Output.View);
        Write(accesses, logSumExp);
        accesses.Add(CpuLowering.AttentionScratchAccess);
    }

    public override bool CountsUnits => AttentionForward.CountsUnits(args);

    public override bool ReadsAhead => args.QueryLength == 1;

    public override void ReadAhead(Worker worker) => AttentionForward.ReadAhead(worker, args);

    public override void Run(Worker worker) => AttentionForward.Run(worker, args with { Scratch = scratch.Address });
}
