using System.Globalization;
using static Legato.Runtime.Text.Chat.JinjaExpression;

namespace Legato.Runtime.Text.Chat;

/// <summary>Parses expressions, in Jinja's order of precedence.</summary>
internal sealed class JinjaExpressionParser(JinjaTokenReader tokens)
{
    /// <summary>An expression, conditional ones included.</summary>
    public JinjaExpression Parse()
    {
        tokens.Enter();
        var value = ParseOr();
        while (tokens.Current.IsName("if"))
        {
            int line = tokens.Take().Line;
            var condition = ParseOr();
            var otherwise = tokens.TryTakeName("else") ? Parse() : null;
            value = new Conditional(condition, value, otherwise, line);
        }
        tokens.Leave();
        return value;
    }

    /// <summary>An expression, or several with commas between, which are a tuple.</summary>
    public JinjaExpression ParseTuple()
    {
        int line = tokens.Line;
        var first = Parse();
        if (!tokens.Current.IsOperator(","))
            return first;
        var items = new List<JinjaExpression> { first };
        while (tokens.TryTakeOperator(",") && StartsExpression())
            items.Add(Parse());
        return new ListOf(items, IsTuple: true, line);
    }

    /// <summary>An expression without a trailing condition, as the items of a loop are.</summary>
    public JinjaExpression ParseWithoutCondition()
    {
        int line = tokens.Line;
        var first = ParseOr();
        if (!tokens.Current.IsOperator(","))
            return first;
        var items = new List<JinjaExpression> { first };
        while (tokens.TryTakeOperator(",") && StartsExpression())
            items.Add(ParseOr());
        return new ListOf(items, IsTuple: true, line);
    }

    /// <summary>Filters in a row, the first without a bar, as filter blocks have them.</summary>
    public List<Filter> ParseFilters()
    {
        var filters = new List<Filter>();
        do
            filters.Add(ParseFilter(null));
        while (tokens.TryTakeOperator("|"));
        return filters;
    }

    public JinjaArguments ParseArguments()
    {
        tokens.ExpectOperator("(");
        var positional = new List<JinjaExpression>();
        var named = new List<(string, JinjaExpression)>();
        JinjaExpression? spread = null, namedSpread = null;
        while (!tokens.TryTakeOperator(")"))
        {
            if (tokens.TryTakeOperator("**"))
                namedSpread = Parse();
            else if (tokens.TryTakeOperator("*"))
                spread = Parse();
            else if (tokens.Current.Kind == JinjaTokenKind.Name && tokens.Following.IsOperator("="))
            {
                string name = tokens.Take().Text;
                tokens.Take();
                named.Add((name, Parse()));
            }
            else if (named.Count > 0)
                throw JinjaException.Syntax("invalid syntax for function call expression", tokens.Line);
            else
                positional.Add(Parse());
            if (!tokens.TryTakeOperator(",") && !tokens.Current.IsOperator(")"))
                throw tokens.Unexpected("',' or ')'");
        }
        return new JinjaArguments(positional, named, spread, namedSpread);
    }

    private bool StartsExpression() => tokens.Current.Kind switch
    {
        JinjaTokenKind.Name => !tokens.Current.IsName("in"),
        JinjaTokenKind.String or JinjaTokenKind.Integer or JinjaTokenKind.Float => true,
        JinjaTokenKind.Operator => tokens.Current.Text is "(" or "[" or "{" or "-" or "+",
        _ => false,
    };

    private JinjaExpression ParseOr()
    {
        var left = ParseAnd();
        while (tokens.Current.IsName("or"))
            left = new Binary("or", left, TakeThen(ParseAnd), left.Line);
        return left;
    }

    private JinjaExpression ParseAnd()
    {
        var left = ParseNot();
        while (tokens.Current.IsName("and"))
            left = new Binary("and", left, TakeThen(ParseNot), left.Line);
        return left;
    }

    private JinjaExpression ParseNot()
    {
        if (!tokens.Current.IsName("not"))
            return ParseComparison();
        tokens.Enter();
        int line = tokens.Take().Line;
        var operand = new Unary("not", ParseNot(), line);
        tokens.Leave();
        return operand;
    }

