using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>What each <see cref="Operation"/> means, on values that know their kind.</summary>
internal static class Arithmetic
{
    public static Scalar Apply(Operation operation, Scalar x) => operation switch
    {
        Operation.Negate => x.Kind == ScalarKind.Integer ? (Scalar)(-x.Integer) : -x.Float,
        Operation.Absolute => x.Kind == ScalarKind.Integer ? (Scalar)Math.Abs(x.Integer) : Math.Abs(x.Float),
        Operation.Not => !x.Boolean,
        Operation.ToFloat => (double)x.Integer,
        Operation.ToInteger => (long)x.Float,
        Operation.IsFinite => float.IsFinite((float)x.Float),
        _ => Function(operation, x.Float),
    };

    public static Scalar Apply(Operation operation, Scalar x, Scalar y) => operation switch
    {
        Operation.And => x.Boolean && y.Boolean,
        Operation.Or => x.Boolean || y.Boolean,
        Operation.Random => (double)Philox.Uniform(x.Integer, y.Integer),
        _ => x.Kind == ScalarKind.Integer ? Integers(operation, x.Integer, y.Integer) : Floats(operation, x.Float, y.Float),
    };

    private static Scalar Function(Operation operation, double x) => operation switch
    {
        Operation.Exp => Math.Exp(x),
        Operation.Log => Math.Log(x),
        Operation.Sqrt => Math.Sqrt(x),
        Operation.Rsqrt => 1 / Math.Sqrt(x),
        Operation.Tanh => Math.Tanh(x),
        Operation.Sin => Math.Sin(x),
        Operation.Cos => Math.Cos(x),
        Operation.Erf => ErrorFunction.Erf(x),
        Operation.Floor => Math.Floor(x),
        _ => throw new ArgumentOutOfRangeException(nameof(operation), operation, "no operation of one operand"),
    };

    private static Scalar Integers(Operation operation, long x, long y) => operation switch
    {
        Operation.Add => x + y,
        Operation.Subtract => x - y,
        Operation.Multiply => x * y,
        Operation.Divide => (x - FloorRemainder(x, y)) / y,
        Operation.Remainder => FloorRemainder(x, y),
        Operation.Minimum => Math.Min(x, y),
        Operation.Maximum => Math.Max(x, y),
        Operation.Less => x < y,
        Operation.LessOrEqual => x <= y,
        Operation.Equal => x == y,
        _ => throw new ArgumentOutOfRangeException(nameof(operation), operation, "no operation on integers"),
    };

    private static Scalar Floats(Operation operation, double x, double y) => operation switch
    {
        Operation.Add => x + y,
        Operation.Subtract => x - y,
        Operation.Multiply => x * y,
        Operation.Divide => x / y,
        Operation.Minimum => Math.Min(x, y),
        Operation.Maximum => Math.Max(x, y),
        Operation.Power => Math.Pow(x, y),
        Operation.Less => x < y,
        Operation.LessOrEqual => x <= y,
        Operation.Equal => x == y,
        _ => throw new ArgumentOutOfRangeException(nameof(operation), operation, "no operation on floats"),
    };

    /// <summary>Of a division by a positive number; never negative.</summary>
    private static long FloorRemainder(long x, long y)
    {
        long remainder = x % y;
        return remainder < 0 ? remainder + y : remainder;
    }
}
