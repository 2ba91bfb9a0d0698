using static Legato.Runtime.Plans.Operation;

namespace Legato.Runtime.Plans;

/// <summary>
/// The integers from <paramref name="Low"/> to <paramref name="High"/>, both included: all that is known of a value.
/// Booleans are 0 and 1. <see cref="Any"/> stands for a value of any type of which nothing is known.
/// </summary>
public readonly record struct IntegerRange(long Low, long High)
{
    public static IntegerRange Any { get; } = new(long.MinValue, long.MaxValue);

    public static IntegerRange Unsure { get; } = new(0, 1);

    public static IntegerRange True { get; } = new(1, 1);

    public static IntegerRange False { get; } = new(0, 0);

    public static IntegerRange Of(long value) => new(value, value);

    /// <summary>Whether a boolean's range says that it is true.</summary>
    public bool IsTrue => Low == 1 && High == 1;

    /// <summary>Whether a boolean's range says that it is false.</summary>
    public bool IsFalse => Low == 0 && High == 0;

    /// <summary>The smallest range that holds both.</summary>
    public IntegerRange Hull(IntegerRange other) => new(Math.Min(Low, other.Low), Math.Max(High, other.High));

    /// <summary>
    /// Interval arithmetic: a range that holds every value that <paramref name="operation"/> can give for operands in
    /// the given ranges. Floats and whatever may overflow are <see cref="Any"/>.
    /// </summary>
    public static IntegerRange Apply(Operation operation, IntegerRange a) => operation switch
    {
        Not => a.AsBoolean() is var x ? new(1 - x.High, 1 - x.Low) : default,
        Negate => Fit(-(Int128)a.High, -(Int128)a.Low),
        Absolute when a.Low >= 0 => a,
        Absolute => Fit(a.High <= 0 ? -(Int128)a.High : 0, Int128.Max(-(Int128)a.Low, a.High)),
        IsFinite => Unsure,
        _ => Any,
    };

    /// <inheritdoc cref="Apply(Operation, IntegerRange)"/>
    public static IntegerRange Apply(Operation operation, IntegerRange a, IntegerRange b) => operation switch
    {
        Add => Fit((Int128)a.Low + b.Low, (Int128)a.High + b.High),
        Subtract => Fit((Int128)a.Low - b.High, (Int128)a.High - b.Low),
        Multiply => Product(a, b),
        Divide => Quotient(a, b),
        Remainder => Modulo(a, b),
        Minimum => new(Math.Min(a.Low, b.Low), Math.Min(a.High, b.High)),
        Maximum => new(Math.Max(a.Low, b.Low), Math.Max(a.High, b.High)),
        Less => Truth(a.High < b.Low, a.Low >= b.High),
        LessOrEqual => Truth(a.High <= b.Low, a.Low > b.High),
        Equal => Truth(a.Low == a.High && a == b, a.High < b.Low || b.High < a.Low),
        And => a.AsBoolean() is var x && b.AsBoolean() is var y ? new(x.Low & y.Low, x.High & y.High) : default,
        Or => a.AsBoolean() is var x && b.AsBoolean() is var y ? new(x.Low | y.Low, x.High | y.High) : default,
        _ => Any,
    };

    private IntegerRange AsBoolean() => new(Math.Clamp(Low, 0, 1), Math.Clamp(High, 0, 1));

    private static IntegerRange Truth(bool always, bool never) => always ? True : never ? False : Unsure;

    private static IntegerRange Product(IntegerRange a, IntegerRange b)
    {
        Int128 p = (Int128)a.Low * b.Low, q = (Int128)a.Low * b.High, r = (Int128)a.High * b.Low, s = (Int128)a.High * b.High;
        return Fit(Int128.Min(Int128.Min(p, q), Int128.Min(r, s)), Int128.Max(Int128.Max(p, q), Int128.Max(r, s)));
    }

    private static IntegerRange Quotient(IntegerRange a, IntegerRange b)
    {
        if (b.Low <= 0 && b.High >= 0)
            return Any;
        Int128 p = Floor(a.Low, b.Low), q = Floor(a.Low, b.High), r = Floor(a.High, b.Low), s = Floor(a.High, b.High);
        return Fit(Int128.Min(Int128.Min(p, q), Int128.Min(r, s)), Int128.Max(Int128.Max(p, q), Int128.Max(r, s)));
    }

    private static IntegerRange Modulo(IntegerRange a, IntegerRange b)
    {
        if (b.Low <= 0)
            return Any;
        Int128 block = Floor(a.Low, b.Low);
        return b.Low == b.High && block == Floor(a.High, b.Low)
            ? Fit(a.Low - block * b.Low, a.High - block * b.Low)
            : new(0, a.Low >= 0 ? Math.Min(a.High, b.High - 1) : b.High - 1);
    }

    private static Int128 Floor(Int128 a, Int128 b)
    {
        Int128 quotient = a / b;
        return quotient * b != a && a < 0 != b < 0 ? quotient - 1 : quotient;
    }

    private static IntegerRange Fit(Int128 low, Int128 high) =>
        low < long.MinValue || high > long.MaxValue ? Any : new((long)low, (long)high);
}