    private JinjaExpression ParseComparison()
    {
        var first = ParseSum();
        var rest = new List<(string, JinjaExpression)>();
        while (true)
        {
            if (tokens.Current.Kind == JinjaTokenKind.Operator && tokens.Current.Text is "==" or "!=" or "<" or "<=" or ">" or ">=")
            {
                string comparison = tokens.Take().Text;
                rest.Add((comparison, ParseSum()));
            }
            else if (tokens.TryTakeName("in"))
            {
                rest.Add(("in", ParseSum()));
            }
            else if (tokens.Current.IsName("not") && tokens.Following.IsName("in"))
            {
                tokens.Take();
                tokens.Take();
                rest.Add(("not in", ParseSum()));
            }
            else
            {
                return rest.Count == 0 ? first : new Comparison(first, rest, first.Line);
            }
        }
    }

    private JinjaExpression ParseSum() => ParseChain(ParseConcatenation, "+", "-");

    private JinjaExpression ParseConcatenation() => ParseChain(ParseProduct, "~");

    private JinjaExpression ParseProduct() => ParseChain(ParsePower, "*", "/", "//", "%");

    private JinjaExpression ParsePower() => ParseChain(() => ParseUnary(withFilters: true), "**");

    private JinjaExpression ParseChain(Func<JinjaExpression> operand, params ReadOnlySpan<string> operators)
    {
        var left = operand();
        while (tokens.Current.Kind == JinjaTokenKind.Operator && operators.Contains(tokens.Current.Text))
        {
            string found = tokens.Take().Text;
            left = new Binary(found, left, operand(), left.Line);
        }
        return left;
    }

    private JinjaExpression ParseUnary(bool withFilters)
    {
        tokens.Enter();
        int line = tokens.Line;
        JinjaExpression node;
        if (tokens.TryTakeOperator("-"))
            node = new Unary("-", ParseUnary(withFilters: false), line);
        else if (tokens.TryTakeOperator("+"))
            node = new Unary("+", ParseUnary(withFilters: false), line);
        else
            node = ParsePrimary();
        node = ParsePostfix(node);
        if (withFilters)
            node = ParseFiltersAndTests(node);
        tokens.Leave();
        return node;
    }

    private JinjaExpression ParsePrimary()
    {
        var token = tokens.Current;
        switch (token.Kind)
        {
            case JinjaTokenKind.Name:
                tokens.Take();
                return token.Text switch
                {
                    "true" or "True" => new Constant(true, token.Line),
                    "false" or "False" => new Constant(false, token.Line),
                    "none" or "None" => new Constant(null, token.Line),
                    _ => new Name(token.Text, token.Line),
                };
            case JinjaTokenKind.String:
                return ParseStrings();
            case JinjaTokenKind.Integer:
                tokens.Take();
                return long.TryParse(token.Text, NumberStyles.None, CultureInfo.InvariantCulture, out long integer)
                    ? new Constant(integer, token.Line)
                    : throw JinjaException.Syntax("the number is too large", token.Line);
            case JinjaTokenKind.Float:
                tokens.Take();
                return new Constant(double.Parse(token.Text, CultureInfo.InvariantCulture), token.Line);
            case JinjaTokenKind.Operator:
                return ParseBracketed(token);
            default:
                throw tokens.Unexpected("an expression");
        }
    }

    // Strings that follow each other are one.
    private Constant ParseStrings()
    {
        int line = tokens.Line;
        string text = tokens.Take().Text;
        while (tokens.Current.Kind == JinjaTokenKind.String)
            text += tokens.Take().Text;
        return new Constant(text, line);
    }

    private JinjaExpression ParseBracketed(JinjaToken token)
    {
        switch (token.Text)
        {
            case "(":
                tokens.Take();
                if (tokens.TryTakeOperator(")"))
                    return new ListOf([], IsTuple: true, token.Line);
                var inner = ParseTuple();
                tokens.ExpectOperator(")");
                return inner;
            case "[":
                tokens.Take();
                return new ListOf(ParseItems("]", Parse), IsTuple: false, token.Line);
            case "{":
                tokens.Take();
                return new DictOf(ParseItems("}", ParsePair), token.Line);
            default:
                throw tokens.Unexpected("an expression");
        }
    }

