using System.Globalization;

namespace Legato.Runtime.Plans;

/// <summary>Parses what <see cref="PlanText"/> writes, by recursive descent.</summary>
internal ref struct PlanTextReader
{
    private const int DeepestNesting = 1000;

    private readonly ReadOnlySpan<char> text;
    private int at;
    private int depth;

    private PlanTextReader(ReadOnlySpan<char> text) => this.text = text;

    public static Expr ReadExpr(string text)
    {
        var reader = new PlanTextReader(text);
        Expr expr = reader.Expr();
        reader.End();
        return expr;
    }

    public static Index ReadIndex(string text)
    {
        var reader = new PlanTextReader(text);
        Index index = reader.Index();
        reader.End();
        return index;
    }

    private readonly char Next => at < text.Length ? text[at] : '\0';

    private Expr Expr()
    {
        if (++depth > DeepestNesting)
            throw Wrong("an expression that is not nested so deeply");
        Expr expr = Next switch
        {
            '{' => new Expr.Size(Extent.Parse(Between('{', '}').ToString())),
            '$' => Load(),
            '-' or (>= '0' and <= '9') => Constant(),
            _ => Named(),
        };
        depth--;
        return expr;
    }

    private Expr.Load Load()
    {
        Take('$');
        int start = at;
        while (char.IsAsciiDigit(Next))
            at++;
        return int.TryParse(text[start..at], NumberStyles.None, CultureInfo.InvariantCulture, out int operand)
            ? new Expr.Load(operand, Index())
            : throw Wrong("an operand's number");
    }

    private Index Index()
    {
        var terms = new List<IndexTerm>();
        Take('[');
        while (Next != ']')
        {
            if (terms.Count > 0)
                Take(" + ");
            Expr value = Expr();
            terms.Add(new IndexTerm(value, Next == '*' ? Stride() : Extent.One));
        }
        Take(']');
        return new Index([.. terms]);
    }

    private Extent Stride()
    {
        Take('*');
        return Extent.Parse(Between('(', ')').ToString());
    }

    private Expr Constant()
    {
        int start = at;
        if (Next == '-')
            at++;
        while (char.IsAsciiLetterOrDigit(Next) || Next == '.' || (Next is '-' or '+' && text[at - 1] == 'E'))
            at++;
        ReadOnlySpan<char> token = text[start..at];
        if (token[^1] == 'f' && Number(token[..^1]) is { } number)
            return new Expr.Number(number);
        return long.TryParse(token, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long integer)
            ? new Expr.Integer(integer)
            : throw Wrong("a number");
    }

    // A name: of a variable, of an operation before its operands, or of a number that is not finite.
    private Expr Named()
    {
        int start = at;
        while (char.IsAsciiLetterOrDigit(Next) || Next is '_' or '.')
            at++;
        ReadOnlySpan<char> name = text[start..at];
        if (name is "inff" or "nanf")
            return new Expr.Number(Number(name[..^1])!.Value);
        if (Next != '(')
            return name.Length > 0 ? new Expr.Variable(name.ToString()) : throw Wrong("an expression");
        if (!Enum.TryParse(name, out Operation operation) || !char.IsAsciiLetter(name[0]))
            throw Wrong("an operation's name");
        return new Expr.Apply(operation, Operands());
    }

    private Expr[] Operands()
    {
        var operands = new List<Expr>();
        Take('(');
        while (Next != ')')
        {
            if (operands.Count > 0)
                Take(", ");
            operands.Add(Expr());
        }
        Take(')');
        return [.. operands];
    }

    private static double? Number(ReadOnlySpan<char> token) => token switch
    {
        "inf" => double.PositiveInfinity,
        "-inf" => double.NegativeInfinity,
        "nan" => double.NaN,
        _ => double.TryParse(token, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) ? value : null,
    };

    private ReadOnlySpan<char> Between(char open, char close)
    {
        Take(open);
        int length = text[at..].IndexOf(close);
        if (length < 0)
            throw Wrong($"'{close}'");
        ReadOnlySpan<char> inside = text.Slice(at, length);
        at += length + 1;
        return inside;
    }

    private void Take(char expected)
    {
        if (Next != expected)
            throw Wrong($"'{expected}'");
        at++;
    }

    private void Take(string expected)
    {
        if (!text[at..].StartsWith(expected))
            throw Wrong($"'{expected}'");
        at += expected.Length;
    }

    private readonly void End()
    {
        if (at != text.Length)
            throw Wrong("the end");
    }

    private readonly FormatException Wrong(string expected) => new($"expected {expected} at place {at} of '{text}'");
}
