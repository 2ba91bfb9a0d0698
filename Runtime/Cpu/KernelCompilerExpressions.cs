using System.Linq.Expressions;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// This part: expressions. Inside a vector loop what doesn't vary is computed once before the loop, as a scalar; the
/// rest has one value a lane. What occurs more than once is computed once.
/// </summary>
internal sealed partial class KernelEmitter
{
    private Expression Emit(Expr expression, KernelScope scope)
    {
        if (scope.Find(expression) is { } known)
            return known;
        if (scope.Lanes is { } lanes && !Varies(expression, scope))
            return EmitUniform(expression, scope, lanes.Loop);
        Expression code = expression switch
        {
            Expr.Number number => Expression.Constant((float)number.Value),
            Expr.Integer integer => Expression.Constant(integer.Value),
            Expr.Size size => Size(size.Extent),
            Expr.Variable variable => EmitVariable(variable, scope),
            Expr.Load load => EmitLoad(load, scope),
            Expr.Apply { Operation: Operation.Select } select => EmitSelect(select, scope),
            Expr.Apply apply => EmitApply(apply, scope),
            _ => throw new ArgumentOutOfRangeException(nameof(expression), expression.GetType().Name, "no known expression"),
        };
        return repeated.Contains(expression) ? scope.Remember(expression, scope.Bind(code)) : code;
    }

    /// <summary>A size's value; those with dynamic dimensions come with the call.</summary>
    private Expression Size(Extent extent)
    {
        if (extent.IsConstant)
            return Expression.Constant(extent.Constant);
        if (extentValues.TryGetValue(extent, out ParameterExpression? value))
            return value;
        extents.Add(extent);
        return extentValues[extent] = Expression.Variable(typeof(long));
    }

    /// <summary>Whether a value differs from lane to lane.</summary>
    private bool Varies(Expr expression, KernelScope scope) => expression switch
    {
        Expr.Variable variable => variable.Name == scope.Lanes!.Loop.Variable || (scope.Find(variable) is { } value && functions.IsVector(value)),
        Expr.Load load => Array.Exists(load.At.Terms, t => Varies(t.Value, scope)),
        Expr.Apply apply => Array.Exists(apply.Operands, o => Varies(o, scope)),
        _ => false,
    };

    /// <summary>Before the loop where that is possible, else here.</summary>
    private Expression EmitUniform(Expr expression, KernelScope scope, KernelVectorLoop loop)
    {
        if (CanHoist(expression, scope, loop))
        {
            Expression hoisted = loop.Preheader.Bind(Emit(expression, loop.Preheader));
            return loop.Preheader.Remember(expression, hoisted);
        }
        var here = new KernelScope(scope) { Lanes = null };
        Expression value = here.Close(Emit(expression, here));
        return scope.IsConditional && scope.Mask is { } mask
            ? Expression.Condition(functions.Call(nameof(Lanes128.Any), mask), value, Expression.Default(value.Type))
            : value;
    }

    private static bool CanHoist(Expr expression, KernelScope scope, KernelVectorLoop loop) =>
        !(scope.IsConditional && expression.Loads()) && !expression.LoadsAny(loop.Stored) && IsKnown(expression, loop.Preheader);

    /// <summary>Whether all variables of an expression have their values before the loop.</summary>
    private static bool IsKnown(Expr expression, KernelScope scope) => expression switch
    {
        Expr.Variable variable => scope.Find(variable) is not null,
        Expr.Load load => Array.TrueForAll(load.At.Terms, t => IsKnown(t.Value, scope)),
        Expr.Apply apply => Array.TrueForAll(apply.Operands, o => IsKnown(o, scope)),
        _ => true,
    };

    private Expression EmitVariable(Expr.Variable variable, KernelScope scope)
    {
        if (scope.Lanes is not { } lanes || variable.Name != lanes.Loop.Variable)
            throw new InvalidOperationException($"kernel {kernel.Name} uses {variable.Name}, which is not defined there");
        Expression first = Add(lanes.Position, Expression.Constant((long)lanes.Shift));
        return scope.Remember(variable, scope.Bind(Expression.Add(functions.Broadcast(first), functions.Iota)));
    }