    private (JinjaExpression, JinjaExpression) ParsePair()
    {
        var key = Parse();
        tokens.ExpectOperator(":");
        return (key, Parse());
    }

    private List<T> ParseItems<T>(string closing, Func<T> item)
    {
        var items = new List<T>();
        while (!tokens.TryTakeOperator(closing))
        {
            if (items.Count > 0)
            {
                tokens.ExpectOperator(",");
                if (tokens.TryTakeOperator(closing))
                    break;
            }
            items.Add(item());
        }
        return items;
    }

    private JinjaExpression ParsePostfix(JinjaExpression node)
    {
        while (true)
        {
            int line = tokens.Line;
            if (tokens.TryTakeOperator("."))
                node = ParseMember(node, line);
            else if (tokens.TryTakeOperator("["))
                node = ParseSubscript(node, line);
            else if (tokens.Current.IsOperator("("))
                node = new Call(node, ParseArguments(), line);
            else
                return node;
        }
    }

    private JinjaExpression ParseMember(JinjaExpression node, int line)
    {
        if (tokens.Current.Kind == JinjaTokenKind.Integer)
            return new Item(node, ParsePrimary(), line);
        return new JinjaExpression.Attribute(node, tokens.ExpectName(), line);
    }

    private JinjaExpression ParseSubscript(JinjaExpression node, int line)
    {
        JinjaExpression? start = null;
        if (!tokens.Current.IsOperator(":"))
        {
            start = ParseTuple();
            if (tokens.TryTakeOperator("]"))
                return new Item(node, start, line);
        }
        tokens.ExpectOperator(":");
        var stop = tokens.Current.IsOperator(":") || tokens.Current.IsOperator("]") ? null : Parse();
        var step = tokens.TryTakeOperator(":") && !tokens.Current.IsOperator("]") ? Parse() : null;
        tokens.ExpectOperator("]");
        return new Slice(node, start, stop, step, line);
    }

    private JinjaExpression ParseFiltersAndTests(JinjaExpression node)
    {
        while (true)
        {
            if (tokens.TryTakeOperator("|"))
                node = ParseFilter(node);
            else if (tokens.Current.IsName("is"))
                node = ParseTest(node);
            else if (tokens.Current.IsOperator("("))
                node = new Call(node, ParseArguments(), tokens.Line);
            else
                return node;
        }
    }

    private Filter ParseFilter(JinjaExpression? target)
    {
        int line = tokens.Line;
        string name = tokens.ExpectName();
        while (tokens.TryTakeOperator("."))
            name += "." + tokens.ExpectName();
        return new Filter(target, name, tokens.Current.IsOperator("(") ? ParseArguments() : JinjaArguments.None, line);
    }

    private Test ParseTest(JinjaExpression target)
    {
        int line = tokens.Take().Line;
        bool negated = tokens.TryTakeName("not");
        string name = tokens.ExpectName();
        var arguments = JinjaArguments.None;
        if (tokens.Current.IsOperator("("))
            arguments = ParseArguments();
        else if (TakesBareArgument())
            arguments = new JinjaArguments([ParsePostfix(ParsePrimary())], [], null, null);
        return new Test(target, name, arguments, negated, line);
    }

    private bool TakesBareArgument() => tokens.Current.Kind switch
    {
        JinjaTokenKind.Name => tokens.Current.Text is not ("else" or "or" or "and" or "is" or "if" or "in" or "not"),
        JinjaTokenKind.String or JinjaTokenKind.Integer or JinjaTokenKind.Float => true,
        JinjaTokenKind.Operator => tokens.Current.Text is "[" or "{",
        _ => false,
    };

    private JinjaExpression TakeThen(Func<JinjaExpression> parse)
    {
        tokens.Take();
        return parse();
    }
}
