using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Products and attention write float32, and grouped products read it. Where a plan's buffers hold less, the step is replaced by one over float32
/// workspace, with kernels that widen what it reads before and round what it wrote after.
/// </summary>
/// <param name="typeOf">The element type of a view's buffer.</param>
/// <param name="workspace">The id of float32 workspace with so many elements; workspaces of one size may be one.</param>
internal sealed class CpuFloat32(Func<BufferView, ScalarType> typeOf, Func<Extent, int, int> workspace)
{
    /// <summary>One axis of a nest of loops over two operands: how many indices, and each operand's stride.</summary>
    private readonly record struct Axis(Extent Count, Extent From, Extent To);

    public IReadOnlyList<Step> Rewrite(IReadOnlyList<Step> steps) => [.. steps.SelectMany(Rewrite)];

    private IEnumerable<Step> Rewrite(Step step) => step switch
    {
        Step.Loop loop => [loop with { Body = Rewrite(loop.Body) }],
        Step.MatrixProduct product when IsNarrow(product.Output.View) => Product(product),
        Step.GroupedProduct product when IsNarrow(product.Left.View) || IsNarrow(product.Output.View) => Grouped(product),
        Step.GroupedGradient gradient when IsNarrow(gradient.Left.View) || IsNarrow(gradient.Right.View) => Grouped(gradient),
        Step.Attention attention when IsNarrow(attention.Output.View) => Attention(attention),
        Step.AttentionGradient gradient when Tensors(gradient).Any(t => IsNarrow(t.View)) => Gradient(gradient),
        _ => [step],
    };

    private bool IsNarrow(BufferView view) => typeOf(view) != ScalarType.F32;

    private IEnumerable<Step> Product(Step.MatrixProduct step)
    {
        Extent block = step.M * step.N, count = block;
        var axes = new List<Axis>();
        var batch = new List<BatchLoop>();
        foreach (BatchLoop loop in step.Batch.Reverse())
        {
            batch.Insert(0, loop with { OutputStride = count });
            axes.Insert(0, new Axis(loop.Count, count, loop.OutputStride));
            count *= loop.Count;
        }
        axes.Add(new Axis(step.M, step.N, step.Output.RowStride));
        axes.Add(new Axis(step.N, Extent.One, step.Output.ColumnStride));
        BufferView sums = BufferView.Whole(workspace(count, 0));
        yield return step with
        {
            Output = new Matrix(sums, step.N, Extent.One),
            Batch = batch,
            Accumulate = false,
            Epilogue = step.Epilogue is { } kernel ? OverSums(kernel, step.N) : null,
        };
        yield return Move(step.Name, sums, step.Output.View, axes, step.Accumulate);
    }

    /// <summary>The epilogue over [m, n] sums that lie row by row.</summary>
    private static Kernel OverSums(Kernel epilogue, Extent columns)
    {
        var at = new Plans.Index(new IndexTerm(new Expr.Variable("m"), columns), new IndexTerm(new Expr.Variable("n"), Extent.One));
        return epilogue with
        {
            Operands = [epilogue.Operands[0] with { Type = ScalarType.F32 }, .. epilogue.Operands.Skip(1)],
            Body = KernelRewriting.Indices(epilogue.Body, (operand, index) => operand == 0 ? at : index),
        };
    }

    private IEnumerable<Step> Grouped(Step.GroupedProduct step)
    {
        var before = new List<Step>();
        GroupedMatrix left = Widened(step.Name, step.Left, step.Rows.Count, step.K, 0, before);
        if (!IsNarrow(step.Output.View))
            return [.. before, step with { Left = left }];
        BufferView sums = BufferView.Whole(workspace(step.Rows.Count * step.N, 1));
        Step.GroupedProduct over = step with
        {
            Left = left,
            Output = new Matrix(sums, step.N, Extent.One),
            Epilogue = step.Epilogue is { } kernel ? OverSums(kernel, step.N) : null,
        };
        Axis[] axes = [new(step.Rows.Count, step.N, step.Output.RowStride), new(step.N, Extent.One, step.Output.ColumnStride)];
        return [.. before, over, Move(step.Name, sums, step.Output.View, axes, adds: false)];
    }

    private IEnumerable<Step> Grouped(Step.GroupedGradient step)
    {
        var before = new List<Step>();
        GroupedMatrix left = Widened(step.Name, step.Left, step.Rows.Count, step.M, 0, before);
        GroupedMatrix right = Widened(step.Name, step.Right, step.Rows.Count, step.N, 1, before);
        return [.. before, step with { Left = left, Right = right }];
    }

