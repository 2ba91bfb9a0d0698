using System.Globalization;

namespace Legato.Runtime.Plans;

/// <summary>Element types of buffers.</summary>
public enum ScalarType
{
    F32,
    BF16,
    F16,
    I32,
}

public static class ScalarTypes
{
    /// <summary>Bytes of one element.</summary>
    public static int Size(this ScalarType type) => type is ScalarType.F32 or ScalarType.I32 ? 4 : 2;
}

/// <summary>
/// The operations of the kernel IR. Arithmetic works on floats (float32) and on integers (64-bit);
/// comparisons give booleans; there is no implicit conversion.
/// </summary>
public enum Operation
{
    // one operand
    Negate, Absolute, Exp, Log, Sqrt, Rsqrt, Tanh, Sin, Cos, Erf, Floor, Not, ToFloat, ToInteger, IsFinite,

    // two operands; Divide on integers is the floor of the quotient and Remainder is never negative
    Add, Subtract, Multiply, Divide, Remainder, Minimum, Maximum, Power,
    Less, LessOrEqual, Equal, And, Or,

    /// <summary>Random(seed, counter), both integers: a uniform float in [0, 1) that depends on nothing else (Philox 2x32-10).</summary>
    Random,

    // three operands: condition, then, else
    Select,
}

/// <summary>
/// A closed scalar expression: what one element of a kernel computes, what an epilogue does to an element of a
/// matrix product, which keys a query may see. Data, so that every device can spell it in its own way.
/// </summary>
public abstract record Expr
{
    private Expr()
    {
    }

    /// <summary>A float32 constant.</summary>
    public sealed record Number(double Value) : Expr
    {
        public override string ToString() => Value switch
        {
            double.PositiveInfinity => "inf",
            double.NegativeInfinity => "-inf",
            _ => Value.ToString("R", CultureInfo.InvariantCulture) is var t && t.Contains('.') ? t : t + "f",
        };
    }

    /// <summary>An integer constant.</summary>
    public sealed record Integer(long Value) : Expr
    {
        public override string ToString() => Value.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>A size as an integer; its dynamic dimensions are bound at launch.</summary>
    public sealed record Size(Extent Extent) : Expr
    {
        public override string ToString() => $"[{Extent}]";
    }

    /// <summary>A loop index (integer), a let, an accumulator, or one of the kernel's free arguments (integer).</summary>
    public sealed record Variable(string Name) : Expr
    {
        public override string ToString() => Name;
    }

    /// <summary>An element of an operand: floats are widened to float32, I32 becomes an integer.</summary>
    public sealed record Load(int Operand, Index At) : Expr
    {
        public override string ToString() => $"${Operand}{At}";
    }

    public sealed record Apply(Operation Operation, params Expr[] Operands) : Expr
    {
        public bool Equals(Apply? other) =>
            other is not null && Operation == other.Operation && Operands.AsSpan().SequenceEqual(other.Operands);

        public override int GetHashCode() => HashCode.Combine(Operation, Operands.Length > 0 ? Operands[0] : null, Operands.Length > 1 ? Operands[1] : null);

        public override string ToString() => $"{Operation}({string.Join<Expr>(", ", Operands)})";
    }
}

/// <summary>
/// An element offset into an operand: the sum of value × stride. A value is a loop variable or any integer
/// expression (a gather). Vectorising over a loop variable asks for a term of that variable with stride 1.
/// </summary>
public sealed record Index(params IndexTerm[] Terms)
{
    public bool Equals(Index? other) => other is not null && Terms.AsSpan().SequenceEqual(other.Terms);

    public override int GetHashCode() => Terms.Length == 0 ? 0 : HashCode.Combine(Terms.Length, Terms[0]);

    public override string ToString() => $"[{string.Join<IndexTerm>(" + ", Terms)}]";
}

/// <summary>One summand of an index: an integer expression times a stride in elements.</summary>
public sealed record IndexTerm(Expr Value, Extent Stride)
{
    public override string ToString() => Stride.Equals(Extent.One) ? Value.ToString()! : $"{Value}*({Stride})";
}
