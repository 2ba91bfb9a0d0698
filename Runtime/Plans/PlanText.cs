using System.Globalization;
using System.Text;

namespace Legato.Runtime.Plans;

/// <summary>
/// Expressions as text and back. Numbers end in 'f' (1.5f, -inff, nanf), integers are bare, a size stands in braces
/// ({768*batch}), a load is operand and index ($0[i*(768) + j]), everything else is Operation(…) or a name.
/// </summary>
internal static class PlanText
{
    public static string Write(Expr expr)
    {
        var text = new StringBuilder();
        Append(text, expr);
        return text.ToString();
    }

    public static string Write(Index index)
    {
        var text = new StringBuilder();
        Append(text, index);
        return text.ToString();
    }

    /// <exception cref="FormatException">The text is no expression.</exception>
    public static Expr ReadExpr(string text) => PlanTextReader.ReadExpr(text);

    /// <exception cref="FormatException">The text is no index.</exception>
    public static Index ReadIndex(string text) => PlanTextReader.ReadIndex(text);

    private static void Append(StringBuilder text, Expr expr)
    {
        switch (expr)
        {
            case Expr.Number number:
                text.Append(Number(number.Value)).Append('f');
                break;
            case Expr.Integer integer:
                text.Append(integer.Value.ToString(CultureInfo.InvariantCulture));
                break;
            case Expr.Size size:
                text.Append('{').Append(size.Extent).Append('}');
                break;
            case Expr.Variable variable:
                text.Append(variable.Name);
                break;
            case Expr.Load load:
                text.Append('$').Append(load.Operand.ToString(CultureInfo.InvariantCulture));
                Append(text, load.At);
                break;
            case Expr.Apply apply:
                AppendApply(text, apply);
                break;
        }
    }

    private static void AppendApply(StringBuilder text, Expr.Apply apply)
    {
        text.Append(apply.Operation).Append('(');
        for (int i = 0; i < apply.Operands.Length; i++)
        {
            if (i > 0)
                text.Append(", ");
            Append(text, apply.Operands[i]);
        }
        text.Append(')');
    }

    private static void Append(StringBuilder text, Index index)
    {
        text.Append('[');
        for (int i = 0; i < index.Terms.Length; i++)
        {
            if (i > 0)
                text.Append(" + ");
            Append(text, index.Terms[i].Value);
            if (!index.Terms[i].Stride.Equals(Extent.One))
                text.Append("*(").Append(index.Terms[i].Stride).Append(')');
        }
        text.Append(']');
    }

    private static string Number(double value) => double.IsNaN(value)
        ? "nan"
        : double.IsInfinity(value) ? (value > 0 ? "inf" : "-inf") : value.ToString("R", CultureInfo.InvariantCulture);
}
