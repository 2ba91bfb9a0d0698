using static Legato.Runtime.Text.Chat.JinjaStatement;

namespace Legato.Runtime.Text.Chat;

/// <summary>Parses a template's statements.</summary>
internal sealed class JinjaParser
{
    private readonly JinjaTokenReader tokens;
    private readonly JinjaExpressionParser expressions;
    private int loops;

    private JinjaParser(List<JinjaToken> tokens)
    {
        this.tokens = new JinjaTokenReader(tokens);
        expressions = new JinjaExpressionParser(this.tokens);
    }

    public static IReadOnlyList<JinjaStatement> Parse(string template)
    {
        var parser = new JinjaParser(JinjaLexer.Tokenize(template));
        var body = parser.ParseBody();
        return parser.tokens.Current.Kind == JinjaTokenKind.End
            ? body
            : throw JinjaException.Syntax($"Encountered unknown tag '{parser.tokens.Following.Text}'.", parser.tokens.Line);
    }

    // Up to the end, or to a block tag that ends or divides the enclosing block, which is left in place.
    private List<JinjaStatement> ParseBody()
    {
        tokens.Enter();
        var body = new List<JinjaStatement>();
        while (tokens.Current.Kind != JinjaTokenKind.End)
        {
            var token = tokens.Current;
            switch (token.Kind)
            {
                case JinjaTokenKind.Data:
                    tokens.Take();
                    body.Add(new JinjaStatement.Text(token.Text, token.Line));
                    break;
                case JinjaTokenKind.VariableBegin:
                    tokens.Take();
                    body.Add(new Output(expressions.ParseTuple(), token.Line));
                    tokens.Expect(JinjaTokenKind.VariableEnd);
                    break;
                default:
                    if (DividesBlock(tokens.Following.Text))
                    {
                        tokens.Leave();
                        return body;
                    }
                    tokens.Take();
                    body.Add(ParseStatement());
                    break;
            }
        }
        tokens.Leave();
        return body;
    }

    private static bool DividesBlock(string tag) => tag is "elif" or "else" || tag.StartsWith("end", StringComparison.Ordinal);

    private JinjaStatement ParseStatement()
    {
        int line = tokens.Line;
        string tag = tokens.ExpectName();
        switch (tag)
        {
            case "if": return ParseIf(line);
            case "for": return ParseFor(line);
            case "set": return ParseSet(line);
            case "macro": return ParseMacro(line);
            case "call": return ParseCall(line);
            case "filter": return ParseFilterBlock(line);
            case "with": return ParseWith(line);
            case "generation":
                EndTag();
                return new GenerationBlock(ParseBlock("endgeneration"), line);
            case "break" or "continue":
                if (loops == 0)
                    throw JinjaException.Syntax($"'{tag}' outside of a loop", line);
                EndTag();
                return tag == "break" ? new Break(line) : new Continue(line);
            case "do":
                var value = expressions.ParseTuple();
                EndTag();
                return new Evaluate(value, line);
            case "include" or "import" or "from" or "extends" or "block":
                throw JinjaException.Syntax($"'{tag}' is not available to chat templates", line);
            default:
                throw JinjaException.Syntax($"Encountered unknown tag '{tag}'.", line);
        }
    }

    private If ParseIf(int line)
    {
        var branches = new List<(JinjaExpression, IReadOnlyList<JinjaStatement>)>();
        IReadOnlyList<JinjaStatement> otherwise = [];
        var condition = expressions.ParseTuple();
        while (true)
        {
            EndTag();
            branches.Add((condition, ParseBody()));
            string tag = TakeTag("endif");
            if (tag == "elif")
            {
                condition = expressions.ParseTuple();
                continue;
            }
            if (tag == "else")
            {
                EndTag();
                otherwise = ParseBlock("endif");
                return new If(branches, otherwise, line);
            }
            EndTag();
            return new If(branches, otherwise, line);
        }
    }

    private For ParseFor(int line)
    {
        var target = ParseTarget(allowMember: false);
        if (!tokens.TryTakeName("in"))
            throw tokens.Unexpected("'in'");
        var items = expressions.ParseWithoutCondition();
        var condition = tokens.TryTakeName("if") ? expressions.Parse() : null;
        bool recursive = tokens.TryTakeName("recursive");
        EndTag();
        loops++;
        var body = ParseBody();
        loops--;
        IReadOnlyList<JinjaStatement> otherwise = [];
        string tag = TakeTag("endfor");
        if (tag == "elif")
            throw JinjaException.Syntax("Encountered unknown tag 'elif'. Jinja was looking for 'endfor'.", tokens.Line);
        EndTag();
        if (tag == "else")
            otherwise = ParseBlock("endfor");
        return new For(target, items, condition, recursive, body, otherwise, line);
    }

