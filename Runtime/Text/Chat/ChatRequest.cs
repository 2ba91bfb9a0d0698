using System.Text.Json;

namespace Legato.Runtime.Text.Chat;

/// <summary>A message of plain text. Messages with tool calls or several parts come as JSON.</summary>
/// <param name="Role">"system", "user", "assistant", "tool", …</param>
public sealed record ChatMessage(string Role, string Content);

/// <summary>What a chat template is rendered with.</summary>
public sealed record ChatRequest
{
    /// <summary>The messages: a JSON array of objects with "role", "content", and what else the template reads.</summary>
    public required JsonElement Messages { get; init; }

    /// <summary>The tools the model may call: a JSON array of function declarations.</summary>
    public JsonElement? Tools { get; init; }

    /// <summary>Whether the text ends with what opens the assistant's answer.</summary>
    public bool AddGenerationPrompt { get; init; }

    /// <summary>The spelling of the begin token; when null, the tokenizer's.</summary>
    public string? BeginToken { get; init; }

    /// <summary>The spelling of the end token; when null, the tokenizer's.</summary>
    public string? EndToken { get; init; }

    /// <summary>Other variables, such as "enable_thinking".</summary>
    public IReadOnlyDictionary<string, JsonElement> Variables { get; init; } = new Dictionary<string, JsonElement>();

    /// <summary>The time that <c>strftime_now</c> tells; now, in local time, when null.</summary>
    public DateTime? Now { get; init; }

    /// <summary>A request of plain messages.</summary>
    public static ChatRequest Of(IEnumerable<ChatMessage> messages, bool addGenerationPrompt = true) => new()
    {
        Messages = JsonSerializer.SerializeToElement(messages.Select(message => new Dictionary<string, string>
        {
            ["role"] = message.Role,
            ["content"] = message.Content,
        })),
        AddGenerationPrompt = addGenerationPrompt,
    };

    /// <summary>
    /// A request in one JSON object: "messages", "tools", "add_generation_prompt", "bos_token", "eos_token",
    /// "strftime_now" (an ISO 8601 time), and any other variables.
    /// </summary>
    /// <exception cref="LegatoException">A member is missing or of the wrong kind.</exception>
    public static ChatRequest FromJson(JsonElement json)
    {
        if (json.ValueKind != JsonValueKind.Object || !json.TryGetProperty("messages", out var messages))
            throw new LegatoException("a chat is an object with the member 'messages'", "chat request", "see the documentation of chat templates");
        var variables = new Dictionary<string, JsonElement>(StringComparer.Ordinal);
        foreach (var member in json.EnumerateObject())
            if (member.Name is not ("messages" or "tools" or "add_generation_prompt" or "bos_token" or "eos_token" or "strftime_now"))
                variables[member.Name] = member.Value;
        return new ChatRequest
        {
            Messages = messages,
            Tools = json.TryGetProperty("tools", out var tools) && tools.ValueKind != JsonValueKind.Null ? tools : null,
            AddGenerationPrompt = json.TryGetProperty("add_generation_prompt", out var add) && Flag(add),
            BeginToken = Spelling(json, "bos_token"),
            EndToken = Spelling(json, "eos_token"),
            Now = Spelling(json, "strftime_now") is { } now ? Time(now) : null,
            Variables = variables,
        };
    }

    private static bool Flag(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False or JsonValueKind.Null => false,
        _ => throw new LegatoException("'add_generation_prompt' must be true or false", "chat request"),
    };

    private static string? Spelling(JsonElement json, string name)
    {
        if (!json.TryGetProperty(name, out var value) || value.ValueKind == JsonValueKind.Null)
            return null;
        return value.ValueKind == JsonValueKind.String
            ? value.GetString()
            : throw new LegatoException($"'{name}' must be a string", "chat request");
    }

    private static DateTime Time(string text) =>
        DateTime.TryParse(text, System.Globalization.CultureInfo.InvariantCulture, System.Globalization.DateTimeStyles.None, out var time)
            ? time
            : throw new LegatoException($"'{text}' is not a time", "chat request", "give it as 2026-01-31 or 2026-01-31T12:00:00");
}
