using System.Globalization;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using static Legato.Runtime.Plans.Operation;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Spells expressions of the kernel IR in CUDA C++. Names are looked up in scopes; loads that a loop has fetched ahead
/// stand among them.
/// </summary>
internal sealed class CudaExpressions(IReadOnlyList<KernelOperand> operands, Func<Extent, IntegerRange> bounds)
{
    private readonly Dictionary<string, CudaValue> variables = new(StringComparer.Ordinal);
    private readonly Dictionary<Expr.Load, CudaValue> fetched = [];
    private readonly List<Extent> extents = [];

    /// <summary>Sizes that are known at launch only, in the order of the kernel's parameters.</summary>
    public IReadOnlyList<Extent> Extents => extents;

    public void Define(string name, CudaValue value) => variables[name] = value;

    public void Fetch(Expr.Load load, CudaValue value) => fetched[load] = value;

    public void Forget(Expr.Load load) => fetched.Remove(load);

    /// <summary>What was fetched of such loads is no longer what memory holds.</summary>
    public void Forget(Predicate<Expr.Load> isStale)
    {
        foreach (Expr.Load load in fetched.Keys.Where(l => isStale(l)).ToList())
            fetched.Remove(load);
    }

    public CudaValue Of(Expr expression) => expression switch
    {
        Expr.Number number => CudaValue.Float(Number(number.Value)),
        Expr.Integer integer => Constant(integer.Value),
        Expr.Size size => OfExtent(size.Extent),
        Expr.Variable variable => variables.TryGetValue(variable.Name, out CudaValue known)
            ? known
            : throw new InvalidOperationException($"'{variable.Name}' is read before it is named"),
        Expr.Load load => fetched.TryGetValue(load, out CudaValue ahead) ? ahead : Load(load),
        Expr.Apply apply => Apply(apply),
        _ => throw new ArgumentOutOfRangeException(nameof(expression), expression.GetType().Name, "no known expression"),
    };

    /// <summary>The element offset that an index names.</summary>
    public CudaValue Offset(Plans.Index index)
    {
        CudaValue sum = Constant(0);
        foreach (IndexTerm term in index.Terms)
        {
            CudaValue product = Integers(Multiply, Of(term.Value), OfExtent(term.Stride));
            sum = sum.Text == "0" ? product : Integers(Add, sum, product);
        }
        return sum;
    }

    public CudaValue OfExtent(Extent extent)
    {
        if (extent.IsConstant)
            return Constant(extent.Constant);
        int at = extents.IndexOf(extent);
        if (at < 0)
        {
            at = extents.Count;
            extents.Add(extent);
        }
        IntegerRange range = bounds(extent);
        return CudaValue.Integer($"e{at}", range);
    }

    public static CudaValue Constant(long value) =>
        CudaValue.Integer(value is >= int.MinValue and <= int.MaxValue ? Text(value) : Text(value) + "ll", IntegerRange.Of(value));

    /// <summary>Arithmetic on integers in the narrowest type that holds operands and result.</summary>
    public static CudaValue Integers(Operation operation, CudaValue x, CudaValue y)
    {
        if (Simplified(operation, x, y) is { } simple)
            return simple;
        IntegerRange range = IntegerRange.Apply(operation, x.Range, y.Range);
        bool narrow = CudaValue.FitsInt(range) && CudaValue.FitsInt(x.Range) && CudaValue.FitsInt(y.Range);
        string type = narrow ? "int" : "long long";
        (string a, string b) = narrow ? (x.Text, y.Text) : ($"(long long){Atom(x)}", $"(long long){Atom(y)}");
        bool natural = x.Range.Low >= 0 && y.Range.Low > 0;
        string text = operation switch
        {
            Add => $"({a} + {b})",
            Subtract => $"({a} - {b})",
            Multiply => $"({a} * {b})",
            Divide when natural => $"({a} / {b})",
            Remainder when natural => $"({a} % {b})",
            Divide => $"floor_quotient<{type}>({a}, {b})",
            Remainder => $"floor_remainder<{type}>({a}, {b})",
            Minimum => $"lesser<{type}>({a}, {b})",
            Maximum => $"greater<{type}>({a}, {b})",
            Less => $"({a} < {b})",
            LessOrEqual => $"({a} <= {b})",
            Equal => $"({a} == {b})",
            _ => throw new ArgumentOutOfRangeException(nameof(operation), operation, "no operation on integers"),
        };
        if (operation is Less or LessOrEqual or Equal)
            return CudaValue.Boolean(text);
        return CudaValue.Integer(CudaValue.FitsInt(range) && !narrow ? $"(int){text}" : text, range);
    }

    private static CudaValue? Simplified(Operation operation, CudaValue x, CudaValue y) => operation switch
    {
        Add when x.Range == IntegerRange.Of(0) => y,
        Add or Subtract when y.Range == IntegerRange.Of(0) => x,
        Multiply when x.Range == IntegerRange.Of(1) => y,
        Multiply or Divide when y.Range == IntegerRange.Of(1) => x,
        Multiply when x.Range == IntegerRange.Of(0) || y.Range == IntegerRange.Of(0) => Constant(0),
        Add or Subtract or Multiply when IsConstant(x) && IsConstant(y) && IntegerRange.Apply(operation, x.Range, y.Range) is var r && r.Low == r.High => Constant(r.Low),
        _ => null,
    };