    private JinjaStatement ParseSet(int line)
    {
        var target = ParseTarget(allowMember: true);
        if (tokens.TryTakeOperator("="))
        {
            var value = expressions.ParseTuple();
            EndTag();
            return new Set(target, value, line);
        }
        var filters = tokens.TryTakeOperator("|") ? expressions.ParseFilters() : [];
        EndTag();
        return new SetBlock(target, filters, ParseBlock("endset"), line);
    }

    private JinjaTarget ParseTarget(bool allowMember)
    {
        bool bracketed = tokens.TryTakeOperator("(");
        var items = new List<JinjaTarget>();
        bool several = false;
        do
        {
            if (tokens.Current.Kind != JinjaTokenKind.Name && items.Count > 0)
                break;
            string name = tokens.ExpectName();
            if (name is "true" or "false" or "none" or "True" or "False" or "None")
                throw JinjaException.Syntax($"can't assign to '{name}'", tokens.Line);
            items.Add(allowMember && tokens.TryTakeOperator(".")
                ? new JinjaTarget.Member(name, tokens.ExpectName())
                : new JinjaTarget.Variable(name));
            several |= tokens.Current.IsOperator(",");
        }
        while (tokens.TryTakeOperator(","));
        if (bracketed)
            tokens.ExpectOperator(")");
        return several ? new JinjaTarget.Several(items) : items[0];
    }

    private Macro ParseMacro(int line)
    {
        string name = tokens.ExpectName();
        var parameters = ParseParameters();
        EndTag();
        return new Macro(name, parameters, ParseDetached("endmacro"), line);
    }

    private List<JinjaParameter> ParseParameters()
    {
        var parameters = new List<JinjaParameter>();
        tokens.ExpectOperator("(");
        while (!tokens.TryTakeOperator(")"))
        {
            if (parameters.Count > 0)
                tokens.ExpectOperator(",");
            string name = tokens.ExpectName();
            if (tokens.TryTakeOperator("="))
                parameters.Add(new JinjaParameter(name, expressions.Parse()));
            else if (parameters.Count > 0 && parameters[^1].Default is not null)
                throw JinjaException.Syntax("non-default argument follows default argument", tokens.Line);
            else
                parameters.Add(new JinjaParameter(name, null));
        }
        return parameters;
    }

    private CallBlock ParseCall(int line)
    {
        var parameters = tokens.Current.IsOperator("(") ? ParseParameters() : [];
        if (expressions.Parse() is not JinjaExpression.Call call)
            throw JinjaException.Syntax("expected call", line);
        EndTag();
        return new CallBlock(call, new Macro("caller", parameters, ParseDetached("endcall"), line), line);
    }

    // A macro's body is outside of the loops around it.
    private List<JinjaStatement> ParseDetached(string end)
    {
        int outer = loops;
        loops = 0;
        var body = ParseBlock(end);
        loops = outer;
        return body;
    }

    private FilterBlock ParseFilterBlock(int line)
    {
        var filters = expressions.ParseFilters();
        EndTag();
        return new FilterBlock(filters, ParseBlock("endfilter"), line);
    }

    private With ParseWith(int line)
    {
        var values = new List<(JinjaTarget, JinjaExpression)>();
        while (tokens.Current.Kind != JinjaTokenKind.BlockEnd)
        {
            if (values.Count > 0)
                tokens.ExpectOperator(",");
            var target = new JinjaTarget.Variable(tokens.ExpectName());
            tokens.ExpectOperator("=");
            values.Add((target, expressions.Parse()));
        }
        EndTag();
        return new With(values, ParseBlock("endwith"), line);
    }

    private List<JinjaStatement> ParseBlock(string end)
    {
        var body = ParseBody();
        string tag = TakeTag(end);
        if (tag != end)
            throw JinjaException.Syntax($"expected '{end}', got '{tag}'", tokens.Line);
        // Jinja lets the end of a macro repeat its name.
        if (tokens.Current.Kind == JinjaTokenKind.Name && end is "endmacro" or "endset")
            tokens.Take();
        EndTag();
        return body;
    }

    private string TakeTag(string end)
    {
        if (tokens.Current.Kind != JinjaTokenKind.BlockBegin)
            throw JinjaException.Syntax($"Unexpected end of template. Jinja was looking for '{end}'.", tokens.Line);
        tokens.Take();
        string tag = tokens.ExpectName();
        return tag == end || tag is "elif" or "else"
            ? tag
            : throw JinjaException.Syntax($"Encountered unknown tag '{tag}'. Jinja was looking for '{end}'.", tokens.Line);
    }

    private void EndTag() => tokens.Expect(JinjaTokenKind.BlockEnd);
}
