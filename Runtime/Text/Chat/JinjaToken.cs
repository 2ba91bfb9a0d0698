namespace Legato.Runtime.Text.Chat;

internal enum JinjaTokenKind
{
    /// <summary>Text outside of tags.</summary>
    Data,
    BlockBegin,
    BlockEnd,
    VariableBegin,
    VariableEnd,
    Name,
    String,
    Integer,
    Float,
    Operator,
    End,
}

/// <summary>A token of a template, its text (of strings the value), and the line it stands on.</summary>
internal readonly record struct JinjaToken(JinjaTokenKind Kind, string Text, int Line)
{
    public bool Is(JinjaTokenKind kind, string text) => Kind == kind && Text == text;

    public bool IsOperator(string text) => Is(JinjaTokenKind.Operator, text);

    public bool IsName(string text) => Is(JinjaTokenKind.Name, text);
}
