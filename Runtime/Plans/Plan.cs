namespace Legato.Runtime.Plans;

/// <summary>What a plan does.</summary>
public enum Purpose
{
    /// <summary>
    /// One optimizer step. Inputs: tokens, labels [accumulate, batch, seq] (I32; negative where no loss is asked for), rate,
    /// correction1, correction2 (1 - βᵗ). Outputs: loss, gradient_norm, and for each router PATH.load: every expert's share
    /// of the tokens [layers, experts].
    /// </summary>
    Train,

    /// <summary>Mean loss of a batch. Inputs: tokens, labels [batch, seq]. Output: loss.</summary>
    Evaluate,

    /// <summary>Logits of every position, without a cache. Input: tokens [batch, seq]. Output: logits [batch, seq, vocab].</summary>
    Forward,

    /// <summary>
    /// Appends seq tokens a row to the cache. Inputs: tokens [batch, seq], past [batch] (tokens already in the cache),
    /// last [batch] (the row's index whose logits are wanted). Output: logits [batch, vocab].
    /// </summary>
    Prefill,

    /// <summary>Prefill of one token a row (seq is the constant 1).</summary>
    Decode,

    /// <summary>
    /// What an encoder makes of a text, kept for the decoder's plans. Inputs: source [batch, source] (I32),
    /// source_lengths [batch] (tokens of a row that are no padding), which every plan of such a model has. No output.
    /// </summary>
    Encode,
}

public enum BufferClass
{
    Parameter,
    Optimizer,
    Cache,
    Constant,
    Input,
    Output,
    Gradient,
    Activation,
    Workspace,
}

/// <summary>One axis of a buffer: its name and its size.</summary>
public sealed record PlanAxis(string Name, Extent Size);

/// <summary>A dynamic dimension, bound at launch within its bounds.</summary>
public sealed record DynamicDimension(string Name, long Minimum, long Maximum);

/// <summary>
/// A tensor's storage. Parameters, optimizer state, caches and constants are persistent: allocated by name, once for
/// all plans of a model. Everything else lies in the arena at <paramref name="Offset"/> bytes (sized for the bounds'
/// maxima) and is alive from FirstStep to LastStep of the plan's flattened step order.
/// </summary>
public sealed record PlanBuffer(
    int Id, string Name, BufferClass Class, ScalarType Type, IReadOnlyList<PlanAxis> Axes, long Offset, int FirstStep, int LastStep)
{
    /// <summary>Elements.</summary>
    public Extent Elements => Axes.Aggregate(Extent.One, (n, a) => n * a.Size);

    /// <summary>Bytes.</summary>
    public Extent Bytes => Elements * Extent.Of(Type.Size());

    public bool IsPersistent => Class is BufferClass.Parameter or BufferClass.Optimizer or BufferClass.Cache or BufferClass.Constant;
}

public enum InitializerKind
{
    Zeros,
    Ones,
    Constant,

    /// <summary>Normal with the given deviation.</summary>
    Normal,

    /// <summary>Uniform in ± the given bound.</summary>
    Uniform,
}

/// <summary>How a parameter starts.</summary>
public sealed record Initializer(InitializerKind Kind, double Value);

/// <summary>
/// A parameter of the model: its path (axes that <c>stack</c> or <c>routed</c> put in front included in the shape),
/// how it starts, whether weight decay applies, and on which mesh axis each of its axes is placed (empty where none).
/// </summary>
public sealed record PlanParameter(
    string Path, IReadOnlyList<PlanAxis> Axes, Initializer Initializer, bool Decays, IReadOnlyList<string> Placement)
{
    public long Elements => Axes.Aggregate(1L, (n, a) => n * a.Size.Constant);
}

/// <summary>
/// An execution plan: the document that the compiler writes and a device executes.
/// <paramref name="Setup"/> runs once, when the plan is loaded, and fills the constants; <paramref name="Steps"/> are one launch.
/// </summary>
public sealed record Plan(
    string Model, Purpose Purpose, string Precision,
    IReadOnlyList<DynamicDimension> Dimensions,
    IReadOnlyList<PlanBuffer> Buffers,
    IReadOnlyList<PlanParameter> Parameters,
    IReadOnlyList<Step> Setup,
    IReadOnlyList<Step> Steps,
    long ArenaBytes)
{
    /// <summary>The buffer of that class and name.</summary>
    /// <exception cref="LegatoException">There is none.</exception>
    public PlanBuffer Buffer(BufferClass kind, string name) =>
        Buffers.FirstOrDefault(b => b.Class == kind && b.Name == name)
        ?? throw new LegatoException($"the {Purpose.ToString().ToLowerInvariant()} plan of {Model} has no {kind.ToString().ToLowerInvariant()} named '{name}'");

    /// <summary>A size at the dimensions' upper bounds.</summary>
    public long Maximum(Extent extent) => extent.Evaluate(name => Dimensions.First(d => d.Name == name).Maximum);
}
