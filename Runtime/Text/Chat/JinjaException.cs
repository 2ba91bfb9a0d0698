namespace Legato.Runtime.Text.Chat;

/// <summary>A chat template that is ill-formed, or that fails or refuses while it renders.</summary>
/// <param name="kind">The kind of error, by Jinja's names: TemplateSyntaxError, UndefinedError, TemplateError, …</param>
/// <param name="message">What went wrong.</param>
/// <param name="line">The line of the template, from 1; 0 when it isn't known.</param>
public sealed class JinjaException(string kind, string message, int line = 0)
    : LegatoException(message, line > 0 ? $"chat template, line {line}" : "chat template", RemedyOf(kind))
{
    /// <summary>The kind of error, by Jinja's names.</summary>
    public string Kind { get; } = kind;

    /// <summary>The line of the template, from 1; 0 when it isn't known.</summary>
    public int Line { get; } = line;

    private static string RemedyOf(string kind) => kind switch
    {
        "TemplateSyntaxError" => "mend the template there, or take the one that ships with the model",
        "TemplateError" => "the template refuses this chat: give it the messages that it asks for",
        "LimitError" => "simplify the template: what one rendering may take is bounded",
        "SecurityError" => "the template reaches for what none may: take another",
        _ => "give the chat what the template reads, or mend the template",
    };

    internal static JinjaException Syntax(string message, int line) => new("TemplateSyntaxError", message, line);

    internal static JinjaException Type(string message, int line = 0) => new("TypeError", message, line);

    internal static JinjaException Limit(string message) => new("LimitError", message);
}
