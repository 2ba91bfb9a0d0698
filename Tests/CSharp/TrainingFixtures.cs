using System.Runtime.InteropServices;
using Legato.Runtime.Devices;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;

namespace Legato.Tests;

/// <summary>
/// A model without a compiler: its "plans" have buffers and no steps, and its device computes them in C#.
/// For training it is a table of bigram logits with AdamW; for generation the next token's logits are a function of all
/// tokens in the row's cache.
/// </summary>
internal sealed class BigramPlans(int vocabulary, int context = 64, OptimizerSettings? optimizer = null) : IPlanSource
{
    private static readonly PlanAxis[] Scalar = [];

    public OptimizerSettings Optimizer { get; } = optimizer ?? OptimizerSettings.Default;

    public ModelDescription Model { get; } = new(
        "bigram", $"{{\"vocab_size\":{vocabulary}}}", vocabulary, context, 0, [],
        [new PlanParameter("table", [new("from", vocabulary), new("to", vocabulary)], new Initializer(InitializerKind.Normal, 0.02), true, [])],
        new WeightMap([], [], []));

    public Plan Plan(PlanRequest request)
    {
        var buffers = new List<PlanBuffer>();
        void Add(string name, BufferClass kind, ScalarType type, params PlanAxis[] axes) =>
            buffers.Add(new PlanBuffer(buffers.Count, name, kind, type, axes, 0, 0, 0));
        PlanAxis[] table = [new("from", vocabulary), new("to", vocabulary)];
        PlanAxis[] rows = request.Purpose == Purpose.Train
            ? [new("accumulate", request.Accumulate), new("batch", request.Batch), new("seq", request.Sequence)]
            : [new("batch", request.Batch), new("seq", request.Sequence)];
        Add("table", BufferClass.Parameter, ScalarType.F32, table);
        Add("tokens", BufferClass.Input, ScalarType.I32, rows);
        DynamicDimension[] dimensions = [];
        if (request.Purpose is Purpose.Train or Purpose.Evaluate)
        {
            Add("labels", BufferClass.Input, ScalarType.I32, rows);
            Add("loss", BufferClass.Output, ScalarType.F32, Scalar);
        }
        else
        {
            Add("past", BufferClass.Input, ScalarType.I32, new PlanAxis("batch", request.Batch));
            Add("last", BufferClass.Input, ScalarType.I32, new PlanAxis("batch", request.Batch));
            Add("kv", BufferClass.Cache, ScalarType.F32, new("batch", request.Batch), new("context", request.Context));
            Add("logits", BufferClass.Output, ScalarType.F32, new("batch", request.Batch), new("vocab", vocabulary));
            dimensions = request.Purpose == Purpose.Prefill
                ? [new("batch", 1, request.Batch), new("seq", 1, request.Sequence)]
                : [new("batch", 1, request.Batch)];
        }
        if (request.Purpose == Purpose.Train)
        {
            foreach (string name in new[] { "rate", "correction1", "correction2" })
                Add(name, BufferClass.Input, ScalarType.F32, Scalar);
            Add("gradient_norm", BufferClass.Output, ScalarType.F32, Scalar);
            Add("optimizer.m.table", BufferClass.Optimizer, ScalarType.F32, table);
            Add("optimizer.v.table", BufferClass.Optimizer, ScalarType.F32, table);
        }
        return new Plan("bigram", request.Purpose, request.Precision, dimensions, buffers, Model.Parameters, [], [], ArenaBytes: 1 << 20);
    }
}

/// <summary>The device of <see cref="BigramPlans"/>.</summary>
internal sealed class BigramDevice(OptimizerSettings optimizer) : IDevice
{
    public string Name => "bigram";

    public long BytesAllocated { get; private set; }

    /// <summary>The step of this number (counted from 0) gives this loss instead of its own.</summary>
    public (long Step, float Loss)? Fault { get; set; }

    public long TrainingSteps { get; set; }

    public OptimizerSettings Optimizer => optimizer;

    public int RunsAhead { get; init; } = 1;

    public IDeviceMemory Allocate(long bytes)
    {
        BytesAllocated += bytes;
        return new ArrayMemory(bytes);
    }

    public IExecutable Compile(Plan plan, IReadOnlyDictionary<string, IDeviceMemory> persistent) =>
        plan.Steps.Count > 0 ? new ChoosingExecutable(this, plan, persistent) : new BigramExecutable(this, plan, persistent);

    public void Dispose()
    {
    }
}

/// <summary>A plan whose model is computed here, and whose steps, which come after it, the interpreter runs on copies of all buffers.</summary>
internal sealed class ChoosingExecutable : IExecutable
{
    private readonly InterpreterDevice interpreter = new();
    private readonly BigramExecutable model;
    private readonly Dictionary<PlanBuffer, IDeviceMemory> copies;
    private readonly IExecutable steps;

    public ChoosingExecutable(BigramDevice device, Plan plan, IReadOnlyDictionary<string, IDeviceMemory> persistent)
    {
        model = new BigramExecutable(device, plan, persistent);
        copies = plan.Buffers.ToDictionary(b => b, b => interpreter.Allocate(plan.Maximum(b.Bytes)));
        Plan apart = plan with { Buffers = [.. plan.Buffers.Select(b => b with { Class = BufferClass.Cache })] };
        steps = interpreter.Compile(apart, copies.ToDictionary(c => c.Key.Name, c => c.Value));
    }

    public Plan Plan => model.Plan;

    public void Bind(string dimension, long value)
    {
        model.Bind(dimension, value);
        steps.Bind(dimension, value);
    }

    public IDeviceMemory Memory(PlanBuffer buffer) => model.Memory(buffer);

