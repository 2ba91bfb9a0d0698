using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>The gradients of attention.</summary>
internal sealed class CpuAttentionGradientLaunch : CpuLaunch
{
    private readonly CpuAttentionOperands operands;
    private readonly CpuView logSumExp, rowDot;
    private readonly CpuHeads outputGradient, queryGradient, keyGradient, valueGradient;
    private readonly CpuView[] read, written;
    private readonly CpuScratch scratch;
    private readonly int workers;
    private AttentionGradientArgs args;

    public CpuAttentionGradientLaunch(Step.AttentionGradient step, CpuLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        operands = new(step.Shape, step.Query, step.Key, step.Value, step.Output, step.Extra, lowering, AttentionProgram.Gradient);
        (logSumExp, rowDot) = (lowering.View(step.LogSumExp), lowering.View(step.RowDot));
        outputGradient = new CpuHeads(step.OutputGradient, lowering).AsFloats();
        queryGradient = new CpuHeads(step.QueryGradient, lowering).AsFloats();
        keyGradient = new CpuHeads(step.KeyGradient, lowering).AsFloats();
        valueGradient = new CpuHeads(step.ValueGradient, lowering).AsFloats();
        read =
        [
            operands.Query.View, operands.Key.View, operands.Value.View, operands.Output.View, outputGradient.View, logSumExp,
            .. operands.Extra,
        ];
        written = [queryGradient.View, keyGradient.View, valueGradient.View, rowDot];
        scratch = lowering.AttentionScratch;
        workers = lowering.Device.Threads;
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        args = new AttentionGradientArgs
        {
            Forward = operands.Bind(dimensions, logSumExp.Address(dimensions), past: 0),
            OutputGradient = outputGradient.Memory(dimensions),
            QueryGradient = queryGradient.Memory(dimensions),
            KeyGradient = keyGradient.Memory(dimensions),
            ValueGradient = valueGradient.Memory(dimensions),
            RowDot = rowDot.Address(dimensions),
        };
        scratch.Reserve(AttentionBackward.ScratchBytes(args, workers));
    }

    public override void Access(List<CpuAccess> accesses)
    {
        foreach (CpuView view in read)
            Read(accesses, view);
        foreach (CpuView view in written)
            Write(accesses, view);
        accesses.Add(CpuLowering.AttentionScratchAccess);
    }

    public override void Run(Worker worker) =>
        AttentionBackward.Run(worker, args with { Forward = args.Forward with { Scratch = scratch.Address } });
}
