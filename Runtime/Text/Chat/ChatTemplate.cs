namespace Legato.Runtime.Text.Chat;

/// <summary>A rendered chat.</summary>
/// <param name="Text">What the model is fed.</param>
/// <param name="GeneratedSpans">
/// The parts that the template marks as the assistant's by <c>{% generation %}</c>, in UTF-16 code units.
/// </param>
/// <param name="MarksGeneration">Whether the template marks such parts at all.</param>
public sealed record ChatRendering(string Text, IReadOnlyList<TextSpan> GeneratedSpans, bool MarksGeneration);

/// <summary>
/// A chat template in Jinja, as models ship it. It is sandboxed: it reads its variables and writes text, in bounded
/// steps and memory, and nothing else.
/// </summary>
public sealed class ChatTemplate
{
    private const int LongestSource = 1 << 20;
    private const long Steps = 5_000_000;
    private const long Characters = 64_000_000;

    private readonly IReadOnlyList<JinjaStatement> statements;

    private ChatTemplate(string source, IReadOnlyList<JinjaStatement> statements)
    {
        Source = source;
        this.statements = statements;
        MarksGeneration = source.Contains("endgeneration", StringComparison.Ordinal);
    }

    /// <summary>The template's source.</summary>
    public string Source { get; }

    /// <summary>Whether the template marks the assistant's parts by <c>{% generation %}</c>.</summary>
    public bool MarksGeneration { get; }

    /// <summary>Parses a template.</summary>
    /// <exception cref="JinjaException">The source is ill-formed, or asks for what the sandbox doesn't have.</exception>
    public static ChatTemplate Parse(string source)
    {
        if (source.Length > LongestSource)
            throw JinjaException.Limit("the template is longer than a million characters");
        return new ChatTemplate(source, JinjaParser.Parse(source));
    }

    /// <summary>Renders a chat.</summary>
    /// <exception cref="JinjaException">The template refuses the chat, fails, or exceeds its limits.</exception>
    public ChatRendering Render(ChatRequest request) => Render(request, static text => text);

    /// <summary>Renders a chat whose strings, those of messages and tools, are rewritten first.</summary>
    internal ChatRendering Render(ChatRequest request, Func<string, string> rewrite)
    {
        var variables = new Dictionary<string, object?>(StringComparer.Ordinal);
        foreach (var (name, value) in request.Variables)
            variables[name] = JinjaJson.FromJson(value, rewrite);
        variables["messages"] = JinjaJson.FromJson(request.Messages, rewrite);
        variables["tools"] = request.Tools is { } tools ? JinjaJson.FromJson(tools, rewrite) : null;
        variables.TryAdd("documents", null);
        variables["add_generation_prompt"] = request.AddGenerationPrompt;
        if (request.BeginToken is not null)
            variables["bos_token"] = request.BeginToken;
        if (request.EndToken is not null)
            variables["eos_token"] = request.EndToken;
        var output = new JinjaInterpreter(new JinjaBudget(Steps, Characters), request.Now ?? DateTime.Now).Render(statements, variables);
        return new ChatRendering(output.ToString(), output.Generated, MarksGeneration);
    }
}