    /// <summary>Rows in workspace, as many as the grouped rows share.</summary>
    private GroupedMatrix Widened(string name, GroupedMatrix matrix, Extent count, Extent columns, int number, List<Step> moves)
    {
        if (!IsNarrow(matrix.View))
            return matrix;
        Extent rows = count.DividedBy(matrix.Share) ?? throw new InvalidOperationException($"{name} shares {count} rows by {matrix.Share}");
        BufferView wide = BufferView.Whole(workspace(rows * columns, number));
        Axis[] axes = [new(rows, matrix.Stride, columns), new(columns, Extent.One, Extent.One)];
        moves.Add(Move(name, matrix.View, wide, axes, adds: false));
        return matrix with { View = wide, Stride = columns };
    }

    private IEnumerable<Step> Attention(Step.Attention step)
    {
        HeadTensor output = Packed(step.Output, QueryAxes(step.Shape, step.Shape.ValueSize), 0, out IReadOnlyList<Axis> axes);
        yield return step with { Output = output };
        yield return Move(step.Name, output.View, step.Output.View, axes, adds: false);
    }

    private static IEnumerable<HeadTensor> Tensors(Step.AttentionGradient s) =>
        [s.Output, s.OutputGradient, s.QueryGradient, s.KeyGradient, s.ValueGradient];

    private IEnumerable<Step> Gradient(Step.AttentionGradient step)
    {
        AttentionShape s = step.Shape;
        var before = new List<Step>();
        var after = new List<Step>();
        int number = 0;
        HeadTensor Read(HeadTensor tensor, Extent[] counts) => Replaced(tensor, counts, before, reads: true);
        HeadTensor Write(HeadTensor tensor, Extent[] counts) => Replaced(tensor, counts, after, reads: false);

        HeadTensor Replaced(HeadTensor tensor, Extent[] counts, List<Step> moves, bool reads)
        {
            if (!IsNarrow(tensor.View))
                return tensor;
            HeadTensor wide = Packed(tensor, counts, number++, out IReadOnlyList<Axis> axes);
            moves.Add(reads
                ? Move(step.Name, tensor.View, wide.View, [.. axes.Select(a => new Axis(a.Count, a.To, a.From))], adds: false)
                : Move(step.Name, wide.View, tensor.View, axes, adds: false));
            return wide;
        }

        Step.AttentionGradient over = step with
        {
            Output = Read(step.Output, QueryAxes(s, s.ValueSize)),
            OutputGradient = Read(step.OutputGradient, QueryAxes(s, s.ValueSize)),
            QueryGradient = Write(step.QueryGradient, QueryAxes(s, s.HeadSize)),
            KeyGradient = Write(step.KeyGradient, KeyAxes(s, s.HeadSize)),
            ValueGradient = Write(step.ValueGradient, KeyAxes(s, s.ValueSize)),
        };
        return [.. before, over, .. after];
    }

    private static Extent[] QueryAxes(AttentionShape s, Extent size) => [s.Batch, s.QueryLength, s.Heads, size];

    private static Extent[] KeyAxes(AttentionShape s, Extent size) => [s.Batch, s.KeyLength, s.KeyHeads, size];

    /// <summary>The tensor in workspace, row by row.</summary>
    private HeadTensor Packed(HeadTensor tensor, Extent[] counts, int number, out IReadOnlyList<Axis> axes)
    {
        Extent head = counts[3], position = counts[2] * head, batch = counts[1] * position;
        axes =
        [
            new(counts[0], batch, tensor.BatchStride), new(counts[1], position, tensor.PositionStride),
            new(counts[2], head, tensor.HeadStride), new(counts[3], Extent.One, Extent.One),
        ];
        return new HeadTensor(BufferView.Whole(workspace(counts[0] * batch, number)), batch, position, head);
    }

    /// <summary>to[…] = from[…], or to[…] += from[…].</summary>
    private Step.Fused Move(string name, BufferView from, BufferView to, IReadOnlyList<Axis> axes, bool adds)
    {
        Plans.Index At(Func<Axis, Extent> stride) => new([.. axes.Select((a, i) => new IndexTerm(new Expr.Variable($"i{i}"), stride(a)))]);
        Expr value = new Expr.Load(0, At(a => a.From));
        if (adds)
            value = new Expr.Apply(Operation.Add, new Expr.Load(1, At(a => a.To)), value);
        Statement body = new Statement.Store(1, At(a => a.To), value);
        for (int i = axes.Count - 1; i >= 0; i--)
        {
            Expr count = axes[i].Count.IsConstant ? new Expr.Integer(axes[i].Count.Constant) : new Expr.Size(axes[i].Count);
            body = new Statement.Loop(i == axes.Count - 1 ? LoopKind.Vector : LoopKind.Grid, $"i{i}", new Expr.Integer(0), count, [body]);
        }
        KernelOperand[] operands =
        [
            new("from", typeOf(from), Access.Read), new("to", typeOf(to), adds ? Access.ReadWrite : Access.Write),
        ];
        return new Step.Fused(name, Cost.Zero, new Kernel("round", operands, [], [body]), [from, to]);
    }
}
