using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>Rows that choose their tokens, shared out over the workers.</summary>
internal sealed unsafe class CpuChooseLaunch : CpuLaunch
{
    private readonly CpuView[] read;
    private readonly CpuView tokens;
    private readonly CpuExtent rowExtent, widthExtent;
    private readonly TokenChoice[] choices;
    private readonly nint[] addresses = new nint[5];
    private long rows, width;

    public CpuChooseLaunch(Step.Choose step, CpuLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        (read, tokens) = ([.. new[] { step.Logits, step.Settings, step.Streams, step.Places }.Select(lowering.View)], lowering.View(step.Tokens));
        (rowExtent, widthExtent) = (lowering.Extent(step.Rows), lowering.Extent(step.Width));
        choices = [.. Enumerable.Range(0, lowering.Device.Threads).Select(_ => new TokenChoice((int)step.Width.Constant))];
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        (rows, width) = (rowExtent.Evaluate(dimensions), widthExtent.Evaluate(dimensions));
        for (int i = 0; i < read.Length; i++)
            addresses[i] = read[i].Address(dimensions);
        addresses[^1] = tokens.Address(dimensions);
        Alone = rows == 1;
    }

    public override void Access(List<CpuAccess> accesses)
    {
        foreach (CpuView view in read)
            Read(accesses, view);
        Write(accesses, tokens);
    }

    public override void Run(Worker worker)
    {
        float* logits = (float*)addresses[0], settings = (float*)addresses[1];
        int* streams = (int*)addresses[2], places = (int*)addresses[3], chosen = (int*)addresses[4];
        for (long row = Alone ? 0 : worker.Index; row < rows; row += Alone ? 1 : worker.Count)
        {
            uint word = Philox.Word((uint)streams[2 * row], ((ulong)(uint)streams[2 * row + 1] << 32) + (uint)places[row]);
            chosen[row] = choices[worker.Index].Choose(
                new ReadOnlySpan<float>(logits + row * width, (int)width), settings[0], (long)settings[1], settings[2], word);
        }
    }
}
