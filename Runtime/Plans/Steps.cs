namespace Legato.Runtime.Plans;

/// <summary>
/// A place in a buffer, in elements: <paramref name="Offset"/> plus, inside loops, the loop variable times its stride.
/// </summary>
public sealed record BufferView(int Buffer, Extent Offset, IReadOnlyList<LoopStride> Loops)
{
    public static BufferView Whole(int buffer) => new(buffer, Extent.Zero, []);

    public bool Equals(BufferView? other) =>
        other is not null && Buffer == other.Buffer && Offset.Equals(other.Offset) && Loops.SequenceEqual(other.Loops);

    public override int GetHashCode() => HashCode.Combine(Buffer, Offset, Loops.Count);
}

/// <summary>How far a view moves, in elements, for each iteration of an enclosing <see cref="Step.Loop"/>.</summary>
public sealed record LoopStride(string Variable, Extent Stride);

/// <summary>What a step costs: floating-point operations, and bytes that must move if every operand moves once.</summary>
public sealed record Cost(Extent Flops, Extent Bytes)
{
    public static Cost Zero { get; } = new(Extent.Zero, Extent.Zero);

    public static Cost operator +(Cost a, Cost b) => new(a.Flops + b.Flops, a.Bytes + b.Bytes);

    public static Cost operator *(Extent times, Cost cost) => new(times * cost.Flops, times * cost.Bytes);
}

/// <summary>One operand of a matrix product: a view and its two strides in elements.</summary>
public sealed record Matrix(BufferView View, Extent RowStride, Extent ColumnStride)
{
    internal bool HasStridesOf(Matrix other) => RowStride.Equals(other.RowStride) && ColumnStride.Equals(other.ColumnStride);
}

/// <summary>An outer loop of a matrix product: how many products, and how far each operand moves for each.</summary>
public sealed record BatchLoop(Extent Count, Extent LeftStride, Extent RightStride, Extent OutputStride);

/// <summary>One operand of attention: strides in elements for batch row, position and head; elements of a head are contiguous.</summary>
public sealed record HeadTensor(BufferView View, Extent BatchStride, Extent PositionStride, Extent HeadStride);

/// <summary>
/// The shape and meaning of an attention: softmax over the keys that <paramref name="Mask"/> admits of
/// Score(scale · q·k), times v. Query i of batch row b stands at position past[b] + i; the keys of row b are the first
/// past[b] + QueryLength of KeyLength (without a past: all KeyLength).
/// <paramref name="Mask"/> (boolean) and <paramref name="Score"/> (float) are expressions over the integer variables
/// b, h, q, k (q and k are positions) and, for the score, the float variable score; loads in them refer to the step's Extra operands.
/// Query head h reads key head h / (Heads / KeyHeads).
/// </summary>
public sealed record AttentionShape(
    Extent Batch, Extent Heads, Extent KeyHeads, Extent QueryLength, Extent KeyLength, Extent HeadSize, Extent ValueSize,
    double Scale, Expr? Mask, Expr? Score);

/// <summary>
/// Rows by group: the rows of group g are <paramref name="Order"/>[i] for i from <paramref name="Offsets"/>[g] to
/// Offsets[g + 1], ascending. Offsets [Groups + 1] and Order [Count] are of I32; <see cref="Step.Dispatch"/> writes them.
/// How many rows a group has is known at run time only; it may be none, or all.
/// </summary>
public sealed record RowGroups(Extent Count, int Groups, BufferView Offsets, BufferView Order);

/// <summary>
/// An operand that grouped rows read: row r reads row r / <paramref name="Share"/> of a matrix, in which one row follows
/// another after <paramref name="Stride"/> elements and a row's elements lie side by side.
/// </summary>
public sealed record GroupedMatrix(BufferView View, Extent Stride, long Share);

/// <summary>A step of a plan. Views are in the order that the step's documentation gives.</summary>
public abstract record Step(string Name, Cost Cost)
{
    /// <summary>A fused kernel over its operands.</summary>
    public sealed record Fused(string Name, Cost Cost, Kernel Kernel, IReadOnlyList<BufferView> Operands) : Step(Name, Cost);

    /// <summary>
    /// Output[m, n] (+)= Σ_k Left[m, k] · Right[k, n], accumulated in float32, for every index of the batch loops.
    /// <paramref name="Epilogue"/> is applied to each block of the output once its sum is complete: a kernel whose
    /// operand 0 is the output (ReadWrite), whose arguments are m0, m1, n0, n1 and whose body loops
    /// m over m0..m1 (Grid) and n over n0..n1 (Vector); the other operands are <paramref name="EpilogueOperands"/>.
    /// A product with an epilogue has no batch loop. <paramref name="Accumulate"/> adds to what the output holds.
    /// </summary>
    public sealed record MatrixProduct(
        string Name, Cost Cost, Extent M, Extent N, Extent K, Matrix Left, Matrix Right, Matrix Output, bool Accumulate,
        IReadOnlyList<BatchLoop> Batch, Kernel? Epilogue, IReadOnlyList<BufferView> EpilogueOperands) : Step(Name, Cost);

