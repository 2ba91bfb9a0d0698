using System.Linq.Expressions;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>Generates the code of one kernel. This part: the frame, and the loop that workers share.</summary>
internal sealed partial class KernelEmitter
{
    /// <summary>Shares of a loop over elements start at cache lines of the smallest type.</summary>
    private const int ElementGranularity = 64;

    private readonly KernelFunctions functions;
    private readonly Kernel kernel;
    private readonly HashSet<Expr> repeated;
    private readonly List<Extent> extents = [];
    private readonly Dictionary<Extent, ParameterExpression> extentValues = [];
    private readonly ParameterExpression[] operands;
    private readonly ParameterExpression operandsPointer = Expression.Parameter(typeof(nint), "operands");
    private readonly ParameterExpression argumentsPointer = Expression.Parameter(typeof(nint), "arguments");
    private readonly ParameterExpression from = Expression.Parameter(typeof(long), "from");
    private readonly ParameterExpression to = Expression.Parameter(typeof(long), "to");

    public KernelEmitter(KernelFunctions functions, Kernel kernel)
    {
        this.functions = functions;
        this.kernel = kernel;
        repeated = KernelAnalysis.Repeated(kernel.Body);
        operands = [.. kernel.Operands.Select(o => Expression.Variable(typeof(long), o.Name))];
    }

    public CompiledKernel Compile()
    {
        var root = new KernelScope(null);
        Expression arguments = Expression.Convert(argumentsPointer, typeof(long));
        for (int i = 0; i < kernel.Arguments.Count; i++)
            root.Define(kernel.Arguments[i], root.Bind(Element(arguments, i)));

        List<Statement.Loop> shared = SharedLoops();
        Expression result = shared.Count == 0 ? EmitAlone(root) : EmitShared(root, shared);
        return new CompiledKernel(
            Finish(root.Close(result), arguments), extents,
            shared is [{ Kind: LoopKind.Vector }] ? ElementGranularity : 1);
    }

    private KernelCode Finish(Expression body, Expression arguments)
    {
        var start = new List<Expression>();
        Expression addresses = Expression.Convert(operandsPointer, typeof(long));
        for (int i = 0; i < operands.Length; i++)
            start.Add(Expression.Assign(operands[i], Element(addresses, i)));
        for (int i = 0; i < extents.Count; i++)
            start.Add(Expression.Assign(extentValues[extents[i]], Element(arguments, kernel.Arguments.Count + i)));
        Expression code = Expression.Block(operands.Concat(extentValues.Values), start.Append(body));
        return Expression.Lambda<KernelCode>(code, kernel.Name, [operandsPointer, argumentsPointer, from, to]).Compile();
    }

    private Expression Element(Expression array, int index) =>
        functions.Call(nameof(ScalarMath.Element), array, Expression.Constant(index));

    /// <summary>
    /// The outermost loops whose iterations workers share: a nest of grid loops, or a vector loop that only computes
    /// elements; before them nothing but names.
    /// </summary>
    private List<Statement.Loop> SharedLoops()
    {
        var loops = new List<Statement.Loop>();
        if (kernel.Body.SkipLast(1).Any(s => s is not Statement.Let) || kernel.Body.LastOrDefault() is not Statement.Loop outer)
            return loops;
        if (outer.Kind == LoopKind.Vector && !outer.Body.Any(s => s is Statement.Accumulate) && HasLaunchBounds(outer))
            loops.Add(outer);
        Statement.Loop? loop = outer;
        while (loop is { Kind: LoopKind.Grid } && HasLaunchBounds(loop))
        {
            loops.Add(loop);
            loop = loop.Body is [Statement.Loop inner] ? inner : null;
        }
        return loops;
    }

    private bool HasLaunchBounds(Statement.Loop loop) => loop.From.IsLaunchConstant(kernel) && loop.To.IsLaunchConstant(kernel);

    /// <summary>A kernel without a shared loop is one iteration.</summary>
    private Expression EmitAlone(KernelScope root)
    {
        var body = new KernelScope(root);
        EmitAll(kernel.Body, body);
        Expression count = Expression.Constant(1L);
        Expression included = Expression.AndAlso(
            Expression.LessThanOrEqual(from, Expression.Constant(0L)), Expression.GreaterThanOrEqual(to, count));
        root.Add(Expression.IfThen(included, body.Close(Expression.Empty())));
        return count;
    }

