using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// GELU by a hyperbolic tangent (Hendrycks and Gimpel 2016), the one that cuBLASLt computes behind a product, and its slope. They are
/// told by their values: kernels may spell them in any way.
/// </summary>
internal static class TanhGelu
{
    private const double Scale = 0.7978845608028654, Cubic = 0.044715, Tolerance = 1e-9;

    /// <summary>Where functions are compared: they are nowhere else alike by chance.</summary>
    private static readonly double[] points = [.. Enumerable.Range(-40, 81).Select(i => 0.17 * i)];

    /// <summary>Whether an expression is GELU of x.</summary>
    /// <param name="names">What variables in it stand for.</param>
    public static bool Is(Expr expression, Expr x, IReadOnlyList<Statement.Let> names) => Agrees(expression, x, names, Value);

    /// <summary>Whether it is the slope of GELU at x.</summary>
    public static bool IsSlope(Expr expression, Expr x, IReadOnlyList<Statement.Let> names) => Agrees(expression, x, names, Slope);

    private static bool Agrees(Expr expression, Expr x, IReadOnlyList<Statement.Let> names, Func<double, double> function) =>
        Array.TrueForAll(points, at => Evaluate(expression, x, at, names) is { } value && Math.Abs(value - function(at)) < Tolerance);

    private static double Value(double x) => 0.5 * x * (1 + Math.Tanh(Inner(x)));

    private static double Slope(double x)
    {
        double tanh = Math.Tanh(Inner(x));
        return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * Scale * (1 + 3 * Cubic * x * x);
    }

    private static double Inner(double x) => Scale * (x + Cubic * x * x * x);

    /// <summary>Null where it is made of anything but x, numbers and functions of floats.</summary>
    private static double? Evaluate(Expr expression, Expr x, double at, IReadOnlyList<Statement.Let> names)
    {
        double? Of(Expr e) => Evaluate(e, x, at, names);
        if (expression.Equals(x))
            return at;
        return expression switch
        {
            Expr.Number number => number.Value,
            Expr.Variable variable when names.FirstOrDefault(n => n.Name == variable.Name) is { } name => Of(name.Value),
            Expr.Apply { Operation: Operation.Negate or Operation.Tanh, Operands: [var a] } apply => Of(a) is { } v ? Arithmetic.Apply(apply.Operation, v).Float : null,
            Expr.Apply { Operation: Operation.Add or Operation.Subtract or Operation.Multiply or Operation.Divide, Operands: [var a, var b] } apply =>
                Of(a) is { } v && Of(b) is { } w ? Arithmetic.Apply(apply.Operation, v, w).Float : null,
            _ => null,
        };
    }
}
