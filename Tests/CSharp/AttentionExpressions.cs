using Legato.Runtime.Plans;
using static Legato.Runtime.Plans.Operation;

namespace Legato.Tests;

/// <summary>Masks and score modifications as models write them, and their meaning in float64.</summary>
internal static class AttentionExpressions
{
    public static readonly Expr B = new Expr.Variable("b"), H = new Expr.Variable("h"), Q = new Expr.Variable("q"), K = new Expr.Variable("k");
    private static readonly Expr Score = new Expr.Variable("score");

    public static Expr Causal => Make(LessOrEqual, K, Q);

    public static Expr Prefix(long length) => Make(Or, Causal, Make(Less, K, Of(length)));

    public static Expr Window(long width) => Make(Less, Make(Subtract, Q, K), Of(width));

    /// <summary>Query and key lie in the same document: extra operand 0 is [batch, positions] of I32.</summary>
    public static Expr SameDocument(long positions) => Make(Equal, Document(Q, positions), Document(K, positions));

    public static Expr SoftCap(double cap) => Make(Multiply, Number(cap), Make(Tanh, Make(Divide, Score, Number(cap))));

    /// <summary>score - (q - k) · 2^-(h + 1).</summary>
    public static Expr Alibi => Make(
        Subtract, Score,
        Make(Multiply, Make(ToFloat, Make(Subtract, Q, K)), Make(Power, Number(0.5), Make(ToFloat, Make(Add, H, Of(1))))));

    public static Expr Of(long value) => new Expr.Integer(value);

    public static Expr Number(double value) => new Expr.Number(value);

    public static Expr Make(Operation operation, params Expr[] operands) => new Expr.Apply(operation, operands);

    public static long Integer(Expr e, long b, long h, long q, long k, Func<long, long>? extra = null)
    {
        long At(Expr x) => Integer(x, b, h, q, k, extra);
        return e switch
        {
            Expr.Integer integer => integer.Value,
            Expr.Variable { Name: "b" } => b,
            Expr.Variable { Name: "h" } => h,
            Expr.Variable { Name: "q" } => q,
            Expr.Variable { Name: "k" } => k,
            Expr.Load load => extra!(load.At.Terms.Sum(term => At(term.Value) * term.Stride.Constant)),
            Expr.Apply { Operation: Select, Operands: [var c, var x, var y] } => At(c) != 0 ? At(x) : At(y),
            Expr.Apply { Operation: Not, Operands: [var x] } => 1 - At(x),
            Expr.Apply { Operation: Negate, Operands: [var x] } => -At(x),
            Expr.Apply { Operation: Absolute, Operands: [var x] } => Math.Abs(At(x)),
            Expr.Apply { Operands: [var x, var y] } apply => Binary(apply.Operation, At(x), At(y)),
            _ => throw new ArgumentException($"{e} is no integer"),
        };
    }

    public static double Float(Expr e, long h, long q, long k, double score)
    {
        double At(Expr x) => Float(x, h, q, k, score);
        return e switch
        {
            Expr.Number number => number.Value,
            Expr.Variable { Name: "score" } => score,
            Expr.Apply { Operation: ToFloat, Operands: [var x] } => Integer(x, 0, h, q, k),
            Expr.Apply { Operation: Tanh, Operands: [var x] } => Math.Tanh(At(x)),
            Expr.Apply { Operation: Add, Operands: [var x, var y] } => At(x) + At(y),
            Expr.Apply { Operation: Subtract, Operands: [var x, var y] } => At(x) - At(y),
            Expr.Apply { Operation: Multiply, Operands: [var x, var y] } => At(x) * At(y),
            Expr.Apply { Operation: Divide, Operands: [var x, var y] } => At(x) / At(y),
            Expr.Apply { Operation: Power, Operands: [var x, var y] } => Math.Pow(At(x), At(y)),
            _ => throw new ArgumentException($"{e} is no float"),
        };
    }

    private static Expr Document(Expr position, long positions) =>
        new Expr.Load(0, new Legato.Runtime.Plans.Index(new IndexTerm(B, positions), new IndexTerm(position, Extent.One)));

    private static long Binary(Operation operation, long x, long y) => operation switch
    {
        Add => x + y,
        Subtract => x - y,
        Multiply => x * y,
        Divide => Floor(x, y),
        Remainder => x - y * Floor(x, y),
        Minimum => Math.Min(x, y),
        Maximum => Math.Max(x, y),
        Less => x < y ? 1 : 0,
        LessOrEqual => x <= y ? 1 : 0,
        Equal => x == y ? 1 : 0,
        And => x & y,
        Or => x | y,
        _ => throw new ArgumentException($"{operation} is none of integers"),
    };

    private static long Floor(long x, long y)
    {
        long quotient = x / y;
        return quotient * y != x && x < 0 != y < 0 ? quotient - 1 : quotient;
    }
}
