using System.Runtime.InteropServices;
using Legato.Runtime.Data;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Generation;

/// <summary>
/// Follows a plan that chooses each row's token where its logits lie, and puts it where it takes its next input, with the row's next
/// place beside it: so decoding goes on without the host. Allocates nothing after its construction.
/// </summary>
public sealed class TokenChooser : IDisposable
{
    private static readonly Extent Rows = Extent.Dimension("batch");

    private readonly IDeviceMemory settings, streams, places;
    private readonly IPendingRead[] reads;
    private readonly int[] words;
    private int started, finished;

    /// <param name="choosing">Of a plan that <see cref="Choosing"/> has made.</param>
    public TokenChooser(IDevice device, IExecutable choosing)
    {
        IDeviceMemory Memory(BufferClass kind, string name) => choosing.Memory(choosing.Plan.Buffer(kind, name));
        (settings, streams, places) = (Memory(BufferClass.Input, "settings"), Memory(BufferClass.Input, "streams"), Memory(BufferClass.Input, "places"));
        IDeviceMemory chosen = Memory(BufferClass.Output, "chosen");
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

    /// <summary>Takes note of a run of the plan, which has been queued: its tokens are on their way.</summary>
    public void Start() => reads[started++ % reads.Length].Start();

    /// <summary>The tokens of the earliest choice that has not been finished yet.</summary>
    public void Finish(Span<int> tokens) => reads[finished++ % reads.Length].Finish(MemoryMarshal.AsBytes(tokens));

    public void Dispose()
    {
        foreach (IPendingRead read in reads)
            read.Dispose();
    }

    /// <summary>A prefill or decode plan with the choice of each row's token after its steps.</summary>
    public static Plan Choosing(Plan cached)
    {
        const long alignment = 256;
        PlanBuffer logits = cached.Buffer(BufferClass.Output, "logits");
        Extent vocabulary = logits.Axes[^1].Size;
        List<PlanBuffer> buffers = [.. cached.Buffers];
        long bytes = cached.ArenaBytes;
        int id = buffers.Max(b => b.Id);
        BufferView Add(BufferClass kind, string name, ScalarType type, params PlanAxis[] axes)
        {
            bytes = (bytes + alignment - 1) / alignment * alignment;
            buffers.Add(new PlanBuffer(++id, name, kind, type, axes, bytes, 0, int.MaxValue));
            bytes += cached.Maximum(buffers[^1].Bytes);
            return BufferView.Whole(id);
        }
        BufferView Given(string name) => BufferView.Whole(cached.Buffer(BufferClass.Input, name).Id);
        var batch = new PlanAxis("batch", Rows);
        BufferView settings = Add(BufferClass.Input, "settings", ScalarType.F32, new PlanAxis("setting", 3));
        BufferView streams = Add(BufferClass.Input, "streams", ScalarType.I32, batch, new PlanAxis("word", 2));
        BufferView places = Add(BufferClass.Input, "places", ScalarType.I32, batch), chosen = Add(BufferClass.Output, "chosen", ScalarType.I32, batch);
        Step choice = new Step.Choose(
            "choice", new Cost(Extent.Zero, Rows * vocabulary * sizeof(float)), Rows, vocabulary, BufferView.Whole(logits.Id), settings, streams, places, chosen);
        Step next = new Step.Fused("next", new Cost(Extent.Zero, Rows * 5 * sizeof(int)), Next(), [chosen, places, Given("tokens"), Given("past")]);
        return cached with { Buffers = buffers, Steps = [.. cached.Steps, choice, next], ArenaBytes = bytes };
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
