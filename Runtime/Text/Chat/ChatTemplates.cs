using System.Text.Json;
using Legato.Runtime.Text.Formats;

namespace Legato.Runtime.Text.Chat;

/// <summary>
/// The chat templates of a model by name, with the spellings of the special tokens that they write. A chat with tools
/// takes the template <c>tool_use</c> where there is one, any other chat <c>default</c>.
/// </summary>
public sealed class ChatTemplates
{
    internal const string Default = "default";
    private const string ToolUse = "tool_use";
    private const string Begin = "bos_token", End = "eos_token";

    private readonly Dictionary<string, ChatTemplate> byName;
    private readonly IReadOnlyDictionary<string, string> tokens;

    /// <param name="sources">The templates' sources by name.</param>
    /// <param name="tokens">Spellings of special tokens by the names of templates' variables: "bos_token", …</param>
    /// <exception cref="JinjaException">A source is ill-formed.</exception>
    internal ChatTemplates(IReadOnlyDictionary<string, string> sources, IReadOnlyDictionary<string, string> tokens)
    {
        byName = sources.ToDictionary(source => source.Key, source => ChatTemplate.Parse(source.Value), StringComparer.Ordinal);
        this.tokens = tokens;
    }

    /// <summary>One template for every chat.</summary>
    /// <exception cref="JinjaException">The source is ill-formed.</exception>
    public static ChatTemplates Parse(string source) =>
        new(new Dictionary<string, string> { [Default] = source }, new Dictionary<string, string>());

    /// <summary>The templates that ship with a tokenizer.</summary>
    /// <exception cref="LegatoException">There are none, or one is ill-formed.</exception>
    public static ChatTemplates Of(Tokenizer tokenizer) => tokenizer.ChatTemplates.Count > 0
        ? new ChatTemplates(tokenizer.ChatTemplates, tokenizer.Definition.Names.Variables())
        : throw new LegatoException("the tokenizer has no chat template", "the tokenizer", "give a template, or a folder that holds one");

    /// <summary>
    /// Reads templates: a tokenizer's folder (its chat_template.jinja and additional_chat_templates go before its
    /// tokenizer_config.json), a tokenizer_config.json, a GGUF file, or Jinja source. The special tokens are those of the
    /// tokenizer_config.json in the same folder.
    /// </summary>
    /// <exception cref="LegatoException">There is no template in it, or an ill-formed one.</exception>
    public static ChatTemplates Load(string path) => ChatTemplateFiles.Load(path);

    /// <summary>Renders a chat by the template that is meant for it.</summary>
    /// <exception cref="JinjaException">The template refuses the chat, fails, or exceeds its limits.</exception>
    /// <exception cref="LegatoException">None of several templates is meant for it.</exception>
    public ChatRendering Render(ChatRequest request) => Render(request, static text => text);

    /// <summary>Renders a chat whose strings, those of messages and tools, are rewritten first.</summary>
    internal ChatRendering Render(ChatRequest request, Func<string, string> rewrite) => For(request).Render(Complete(request), rewrite);

    private ChatTemplate For(ChatRequest request)
    {
        if (request.Tools is not null && byName.TryGetValue(ToolUse, out var withTools))
            return withTools;
        return byName.TryGetValue(Default, out var template)
            ? template
            : throw new LegatoException(
                $"of the model's chat templates ({string.Join(", ", byName.Keys.Order(StringComparer.Ordinal))}) none is called '{Default}'",
                "chat template", "give the file of the template that is meant");
    }

    private ChatRequest Complete(ChatRequest request)
    {
        var variables = new Dictionary<string, JsonElement>(request.Variables, StringComparer.Ordinal);
        foreach (var (name, spelling) in tokens)
            if (name is not (Begin or End))
                variables.TryAdd(name, JsonSerializer.SerializeToElement(spelling));
        return request with
        {
            BeginToken = request.BeginToken ?? tokens.GetValueOrDefault(Begin),
            EndToken = request.EndToken ?? tokens.GetValueOrDefault(End),
            Variables = variables,
        };
    }
}
