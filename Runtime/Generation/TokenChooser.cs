using System.Runtime.InteropServices;
using Legato.Runtime.Data;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Generation;

/// <summary>
/// Chooses each row's token where its logits lie, and puts it where the plan that made them takes its next input, with the row's next
/// place beside it: so decoding goes on without the host. Allocates nothing after its construction.
/// </summary>
public sealed class TokenChooser : IDisposable
{
    private static readonly Extent Rows = Extent.Dimension("batch");

    private readonly IExecutable executable;
    private readonly IDeviceMemory settings, streams, places, chosen;
    private readonly IPendingRead[] reads;
    private readonly int[] words;
    private int started, finished;

    /// <param name="cached">A prefill or decode plan; its logits are chosen from, its inputs set.</param>
    public TokenChooser(IDevice device, IExecutable cached)
    {
        Plan plan = Choosing(cached.Plan);
        var memories = new Dictionary<string, IDeviceMemory>
        {
            ["logits"] = cached.Memory(cached.Plan.Buffer(BufferClass.Output, "logits")),
            ["tokens"] = cached.Memory(cached.Plan.Buffer(BufferClass.Input, "tokens")),
            ["past"] = cached.Memory(cached.Plan.Buffer(BufferClass.Input, "past")),
        };
        IDeviceMemory Own(string name) => memories[name] = device.Allocate(plan.Maximum(plan.Buffer(BufferClass.Cache, name).Bytes));
        (settings, streams, places, chosen) = (Own("settings"), Own("streams"), Own("places"), Own("chosen"));
        executable = device.Compile(plan, memories);
        reads = [.. Enumerable.Range(0, device.RunsAhead).Select(_ => device.PendingRead(chosen, (int)chosen.Bytes))];
        words = new int[streams.Bytes / sizeof(int)];
    }

    /// <summary>Whether as many choices are under way as are of use.</summary>
    public bool IsBusy => started - finished == reads.Length;

    /// <summary>Whether no choice is under way.</summary>
    public bool IsIdle => started == finished;

    /// <summary>What the rows' tokens are chosen by from now on.</summary>
    public void Begin(Sampling sampling, ReadOnlySpan<CounterRandom> randoms)
    {
        ReadOnlySpan<float> values = [(float)sampling.Temperature, sampling.TopK, (float)sampling.TopP];
        settings.Write(0, MemoryMarshal.AsBytes(values));
        for (int row = 0; row < randoms.Length; row++)
            (words[2 * row], words[2 * row + 1]) = ((int)randoms[row].Key, (int)(randoms[row].Block >> 32));
        streams.Write(0, MemoryMarshal.AsBytes(words.AsSpan(0, 2 * randoms.Length)));
        finished = started;
    }

    /// <summary>The rows' places in their sequences, from 0, of the tokens to be chosen next.</summary>
    public void Place(ReadOnlySpan<int> next) => places.Write(0, MemoryMarshal.AsBytes(next));

    /// <summary>Has the tokens of the rows chosen from the logits of the run before.</summary>
    public void Start(int rows)
    {
        executable.Bind("batch", rows);
        executable.Queue();
        reads[started++ % reads.Length].Start();
    }

    /// <summary>The tokens of the earliest choice that has not been finished yet.</summary>
    public void Finish(Span<int> tokens) => reads[finished++ % reads.Length].Finish(MemoryMarshal.AsBytes(tokens));

    public void Dispose()
    {
        foreach (IPendingRead read in reads)
            read.Dispose();
        executable.Dispose();
        foreach (IDeviceMemory memory in new[] { settings, streams, places, chosen })
            memory.Dispose();
    }

    private static Plan Choosing(Plan cached)
    {
        Extent vocabulary = cached.Buffer(BufferClass.Output, "logits").Axes[^1].Size;
        var buffers = new List<PlanBuffer>();
        BufferView Buffer(string name, ScalarType type, params PlanAxis[] axes)
        {
            buffers.Add(new PlanBuffer(buffers.Count, name, BufferClass.Cache, type, axes, -1, 0, 1));
            return BufferView.Whole(buffers[^1].Id);
        }
        var batch = new PlanAxis("batch", Rows);
        BufferView logits = Buffer("logits", ScalarType.F32, batch, new PlanAxis("vocab", vocabulary));
        BufferView settings = Buffer("settings", ScalarType.F32, new PlanAxis("setting", 3));
        BufferView streams = Buffer("streams", ScalarType.I32, batch, new PlanAxis("word", 2));
        BufferView places = Buffer("places", ScalarType.I32, batch), chosen = Buffer("chosen", ScalarType.I32, batch);
        BufferView tokens = Buffer("tokens", ScalarType.I32, batch), past = Buffer("past", ScalarType.I32, batch);
        return new Plan(cached.Model, cached.Purpose, cached.Precision, [.. cached.Dimensions.Where(d => d.Name == "batch")], buffers, [], [],
        [
            new Step.Choose("choice", new Cost(Extent.Zero, Rows * vocabulary * sizeof(float)), Rows, vocabulary, logits, settings, streams, places, chosen),
            new Step.Fused("next", new Cost(Extent.Zero, Rows * 5 * sizeof(int)), Next(), [chosen, places, tokens, past]),
        ], 0);
    }

    // Where no token was chosen, the plan is given one that exists; the host learns of it by what was chosen.
    private static Kernel Next()
    {
        var at = new Plans.Index(new IndexTerm(new Expr.Variable("row"), 1));
        Expr place = new Expr.Variable("place");
        return new Kernel(
            "next",
            [
                new KernelOperand("chosen", ScalarType.I32, Access.Read), new KernelOperand("places", ScalarType.I32, Access.ReadWrite),
                new KernelOperand("tokens", ScalarType.I32, Access.Write), new KernelOperand("past", ScalarType.I32, Access.Write),
            ],
            [],
            [
                new Statement.Loop(LoopKind.Grid, "row", new Expr.Integer(0), new Expr.Size(Rows),
                [
                    new Statement.Let("place", new Expr.Load(1, at)),
                    new Statement.Store(2, at, new Expr.Apply(Operation.Maximum, new Expr.Load(0, at), new Expr.Integer(0))),
                    new Statement.Store(3, at, place),
                    new Statement.Store(1, at, new Expr.Apply(Operation.Add, place, new Expr.Integer(1))),
                ]),
            ]);
    }
}
