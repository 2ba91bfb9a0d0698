namespace Legato.Runtime.Plans;

/// <summary>What the backward pass keeps of the forward pass.</summary>
public enum Rematerialisation
{
    /// <summary>Every value that the gradient needs, but for elementwise ones that are cheap to compute again.</summary>
    None,

    /// <summary>Each block's input alone; the block's forward pass runs again in the backward pass.</summary>
    Block,
}

/// <summary>AdamW (Loshchilov and Hutter 2019, algorithm 2) and clipping by the global norm; constants of a training plan.</summary>
/// <param name="Clip">The largest gradient norm; 0 turns clipping off.</param>
public sealed record OptimizerSettings(double Beta1, double Beta2, double Epsilon, double WeightDecay, double Clip)
{
    public static OptimizerSettings Default { get; } = new(0.9, 0.95, 1e-8, 0.1, 1.0);
}

/// <summary>
/// Asks for a plan. Batch, Sequence and Context are the sizes of training and evaluation, and the upper bounds of the
/// dynamic dimensions of prefill and decode (Context: tokens a row that the cache holds).
/// </summary>
/// <param name="Precision">
/// fp32; tf32 (float32 in memory; devices that can may round the operands of products); bf16 or fp16. Training then keeps
/// float32 masters of the parameters beside those that the model reads (<see cref="MasterWeights"/>), and stores
/// activations and their gradients in that type; inference stores the parameters in it.
/// </param>
/// <param name="Source">Tokens a row that an encoder reads; 0 for models that have none beside a decoder.</param>
/// <param name="Accumulate">Training: micro-batches of Batch rows whose gradients are summed in one step.</param>
/// <param name="MostLogits">
/// Training and evaluation: how many logits may stand in memory at once; more are computed in a loop over chunks of tokens.
/// Every chunk adds to the gradient of the head, so larger ones are a little faster.
/// </param>
/// <param name="IsPacked">
/// Training, evaluation and forward calls: the input <c>starts</c> tells for each position where in its row its document starts.
/// Positions count from there, and no query sees another document.
/// </param>
/// <param name="Dropout">
/// Training: the share of numbers that the model's dropout drops, from 0 to less than 1; what is dropped follows from the
/// input <c>seed</c>, and is the same whether a step's rows are computed at once or in micro-batches.
/// </param>
/// <param name="NarrowActivations">
/// Inference: activations and the cache in the precision's type too, for devices that multiply narrow operands only.
/// </param>
public sealed record PlanRequest(
    Purpose Purpose, long Batch, long Sequence, long Context, string Precision = "fp32", long Accumulate = 1,
    Rematerialisation Rematerialisation = Rematerialisation.None, OptimizerSettings? Optimizer = null, bool NarrowActivations = false,
    long Source = 0, long MostLogits = PlanRequest.DefaultMostLogits, bool IsPacked = false,
    double Dropout = 0)
{
    /// <summary>1 GiB of float32, 512 MiB of bfloat16.</summary>
    public const long DefaultMostLogits = 256 << 20;
}

/// <summary>
/// The float32 values of parameters that training stores in fewer bytes: optimizer state under the parameter's path
/// behind a prefix. The optimizer updates them and writes the parameters from them, rounded.
/// </summary>
public static class MasterWeights
{
    public const string Prefix = "optimizer.master.";

    /// <summary>Whether a buffer of that name holds masters.</summary>
    public static bool IsMaster(string name) => name.StartsWith(Prefix, StringComparison.Ordinal);
}

/// <summary>
/// Loss scaling of float16 training: a step whose gradients overflow reports a gradient norm that isn't finite and changes
/// nothing but the scale.
/// </summary>
public static class LossScale
{
    /// <summary>The optimizer state that holds the scale; plans without it scale nothing.</summary>
    public const string Buffer = "optimizer.loss_scale";
}

/// <summary>
/// A slice of a checkpoint's tensor along one of its axes, in elements: one stretch or, where several parameters take
/// turns along an axis, a stretch of every <paramref name="Period"/>.
/// </summary>
public sealed record WeightPart(int Axis, long Start, long Length, long? Period = null);

/// <summary>
/// Where a parameter lies in a checkpoint. <paramref name="Name"/> holds {0}, {1}, … for the indices of the leading
/// axes (layer, expert) that the model stacks and the checkpoint keeps as tensors of their own.
/// <paramref name="Transposed"/>: the checkpoint stores the two-dimensional tensor (after the slice) with its axes swapped.
/// <paramref name="Grouping"/>: how many of the parameter's axes (after the stacked ones) make up each axis of the
/// tensor before it is transposed, such as [1, 2] for embed × (heads, head size) kept as a matrix; null: one each. Axes that
/// neither a placeholder nor the grouping takes are the first axis of the tensor, with a matrix or vector at each index.
/// <paramref name="PairedHeads"/>: the checkpoint keeps the rows of that many heads with rotary pairs side by side, row
/// 2i + half of a head where the parameter has row half · size / 2 + i; 0: in the parameter's order.
/// <paramref name="Numbers"/>: what {0} is for each index of the first leading axis; null: 0, 1, …
/// <paramref name="Added"/>: how much greater than the parameter's each of the tensor's elements is.
/// </summary>
public sealed record WeightSource(
    string Path, string Name, bool Transposed = false, WeightPart? Part = null, IReadOnlyList<int>? Grouping = null,
    int PairedHeads = 0, IReadOnlyList<int>? Numbers = null, float Added = 0);

/// <summary>
/// A family's table from parameter paths to checkpoint names, used in both directions. A checkpoint may put any one of
/// <paramref name="Prefixes"/> before every name (the first is the one written); names that match
/// <paramref name="Ignored"/> ({0} stands for a number) are buffers that carry no weight.
/// </summary>
public sealed record WeightMap(IReadOnlyList<WeightSource> Sources, IReadOnlyList<string> Prefixes, IReadOnlyList<string> Ignored);

/// <summary>What a model does with its tokens.</summary>
public enum ModelTask
{
    /// <summary>Tells each position's next token.</summary>
    CausalLm,

    /// <summary>Tells what stands at each position of a whole text.</summary>
    MaskedLm,

    /// <summary>Tells each next token of a text that goes with a source.</summary>
    SequenceToSequence,

    /// <summary>Scores classes, of each position or of a whole text.</summary>
    Classification,
}

/// <summary>What the runtime knows of a model beside its plans.</summary>
/// <param name="Config">The text of its config.json.</param>
/// <param name="Context">The longest sequence that it was declared for.</param>
public sealed record ModelDescription(
    string Name, string Config, long Vocabulary, long Context, int? BeginToken, IReadOnlyList<int> EndTokens,
    IReadOnlyList<PlanParameter> Parameters, WeightMap Weights, ModelTask Task = ModelTask.CausalLm);

/// <summary>Gives plans: the compiler does, and so does a folder of saved ones.</summary>
public interface IPlanSource
{
    ModelDescription Model { get; }

    /// <exception cref="LegatoException">The request can't be met (an unknown precision, a sequence beyond the context, no such saved plan).</exception>
    Plan Plan(PlanRequest request);
}
