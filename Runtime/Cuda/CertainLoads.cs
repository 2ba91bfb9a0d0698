using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Loads that may be made whatever a choice between two values turns out to be. A choice by positions or sizes may guard a load that
/// would be out of bounds: that one waits for it. A choice by data doesn't, since what is loaded lies where positions say.
/// </summary>
internal static class CertainLoads
{
    public static IEnumerable<Expr.Load> Of(Expr expression, IReadOnlyList<OperandMemory> operands, IEnumerable<Statement.Let> lets) => expression switch
    {
        Expr.Load load => load.At.Terms.SelectMany(t => Of(t.Value, operands, lets)).Append(load),
        Expr.Apply { Operation: Operation.Select, Operands: [var condition, ..] } apply when IsOfPlaces(condition, operands, lets) => Of(condition, operands, lets),
        Expr.Apply apply => apply.Operands.SelectMany(o => Of(o, operands, lets)),
        _ => [],
    };

    /// <summary>Whether a condition may compare positions or sizes.</summary>
    private static bool IsOfPlaces(Expr condition, IReadOnlyList<OperandMemory> operands, IEnumerable<Statement.Let> lets) => condition switch
    {
        Expr.Apply { Operation: Operation.IsFinite } => false,
        Expr.Apply { Operation: Operation.Not or Operation.And or Operation.Or } both => both.Operands.Any(o => IsOfPlaces(o, operands, lets)),
        Expr.Apply { Operation: Operation.Less or Operation.LessOrEqual or Operation.Equal } comparison =>
            !comparison.Operands.Any(o => IsFloat(o, operands, lets)),
        Expr.Variable variable when Named(variable, lets) is { } value => IsOfPlaces(value, operands, lets),
        _ => true,
    };

    /// <summary>Whether a value is certainly no integer.</summary>
    private static bool IsFloat(Expr value, IReadOnlyList<OperandMemory> operands, IEnumerable<Statement.Let> lets) => value switch
    {
        Expr.Number => true,
        Expr.Load load => operands[load.Operand].Type != ScalarType.I32,
        Expr.Variable variable => Named(variable, lets) is { } named && IsFloat(named, operands, lets),
        Expr.Apply { Operation: Operation.ToFloat or Operation.Random } => true,
        Expr.Apply { Operation: Operation.ToInteger } => false,
        Expr.Apply { Operation: Operation.Select, Operands: [_, var then, var otherwise] } => IsFloat(then, operands, lets) || IsFloat(otherwise, operands, lets),
        Expr.Apply apply => apply.Operands.Any(o => IsFloat(o, operands, lets)),
        _ => false,
    };

    private static Expr? Named(Expr.Variable variable, IEnumerable<Statement.Let> lets) => lets.LastOrDefault(l => l.Name == variable.Name)?.Value;
}