    public void Run()
    {
        model.Run();
        foreach ((PlanBuffer buffer, IDeviceMemory copy) in copies)
            Copy(Memory(buffer), copy);
        steps.Run();
        foreach ((PlanBuffer buffer, IDeviceMemory copy) in copies)
            Copy(copy, Memory(buffer));
    }

    public void Dispose()
    {
        steps.Dispose();
        interpreter.Dispose();
        model.Dispose();
    }

    private static void Copy(IDeviceMemory source, IDeviceMemory target)
    {
        var bytes = new byte[source.Bytes];
        source.Read(0, bytes);
        target.Write(0, bytes);
    }
}

internal sealed class BigramExecutable : IExecutable
{
    private readonly BigramDevice device;
    private readonly Dictionary<int, ArrayMemory> memories = [];
    private readonly Dictionary<string, ArrayMemory> byName = [];
    private readonly DimensionBindings bindings;
    private readonly float[] gradient;

    public BigramExecutable(BigramDevice device, Plan plan, IReadOnlyDictionary<string, IDeviceMemory> persistent)
    {
        (this.device, Plan, bindings) = (device, plan, new DimensionBindings(plan));
        foreach (PlanBuffer buffer in plan.Buffers)
        {
            memories[buffer.Id] = buffer.IsPersistent ? (ArrayMemory)persistent[buffer.Name] : new ArrayMemory(plan.Maximum(buffer.Bytes));
            byName[buffer.Name] = memories[buffer.Id];
        }
        gradient = new float[Singles("table").Length];
    }

    public Plan Plan { get; }

    private int Vocabulary => (int)Math.Sqrt(gradient.Length);

    public void Bind(string dimension, long value) => bindings.Bind(dimension, value);

    public IDeviceMemory Memory(PlanBuffer buffer) => memories[buffer.Id];

    public void Run()
    {
        if (Plan.Purpose is Purpose.Prefill or Purpose.Decode)
            RunCached();
        else if (Plan.Purpose == Purpose.Evaluate)
            Singles("loss")[0] = Loss();
        else
            RunTraining();
    }

    public void Dispose()
    {
    }

    private Span<float> Singles(string name) => MemoryMarshal.Cast<byte, float>(byName[name].Content.AsSpan());

    private Span<int> Integers(string name) => MemoryMarshal.Cast<byte, int>(byName[name].Content.AsSpan());

    private void RunTraining()
    {
        long step = device.TrainingSteps++;
        float loss = Loss();
        if (device.Fault is { } fault && fault.Step == step)
            loss = fault.Loss;
        double squares = 0;
        foreach (float g in gradient)
            squares += (double)g * g;
        float norm = float.IsNaN(loss) ? float.NaN : (float)Math.Sqrt(squares);
        Singles("loss")[0] = loss;
        Singles("gradient_norm")[0] = norm;
        if (float.IsFinite(norm))
            Update(norm);
    }

    private void Update(float norm)
    {
        OptimizerSettings settings = device.Optimizer;
        Span<float> table = Singles("table"), m = Singles("optimizer.m.table"), v = Singles("optimizer.v.table");
        (float rate, float c1, float c2) = (Singles("rate")[0], Singles("correction1")[0], Singles("correction2")[0]);
        float scale = settings.Clip > 0 ? Math.Min(1, (float)settings.Clip / (norm + 1e-6f)) : 1;
        for (int i = 0; i < table.Length; i++)
        {
            float g = gradient[i] * scale;
            m[i] = (float)(settings.Beta1 * m[i] + (1 - settings.Beta1) * g);
            v[i] = (float)(settings.Beta2 * v[i] + (1 - settings.Beta2) * g * g);
            table[i] -= rate * (float)(m[i] / c1 / (Math.Sqrt(v[i] / c2) + settings.Epsilon) + settings.WeightDecay * table[i]);
        }
    }

    // Mean cross entropy; leaves its gradient.
    private float Loss()
    {
        int n = Vocabulary;
        Span<float> table = Singles("table");
        Span<int> tokens = Integers("tokens"), labels = Integers("labels");
        Array.Clear(gradient);
        double sum = 0;
        for (int i = 0; i < tokens.Length; i++)
        {
            Span<float> row = table.Slice(tokens[i] * n, n);
            double total = 0;
            foreach (float x in row)
                total += Math.Exp(x);
            sum += Math.Log(total) - row[labels[i]];
            for (int j = 0; j < n; j++)
                gradient[tokens[i] * n + j] += (float)((Math.Exp(row[j]) / total - (j == labels[i] ? 1 : 0)) / tokens.Length);
        }
        return (float)(sum / tokens.Length);
    }

    // Logits prefer the sum of (place + 1) · token over the row so far, modulo the vocabulary.
    private void RunCached()
    {
        int n = Vocabulary;
        int rows = (int)bindings["batch"];
        int sequence = Plan.Purpose == Purpose.Prefill ? (int)bindings["seq"] : 1;
        Span<float> cache = Singles("kv"), logits = Singles("logits");
        int context = (int)Plan.Buffer(BufferClass.Cache, "kv").Axes[1].Size.Constant;
        for (int row = 0; row < rows; row++)
        {
            int past = Integers("past")[row];
            for (int i = 0; i < sequence; i++)
                cache[row * context + past + i] = Integers("tokens")[row * sequence + i];
            long sum = 0;
            for (int place = 0; place <= past + Integers("last")[row]; place++)
                sum += (place + 1) * (long)cache[row * context + place];
            for (int token = 0; token < n; token++)
                logits[row * n + token] = -Math.Abs(token - (sum + 1) % n) * 0.5f;
        }
    }
}