    private static bool IsConstant(CudaValue value) => value.Range.Low == value.Range.High;

    /// <summary>A load where it stands.</summary>
    private CudaValue Load(Expr.Load load) => Widened(operands[load.Operand].Type, $"p{load.Operand}[{Offset(load.At).Text}]");

    /// <summary>An element of memory as a value.</summary>
    public static CudaValue Widened(ScalarType type, string element) => type == ScalarType.I32
        ? CudaValue.Integer(element, new IntegerRange(int.MinValue, int.MaxValue))
        : CudaValue.Float(type == ScalarType.F32 ? element : $"widen({element})");

    private CudaValue Apply(Expr.Apply apply)
    {
        if (apply.Operation == Select)
            return Choice(Of(apply.Operands[0]), Of(apply.Operands[1]), Of(apply.Operands[2]));
        CudaValue x = Of(apply.Operands[0]);
        return apply.Operands.Length == 1 ? Unary(apply.Operation, x) : Binary(apply.Operation, x, Of(apply.Operands[1]));
    }

    private static CudaValue Choice(CudaValue condition, CudaValue then, CudaValue otherwise) =>
        new($"({condition.Text} ? {then.Text} : {otherwise.Text})", then.Kind, then.Range.Hull(otherwise.Range));

    private static CudaValue Unary(Operation operation, CudaValue x) => operation switch
    {
        Not => CudaValue.Boolean($"(!{x.Text})"),
        ToFloat => CudaValue.Float($"(float){Atom(x)}"),
        ToInteger => CudaValue.Integer($"(long long){Atom(x)}", IntegerRange.Any),
        IsFinite => CudaValue.Boolean($"is_finite({x.Text})"),
        Negate when x.Kind == ScalarKind.Integer => Integers(Subtract, Constant(0), x),
        Absolute when x.Kind == ScalarKind.Integer => CudaValue.Integer($"greater<long long>({x.Text}, -(long long){Atom(x)})", IntegerRange.Any),
        Negate => CudaValue.Float($"(-{x.Text})"),
        _ => CudaValue.Float($"{Function(operation)}({x.Text})"),
    };

    private static string Function(Operation operation) => operation switch
    {
        Absolute => "fabsf",
        Exp => "exponential",
        Log => "logf",
        Sqrt => "sqrtf",
        Rsqrt => "rsqrtf",
        Tanh => "hyperbolic_tangent",
        Sin => "sinf",
        Cos => "cosf",
        Erf => "erff",
        Floor => "floorf",
        _ => throw new ArgumentOutOfRangeException(nameof(operation), operation, "no operation of one operand"),
    };

    private static CudaValue Binary(Operation operation, CudaValue x, CudaValue y) => operation switch
    {
        And => CudaValue.Boolean($"({x.Text} && {y.Text})"),
        Or => CudaValue.Boolean($"({x.Text} || {y.Text})"),
        Operation.Random => CudaValue.Float($"uniform((unsigned){Atom(x)}, (unsigned long long){Atom(y)})"),
        _ when x.Kind == ScalarKind.Integer => Integers(operation, x, y),
        Add => CudaValue.Float($"({x.Text} + {y.Text})"),
        Subtract => CudaValue.Float($"({x.Text} - {y.Text})"),
        Multiply => CudaValue.Float($"({x.Text} * {y.Text})"),
        Divide => CudaValue.Float($"({x.Text} / {y.Text})"),
        Minimum => CudaValue.Float($"minimum({x.Text}, {y.Text})"),
        Maximum => CudaValue.Float($"maximum({x.Text}, {y.Text})"),
        Power => CudaValue.Float($"powf({x.Text}, {y.Text})"),
        Less => CudaValue.Boolean($"({x.Text} < {y.Text})"),
        LessOrEqual => CudaValue.Boolean($"({x.Text} <= {y.Text})"),
        Equal => CudaValue.Boolean($"({x.Text} == {y.Text})"),
        _ => throw new ArgumentOutOfRangeException(nameof(operation), operation, "no operation of two operands"),
    };

    // A cast binds tighter than what may stand in a text without brackets.
    private static string Atom(CudaValue value) => value.Text.StartsWith('-') || value.Text.Contains(' ') && !value.Text.StartsWith('(') ? $"({value.Text})" : value.Text;

    public static string Number(double value)
    {
        float single = (float)value;
        if (float.IsNaN(single))
            return "not_a_number()";
        if (float.IsInfinity(single))
            return single > 0 ? "infinity()" : "(-infinity())";
        string text = single.ToString("R", CultureInfo.InvariantCulture);
        text = (text.Contains('.') || text.Contains('E') ? text : text + ".0") + "f";
        return single < 0 || text[0] == '-' ? $"({text})" : text;
    }

    private static string Text(long value) => value < 0 ? $"({value.ToString(CultureInfo.InvariantCulture)})" : value.ToString(CultureInfo.InvariantCulture);
}
