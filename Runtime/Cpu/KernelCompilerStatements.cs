using System.Linq.Expressions;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>This part: statements and loops.</summary>
internal sealed partial class KernelEmitter
{
    /// <summary>Bodies up to so many operations are unrolled four times where they reduce, up to the next twice.</summary>
    private const int SmallWork = 12, MediumWork = 60;

    private readonly Dictionary<string, Reduction> reductions = [];

    private void EmitAll(IReadOnlyList<Statement> body, KernelScope scope)
    {
        foreach (Statement statement in body)
            Emit(statement, scope);
    }

    private void Emit(Statement statement, KernelScope scope)
    {
        switch (statement)
        {
            case Statement.Loop { Kind: LoopKind.Vector } loop when scope.Lanes is null && !loop.Body.Any(s => s is Statement.Loop):
                EmitVectorLoop(loop, scope, scope.Bind(Emit(loop.From, scope)), scope.Bind(Emit(loop.To, scope)));
                break;
            case Statement.Loop loop:
                EmitSerialLoop(loop, scope);
                break;
            case Statement.Let let:
                EmitLet(let, scope);
                break;
            case Statement.Accumulator accumulator:
                ParameterExpression variable = scope.Declare(typeof(float));
                scope.Add(Expression.Assign(variable, Expression.Constant(Neutral(accumulator.Reduction))));
                scope.Define(accumulator.Name, variable);
                reductions[accumulator.Name] = accumulator.Reduction;
                break;
            case Statement.Accumulate accumulate:
                EmitAccumulate(accumulate, scope);
                break;
            case Statement.Store store:
                EmitStore(store, scope);
                scope.ForgetLoads();
                break;
        }
    }

    private static float Neutral(Reduction reduction) => reduction == Reduction.Sum ? 0f : float.NegativeInfinity;

    private void EmitLet(Statement.Let let, KernelScope scope)
    {
        Expression value = scope.Bind(Emit(let.Value, scope));
        scope.Define(let.Name, value);
        if (scope.Lanes is { } lanes && value.Type == functions.Integers)
            lanes.Loop.IntegerLets[let.Name] = let.Value;
    }

    private void EmitAccumulate(Statement.Accumulate accumulate, KernelScope scope)
    {
        Reduction reduction = reductions[accumulate.Name];
        Expression value = Emit(accumulate.Value, scope);
        if (scope.Lanes is not { } lanes)
        {
            Expression target = Emit(new Expr.Variable(accumulate.Name), scope);
            scope.Add(Expression.Assign(target, Combine(reduction, target, value)));
            return;
        }
        value = ToLanes(value, scope);
        if (scope.Mask is { } mask)
            value = functions.Call(nameof(Lanes128.Select), mask, value, functions.Broadcast(Expression.Constant(Neutral(reduction))));
        ParameterExpression partial = lanes.Partials[accumulate.Name];
        scope.Add(Expression.Assign(partial, Combine(reduction, partial, value)));
    }

    private Expression Combine(Reduction reduction, Expression x, Expression y) =>
        reduction == Reduction.Sum ? Expression.Add(x, y) : functions.Call(nameof(ScalarMath.Maximum), x, y);

    private void EmitSerialLoop(Statement.Loop loop, KernelScope scope)
    {
        Expression end = scope.Bind(Emit(loop.To, scope));
        ParameterExpression variable = scope.Declare(typeof(long));
        scope.Add(Expression.Assign(variable, Emit(loop.From, scope)));
        var body = new KernelScope(scope) { HidesLoads = KernelAnalysis.Stored(loop.Body).Count > 0 };
        body.Define(loop.Variable, variable);
        EmitAll(loop.Body, body);
        scope.Add(While(Expression.LessThan(variable, end), body.Close(Expression.PreIncrementAssign(variable))));
    }

