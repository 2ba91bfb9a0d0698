namespace Legato.Runtime.Text.Chat;

/// <summary>A cursor over a template's tokens, shared by the parsers of statements and of expressions.</summary>
internal sealed class JinjaTokenReader(List<JinjaToken> tokens)
{
    private const int MaximumDepth = 96;

    private int at;
    private int depth;

    public JinjaToken Current => tokens[at];

    public JinjaToken Following => tokens[Math.Min(at + 1, tokens.Count - 1)];

    public int Line => Current.Line;

    public JinjaToken Take()
    {
        var token = tokens[at];
        if (at < tokens.Count - 1)
            at++;
        return token;
    }

    public bool TryTakeOperator(string text)
    {
        if (!Current.IsOperator(text))
            return false;
        Take();
        return true;
    }

    public bool TryTakeName(string text)
    {
        if (!Current.IsName(text))
            return false;
        Take();
        return true;
    }

    public void ExpectOperator(string text)
    {
        if (!TryTakeOperator(text))
            throw Unexpected($"'{text}'");
    }

    public string ExpectName() => Current.Kind == JinjaTokenKind.Name ? Take().Text : throw Unexpected("a name");

    public void Expect(JinjaTokenKind kind)
    {
        if (Current.Kind != kind)
            throw Unexpected(kind == JinjaTokenKind.BlockEnd ? "the end of the block tag" : "the end of the expression");
        Take();
    }

    /// <summary>Goes one level down; a template that nests without end would exhaust the stack.</summary>
    public void Enter()
    {
        if (++depth > MaximumDepth)
            throw JinjaException.Syntax("the template nests too deeply", Line);
    }

    public void Leave() => depth--;

    public JinjaException Unexpected(string expected)
    {
        string found = Current.Kind switch
        {
            JinjaTokenKind.End => "the end of the template",
            JinjaTokenKind.BlockEnd or JinjaTokenKind.VariableEnd => "the end of the tag",
            JinjaTokenKind.Data => "text",
            _ => $"'{Current.Text}'",
        };
        return JinjaException.Syntax($"expected {expected}, got {found}", Line);
    }
}