    /// <summary>A value for each lane.</summary>
    private Expression ToLanes(Expression value, KernelScope scope)
    {
        if (functions.IsVector(value))
            return value;
        if (value is not ParameterExpression variable || scope.Lanes is not { } lanes || scope.DeclaresWithin(lanes.Loop.Preheader, variable))
            return functions.Broadcast(value);
        if (!lanes.Loop.Broadcasts.TryGetValue(value, out Expression? broadcast))
            lanes.Loop.Broadcasts[value] = broadcast = lanes.Loop.Preheader.Bind(functions.Broadcast(value));
        return broadcast;
    }

    /// <summary>Only the branch that is chosen may touch memory.</summary>
    private Expression EmitSelect(Expr.Apply select, KernelScope scope)
    {
        Expression condition = Emit(select.Operands[0], scope);
        if (!functions.IsVector(condition))
        {
            var then = new KernelScope(scope) { IsConditional = true };
            var otherwise = new KernelScope(scope) { IsConditional = true };
            Expression first = Emit(select.Operands[1], then), second = Emit(select.Operands[2], otherwise);
            if (scope.Lanes is not null)
                (first, second) = (ToLanes(first, then), ToLanes(second, otherwise));
            return Expression.Condition(condition, then.Close(first), otherwise.Close(second));
        }
        condition = scope.Bind(condition);
        return functions.Call(
            nameof(Lanes128.Select), condition,
            EmitWhere(select.Operands[1], condition, scope),
            EmitWhere(select.Operands[2], Expression.OnesComplement(condition), scope));
    }

    private Expression EmitWhere(Expr expression, Expression condition, KernelScope scope)
    {
        if (!expression.Loads())
            return ToLanes(Emit(expression, scope), scope);
        Expression mask = scope.Bind(scope.Mask is null ? condition : Expression.And(scope.Mask, condition));
        var branch = new KernelScope(scope) { IsConditional = true, Mask = mask };
        Expression value = ToLanes(Emit(expression, branch), branch);
        return branch.Close(value);
    }

    private Expression EmitApply(Expr.Apply apply, KernelScope scope)
    {
        Expression[] values = Array.ConvertAll(apply.Operands, o => Emit(o, scope));
        if (Array.Exists(values, functions.IsVector))
            values = Array.ConvertAll(values, v => ToLanes(v, scope));
        return values.Length == 1 ? Unary(apply.Operation, values[0]) : Binary(apply.Operation, values[0], values[1], apply.Operands[1]);
    }

    private Expression Unary(Operation operation, Expression x) => operation switch
    {
        Operation.Negate => Expression.Negate(x),
        Operation.Not => x.Type == typeof(bool) ? Expression.Not(x) : Expression.OnesComplement(x),
        _ => functions.Call(operation.ToString(), x),
    };

    private Expression Binary(Operation operation, Expression x, Expression y, Expr second)
    {
        bool vector = functions.IsVector(x);
        bool integer = x.Type == typeof(long) || x.Type == functions.Integers;
        return operation switch
        {
            Operation.Add => Expression.Add(x, y),
            Operation.Subtract => Expression.Subtract(x, y),
            Operation.Multiply => Expression.Multiply(x, y),
            Operation.Divide when !integer => Expression.Divide(x, y),
            Operation.Divide when vector && PowerOfTwo(second) is int bits => functions.Call(nameof(Lanes128.ShiftRight), x, Expression.Constant(bits)),
            Operation.Remainder when vector && PowerOfTwo(second) is int bits =>
                Expression.And(x, functions.Broadcast(Expression.Constant((1 << bits) - 1))),
            Operation.And => Expression.And(x, y),
            Operation.Or => Expression.Or(x, y),
            Operation.Less when !vector => Expression.LessThan(x, y),
            Operation.LessOrEqual when !vector => Expression.LessThanOrEqual(x, y),
            Operation.Equal when !vector => Expression.Equal(x, y),
            _ => functions.Call(operation.ToString(), x, y),
        };
    }

    private static int? PowerOfTwo(Expr expression) =>
        expression is Expr.Integer { Value: > 0 and <= 1 << 30 } integer && long.IsPow2(integer.Value) ? (int)long.Log2(integer.Value) : null;
}