    /// <summary>
    /// Whole vectors, several copies of the body at a time where it reduces, then the rest under a mask. Each copy has
    /// partial accumulators of its own; they are added in a fixed order, so that a result depends on the vectors'
    /// width alone.
    /// </summary>
    private void EmitVectorLoop(Statement.Loop loop, KernelScope scope, Expression start, Expression end)
    {
        HashSet<int> stored = KernelAnalysis.Stored(loop.Body);
        var preheader = new KernelScope(scope) { HidesLoads = stored.Count > 0, KeepsLoads = true };
        var vectorLoop = new KernelVectorLoop(loop.Variable, preheader, stored);
        string[] accumulators = [.. loop.Body.OfType<Statement.Accumulate>().Select(a => a.Name).Distinct()];
        int copies = accumulators.Length == 0 ? 1 : KernelAnalysis.Work(loop.Body) switch { <= SmallWork => 4, <= MediumWork => 2, _ => 1 };
        List<Dictionary<string, ParameterExpression>> partials = DeclarePartials(preheader, accumulators, copies);
        ParameterExpression position = preheader.Declare(typeof(long));

        var loops = new KernelScope(preheader);
        long? trips = Subtract(end, start) is ConstantExpression { Value: long constant } ? constant : null;
        int width = functions.Lanes, stride = width * copies;
        loops.Add(Expression.Assign(position, start));
        if (trips is null || trips >= stride)
            loops.Add(WholeVectors(loop, vectorLoop, loops, position, end, partials));
        if (copies > 1 && (trips is null || trips >= stride))
            AddPartials(loops, accumulators, partials);
        if (copies > 1 && (trips is null || trips % stride >= width))
            loops.Add(WholeVectors(loop, vectorLoop, loops, position, end, partials[..1]));
        if (trips is null || trips % width > 0)
            loops.Add(Rest(loop, vectorLoop, loops, position, end, partials[0]));
        foreach (string name in accumulators)
        {
            Expression target = Emit(new Expr.Variable(name), scope);
            Expression reduced = functions.Call(reductions[name] == Reduction.Sum ? nameof(Lanes128.Sum) : "Largest", partials[0][name]);
            loops.Add(Expression.Assign(target, Combine(reductions[name], target, reduced)));
        }
        scope.Add(Expression.IfThen(Expression.LessThan(start, end), preheader.Close(loops.Close(Expression.Empty()))));
    }

    private List<Dictionary<string, ParameterExpression>> DeclarePartials(KernelScope preheader, string[] accumulators, int copies)
    {
        var partials = new List<Dictionary<string, ParameterExpression>>();
        for (int copy = 0; copy < copies; copy++)
        {
            partials.Add(accumulators.ToDictionary(name => name, _ => preheader.Declare(functions.Floats)));
            foreach (string name in accumulators)
                preheader.Add(Expression.Assign(
                    partials[copy][name], functions.Broadcast(Expression.Constant(Neutral(reductions[name])))));
        }
        return partials;
    }

    private void AddPartials(KernelScope scope, string[] accumulators, List<Dictionary<string, ParameterExpression>> partials)
    {
        for (int half = partials.Count / 2; half > 0; half /= 2)
            for (int copy = 0; copy < half; copy++)
                foreach (string name in accumulators)
                    scope.Add(Expression.Assign(
                        partials[copy][name], Combine(reductions[name], partials[copy][name], partials[copy + half][name])));
    }

    private Expression WholeVectors(
        Statement.Loop loop, KernelVectorLoop vectorLoop, KernelScope scope, ParameterExpression position, Expression end,
        List<Dictionary<string, ParameterExpression>> partials)
    {
        var body = new List<Expression>();
        for (int copy = 0; copy < partials.Count; copy++)
        {
            var lanes = new KernelLanes(vectorLoop, position, copy * functions.Lanes, partials[copy]);
            var inner = new KernelScope(scope) { Lanes = lanes };
            EmitAll(loop.Body, inner);
            body.Add(inner.Close(Expression.Empty()));
        }
        Expression step = Expression.Constant((long)(partials.Count * functions.Lanes));
        body.Add(Expression.AddAssign(position, step));
        return While(Expression.LessThanOrEqual(position, Expression.Subtract(end, step)), Expression.Block(body));
    }

    private Expression Rest(
        Statement.Loop loop, KernelVectorLoop vectorLoop, KernelScope scope, ParameterExpression position, Expression end,
        Dictionary<string, ParameterExpression> partials)
    {
        var outer = new KernelScope(scope);
        Expression mask = outer.Bind(functions.Call("First", Expression.Subtract(end, position)));
        var inner = new KernelScope(outer) { Lanes = new KernelLanes(vectorLoop, position, 0, partials), Mask = mask };
        EmitAll(loop.Body, inner);
        return Expression.IfThen(Expression.LessThan(position, end), outer.Close(inner.Close(Expression.Empty())));
    }
}
