using Legato.Runtime.Plans;
using static Legato.Runtime.Plans.Operation;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Spells what a mask makes of a box of positions (q0..q1 by k0..k1, ends included, of one batch row b and head h) by
/// interval arithmetic: <see cref="MaskTiles"/> for a GPU that learns at run time where its queries stand. Always sound; exact for a single
/// comparison of q, k and q - k.
/// </summary>
/// <param name="size">Spells a size.</param>
internal sealed class CudaMaskKind(Func<Extent, string> size)
{
    private static readonly Truths Unknown = new("true", "false");

    /// <summary>An expression of CUDA C++: 0 where the mask hides every pair, 2 where it admits every pair, 1 where neither is known.</summary>
    public string Of(Expr mask)
    {
        Truths truths = Truth(mask);
        return $"{truths.Must} ? 2 : {truths.May} ? 1 : 0";
    }

    private Truths Truth(Expr expression) => expression switch
    {
        Expr.Apply { Operation: Not, Operands: [var x] } => Opposite(Truth(x)),
        Expr.Apply { Operation: And, Operands: [var x, var y] } => Both(Truth(x), Truth(y), "&&"),
        Expr.Apply { Operation: Or, Operands: [var x, var y] } => Both(Truth(x), Truth(y), "||"),
        Expr.Apply { Operands: [var x, var y] } comparison when Range(x) is { } a && Range(y) is { } b => Compared(comparison.Operation, a, b),
        _ => Unknown,
    };

    private static Truths Opposite(Truths x) => new($"!({x.Must})", $"!({x.May})");

    private static Truths Both(Truths x, Truths y, string sign) => new($"({x.May} {sign} {y.May})", $"({x.Must} {sign} {y.Must})");

    private static Truths Compared(Operation operation, Ends a, Ends b) => operation switch
    {
        Less => new($"({a.Low} < {b.High})", $"({a.High} < {b.Low})"),
        LessOrEqual => new($"({a.Low} <= {b.High})", $"({a.High} <= {b.Low})"),
        Equal => new($"({a.Low} <= {b.High} && {b.Low} <= {a.High})", $"({a.Low} == {b.High} && {a.High} == {b.Low})"),
        _ => Unknown,
    };

    /// <summary>The ends of an integer's range; null where they aren't known.</summary>
    private Ends? Range(Expr expression) => expression switch
    {
        Expr.Integer integer => Point(CudaExpressions.Constant(integer.Value).Text),
        Expr.Size s => Point($"(long long){size(s.Extent)}"),
        Expr.Variable { Name: "q" } => new Ends("(long long)q0", "(long long)q1"),
        Expr.Variable { Name: "k" } => new Ends("(long long)k0", "(long long)k1"),
        Expr.Variable { Name: "b" or "h" } variable => Point($"(long long){variable.Name}"),
        Expr.Apply { Operation: Negate, Operands: [var x] } when Range(x) is { } a => new Ends($"(-{a.High})", $"(-{a.Low})"),
        Expr.Apply { Operation: Multiply, Operands: [var x, Expr.Integer { Value: >= 0 } factor] } when Range(x) is { } a => Scaled(a, factor.Value),
        Expr.Apply { Operation: Multiply, Operands: [Expr.Integer { Value: >= 0 } factor, var x] } when Range(x) is { } a => Scaled(a, factor.Value),
        Expr.Apply { Operation: Divide, Operands: [var x, Expr.Integer { Value: > 0 } divisor] } when Range(x) is { } a => new Ends(
            $"floor_quotient<long long>({a.Low}, {divisor.Value})", $"floor_quotient<long long>({a.High}, {divisor.Value})"),
        Expr.Apply { Operands: [var x, var y] } apply when Range(x) is { } a && Range(y) is { } b => Combined(apply.Operation, a, b),
        Expr.Apply { Operation: Select, Operands: [_, var x, var y] } when Range(x) is { } a && Range(y) is { } b => new Ends(
            $"lesser<long long>({a.Low}, {b.Low})", $"greater<long long>({a.High}, {b.High})"),
        _ => null,
    };

    private static Ends Point(string text) => new(text, text);

    private static Ends Scaled(Ends a, long factor) => new($"({a.Low} * {factor})", $"({a.High} * {factor})");

    private static Ends? Combined(Operation operation, Ends a, Ends b) => operation switch
    {
        Add => new Ends($"({a.Low} + {b.Low})", $"({a.High} + {b.High})"),
        Subtract => new Ends($"({a.Low} - {b.High})", $"({a.High} - {b.Low})"),
        Minimum => new Ends($"lesser<long long>({a.Low}, {b.Low})", $"lesser<long long>({a.High}, {b.High})"),
        Maximum => new Ends($"greater<long long>({a.Low}, {b.Low})", $"greater<long long>({a.High}, {b.High})"),
        _ => null,
    };

    /// <summary>Whether a boolean is true of some pair, and of every pair: conditions, the first never too narrow, the second never too wide.</summary>
    private readonly record struct Truths(string May, string Must);

    /// <summary>The least and the greatest value, spelled as <c>long long</c>.</summary>
    private readonly record struct Ends(string Low, string High);
}
