namespace Legato.Runtime.Interpreter;

internal enum ScalarKind
{
    Float,
    Integer,
    Boolean,
}

/// <summary>A value of an expression, with the kind that it has; reading it as another kind is a defect of the plan.</summary>
internal readonly struct Scalar
{
    private readonly double real;
    private readonly long whole;

    private Scalar(ScalarKind kind, double real, long whole) => (Kind, this.real, this.whole) = (kind, real, whole);

    public ScalarKind Kind { get; }

    public double Float => Kind == ScalarKind.Float ? real : throw Mismatch(ScalarKind.Float);

    public long Integer => Kind == ScalarKind.Integer ? whole : throw Mismatch(ScalarKind.Integer);

    public bool Boolean => Kind == ScalarKind.Boolean ? whole != 0 : throw Mismatch(ScalarKind.Boolean);

    public static implicit operator Scalar(double value) => new(ScalarKind.Float, value, 0);

    public static implicit operator Scalar(long value) => new(ScalarKind.Integer, 0, value);

    public static implicit operator Scalar(bool value) => new(ScalarKind.Boolean, 0, value ? 1 : 0);

    private InvalidOperationException Mismatch(ScalarKind asked) => new($"a {Kind} stands where a {asked} is asked for");
}
