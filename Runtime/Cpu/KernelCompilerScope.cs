using System.Linq.Expressions;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// A block of generated code while it grows: its variables, its statements, and what is known to have been computed.
/// </summary>
internal sealed class KernelScope(KernelScope? parent)
{
    private readonly List<ParameterExpression> variables = [];
    private readonly List<Expression> code = [];
    private readonly Dictionary<Expr, Expression> known = [];
    private readonly Dictionary<(int Operand, Plans.Index At), Expression> addresses = [];

    private KernelScope? Outer { get; } = parent;

    /// <summary>The vector loop's iteration that this code is one of; null in scalar code.</summary>
    public KernelLanes? Lanes { get; init; } = parent?.Lanes;

    /// <summary>
    /// Whether this code runs under a condition, so that its loads must not be moved out of it.
    /// </summary>
    public bool IsConditional { get; init; } = parent?.IsConditional ?? false;

    /// <summary>The lanes whose memory may be touched; null for all.</summary>
    public Expression? Mask { get; init; } = parent?.Mask;

    /// <summary>Whether what the enclosing scopes have loaded may have been overwritten here.</summary>
    public bool HidesLoads { get; init; }

    /// <summary>Whether stores inside leave its loads as they are (a vector loop hoists only such).</summary>
    public bool KeepsLoads { get; init; }

    public void Add(Expression statement) => code.Add(statement);

    /// <summary>A variable of this block.</summary>
    public ParameterExpression Declare(Type type)
    {
        ParameterExpression variable = Expression.Variable(type);
        variables.Add(variable);
        return variable;
    }

    /// <summary>Computes a value here, once.</summary>
    public Expression Bind(Expression value)
    {
        if (value is ParameterExpression or ConstantExpression)
            return value;
        ParameterExpression variable = Declare(value.Type);
        code.Add(Expression.Assign(variable, value));
        return variable;
    }

    public void Define(string name, Expression value) => known[new Expr.Variable(name)] = value;

    public Expression Remember(Expr expression, Expression value) => known[expression] = value;

    public Expression? Find(Expr expression)
    {
        bool hidden = false;
        for (KernelScope? scope = this; scope is not null; scope = scope.Outer)
        {
            if (scope.known.TryGetValue(expression, out Expression? value) && !(hidden && expression.Loads()))
                return value;
            hidden |= scope.HidesLoads;
        }
        return null;
    }

    /// <summary>Whether a variable belongs to this scope or one around it inside of <paramref name="outer"/>.</summary>
    public bool DeclaresWithin(KernelScope outer, ParameterExpression variable)
    {
        for (KernelScope? scope = this; scope is not null && scope != outer; scope = scope.Outer)
            if (scope.variables.Contains(variable))
                return true;
        return false;
    }

    public Expression? FindAddress(int operand, Plans.Index at) => addresses.GetValueOrDefault((operand, at));

    public Expression RememberAddress(int operand, Plans.Index at, Expression address) => addresses[(operand, at)] = address;

    /// <summary>A store has happened: loads before it are no longer known.</summary>
    public void ForgetLoads()
    {
        for (KernelScope? scope = this; scope is not null; scope = scope.Outer)
            if (!scope.KeepsLoads)
                foreach (Expr expression in scope.known.Keys.Where(e => e.Loads()).ToList())
                    scope.known.Remove(expression);
    }

    /// <summary>The block, with a result or further statements after it.</summary>
    public Expression Close(params ReadOnlySpan<Expression> last)
    {
        code.AddRange(last);
        return variables.Count == 0 && code.Count == 1 ? code[0] : Expression.Block(variables, code);
    }
}

/// <summary>One copy of a vector loop's body.</summary>
/// <param name="Loop">The loop.</param>
/// <param name="Position">The loop variable of lane 0, but for the shift.</param>
/// <param name="Shift">How many elements this copy lies behind the first.</param>
/// <param name="Partials">The vectors that accumulators gather in.</param>
internal sealed record KernelLanes(
    KernelVectorLoop Loop, Expression Position, int Shift, IReadOnlyDictionary<string, ParameterExpression> Partials);

/// <summary>A vector loop while its body is generated.</summary>
/// <param name="Variable">Its loop variable.</param>
/// <param name="Preheader">Where values that don't vary in the loop are computed.</param>
/// <param name="Stored">The operands that the body writes.</param>
internal sealed record KernelVectorLoop(string Variable, KernelScope Preheader, IReadOnlySet<int> Stored)
{
    /// <summary>Integers that the body names and that differ from lane to lane.</summary>
    public Dictionary<string, Expr> IntegerLets { get; } = [];

    /// <summary>Scalars that have been made vectors.</summary>
    public Dictionary<Expression, Expression> Broadcasts { get; } = [];
}