    private Expression EmitShared(KernelScope root, List<Statement.Loop> loops)
    {
        var starts = new List<Expression>();
        var counts = new List<Expression>();
        Expression total = Expression.Constant(1L);
        foreach (Statement.Loop loop in loops)
        {
            Expression start = root.Bind(Emit(loop.From, root)), end = root.Bind(Emit(loop.To, root));
            Expression count = root.Bind(functions.Call(nameof(ScalarMath.Maximum), Subtract(end, start), Expression.Constant(0L)));
            starts.Add(start);
            counts.Add(count);
            total = Multiply(total, count);
        }
        total = root.Bind(total);
        root.Add(Expression.Assign(to, functions.Call(nameof(ScalarMath.Minimum), to, total)));

        var body = new KernelScope(root);
        EmitAll(kernel.Body.SkipLast(1).ToList(), body);
        if (loops is [{ Kind: LoopKind.Vector } vector])
            EmitVectorLoop(vector, body, body.Bind(Add(starts[0], from)), body.Bind(Add(starts[0], to)));
        else
            EmitGrid(loops, starts, counts, body);
        root.Add(Expression.IfThen(Expression.LessThan(from, to), body.Close(Expression.Empty())));
        return total;
    }

    /// <summary>Runs iterations [from, to) of the collapsed nest, counting the nest's variables up like an odometer.</summary>
    private void EmitGrid(List<Statement.Loop> loops, List<Expression> starts, List<Expression> counts, KernelScope scope)
    {
        var inner = new KernelScope(scope) { HidesLoads = true };
        var variables = new ParameterExpression[loops.Count];
        Expression rest = from;
        for (int i = loops.Count - 1; i >= 0; i--)
        {
            variables[i] = scope.Declare(typeof(long));
            inner.Define(loops[i].Variable, variables[i]);
            Expression digit = i == 0 ? rest : Expression.Modulo(rest, counts[i]);
            scope.Add(Expression.Assign(variables[i], Add(starts[i], digit)));
            if (i > 0)
                rest = scope.Bind(Expression.Divide(rest, counts[i]));
        }
        ParameterExpression iteration = scope.Declare(typeof(long));
        scope.Add(Expression.Assign(iteration, from));
        EmitAll(loops[^1].Body, inner);
        Expression advance = Expression.Empty();
        for (int i = 0; i < loops.Count; i++)
        {
            Expression step = Expression.PreIncrementAssign(variables[i]);
            advance = i == 0
                ? step
                : Expression.Block(step, Expression.IfThen(
                    Expression.Equal(variables[i], Add(starts[i], counts[i])),
                    Expression.Block(Expression.Assign(variables[i], starts[i]), advance)));
        }
        scope.Add(While(
            Expression.LessThan(iteration, to),
            inner.Close(advance, Expression.PreIncrementAssign(iteration))));
    }

    private static Expression While(Expression condition, Expression body)
    {
        LabelTarget end = Expression.Label();
        return Expression.Loop(Expression.IfThenElse(condition, body, Expression.Break(end)), end);
    }

    private static Expression Add(Expression x, Expression y) =>
        IsConstant(x, 0) ? y : IsConstant(y, 0) ? x : Expression.Add(x, y);

    private static Expression Subtract(Expression x, Expression y) => (x, y) switch
    {
        (ConstantExpression { Value: long a }, ConstantExpression { Value: long b }) => Expression.Constant(a - b),
        _ => IsConstant(y, 0) ? x : Expression.Subtract(x, y),
    };

    private static Expression Multiply(Expression x, Expression y) => (x, y) switch
    {
        (ConstantExpression { Value: long a }, ConstantExpression { Value: long b }) => Expression.Constant(a * b),
        _ => IsConstant(x, 1) ? y : IsConstant(y, 1) ? x : Expression.Multiply(x, y),
    };

    private static bool IsConstant(Expression expression, long value) => expression is ConstantExpression { Value: long v } && v == value;
}