    /// <summary>
    /// Attention forward. <paramref name="LogSumExp"/> [Batch, Heads, QueryLength], where asked for, receives
    /// log Σ exp(score) of each row, which the gradient needs. <paramref name="Past"/> is [Batch] of I32.
    /// </summary>
    public sealed record Attention(
        string Name, Cost Cost, AttentionShape Shape, HeadTensor Query, HeadTensor Key, HeadTensor Value, HeadTensor Output,
        BufferView? LogSumExp, BufferView? Past, IReadOnlyList<BufferView> Extra) : Step(Name, Cost);

    /// <summary>
    /// Gradients of attention by recomputation (Dao 2023, FlashAttention-2, algorithm 2) from the saved LogSumExp.
    /// <paramref name="RowDot"/> is workspace [Batch, Heads, QueryLength] for Σ output · outputGradient.
    /// Gradient operands are overwritten.
    /// </summary>
    public sealed record AttentionGradient(
        string Name, Cost Cost, AttentionShape Shape, HeadTensor Query, HeadTensor Key, HeadTensor Value, HeadTensor Output,
        BufferView LogSumExp, HeadTensor OutputGradient, HeadTensor QueryGradient, HeadTensor KeyGradient, HeadTensor ValueGradient,
        BufferView RowDot, IReadOnlyList<BufferView> Extra) : Step(Name, Cost);

    /// <summary>
    /// The K largest of each row of Width: values and indices [Rows, K], largest first, ties to the lower index.
    /// </summary>
    public sealed record TopK(
        string Name, Cost Cost, Extent Rows, Extent Width, int K, BufferView Input, BufferView Values, BufferView Indices) : Step(Name, Cost);

    /// <summary>
    /// Chooses a token a row: from Logits [Rows, Width] of F32 into Tokens [Rows] of I32. Settings [3] of F32 are the temperature,
    /// how many of the likeliest tokens are candidates (0 for all), and what probability the likeliest of those reach together
    /// before the others are left out (1 for all). Temperature 0 takes the largest logit, the first of equals. Else candidates stand
    /// in the order of their <see cref="TokenWeight.Distance"/>, equals in that of their numbers, and the one is taken that the random number
    /// falls on: the word of <see cref="Philox"/> with the key Streams[r, 0] and the block Streams[r, 1] · 2³² + Places[r], of Streams [Rows, 2] and Places
    /// [Rows] of I32. A row with a logit that is NaN, or whose largest is not finite, gets <see cref="None"/>.
    /// </summary>
    public sealed record Choose(
        string Name, Cost Cost, Extent Rows, Extent Width, BufferView Logits, BufferView Settings, BufferView Streams, BufferView Places, BufferView Tokens)
        : Step(Name, Cost)
    {
        /// <summary>No token.</summary>
        public const int None = -1;
    }

    /// <summary>
    /// Sorts rows by the group that <paramref name="Index"/> [Count] of I32 gives each; rows of one group keep their order.
    /// </summary>
    public sealed record Dispatch(string Name, Cost Cost, RowGroups Rows, BufferView Index) : Step(Name, Cost);

    /// <summary>
    /// Output[r, n] = Σ_k Left[r / share, k] · Right[g, k, n] for each row r of each group g, accumulated in float32: the
    /// products of a mixture of experts, each over the rows that its expert was chosen for. The epilogue is that of a
    /// <see cref="MatrixProduct"/>, r in m's place; it is given one row at a time at least.
    /// </summary>
    public sealed record GroupedProduct(
        string Name, Cost Cost, RowGroups Rows, Extent N, Extent K, GroupedMatrix Left, Matrix Right, Extent RightGroupStride, Matrix Output,
        Kernel? Epilogue, IReadOnlyList<BufferView> EpilogueOperands) : Step(Name, Cost);

    /// <summary>
    /// Output[g, m, n] = Σ_r Left[r / share, m] · Right[r / share, n] over the rows r of group g, in their order and accumulated
    /// in float32; zeros for a group without rows. The gradient of a grouped product's right operand.
    /// </summary>
    public sealed record GroupedGradient(
        string Name, Cost Cost, RowGroups Rows, Extent M, Extent N, GroupedMatrix Left, GroupedMatrix Right, Matrix Output,
        Extent OutputGroupStride) : Step(Name, Cost);

    /// <summary>Runs the body <paramref name="Count"/> times, the variable going up from 0, or down to 0 if reversed.</summary>
    public sealed record Loop(string Name, Cost Cost, string Variable, long Count, bool Reversed, IReadOnlyList<Step> Body) : Step(Name, Cost);
}
