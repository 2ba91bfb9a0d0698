using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>The value of an integer expression that is made of constants and sizes.</summary>
internal static class LaunchValue
{
    public static long Of(Expr expression, Func<Extent, long> size) => expression switch
    {
        Expr.Integer integer => integer.Value,
        Expr.Size s => size(s.Extent),
        Expr.Apply { Operands: [var x, var y] } apply => Of(apply.Operation, Of(x, size), Of(y, size)),
        _ => throw new ArgumentOutOfRangeException(nameof(expression), expression, "no value that is known at launch"),
    };

    private static long Of(Operation operation, long x, long y) => operation switch
    {
        Operation.Add => x + y,
        Operation.Subtract => x - y,
        Operation.Multiply => x * y,
        Operation.Divide => (x - (x % y + y) % y) / y,
        Operation.Remainder => (x % y + y) % y,
        Operation.Minimum => Math.Min(x, y),
        Operation.Maximum => Math.Max(x, y),
        _ => throw new ArgumentOutOfRangeException(nameof(operation), operation, "no operation of a launch"),
    };
}
