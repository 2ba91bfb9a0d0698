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
            throw Wrong("a chat is an object with the member 'messages'");
        CheckMessages(messages);
        var tools = json.TryGetProperty("tools", out var given) && given.ValueKind != JsonValueKind.Null ? given : (JsonElement?)null;
        if (tools is { } all && !IsArrayOfObjects(all))
            throw Wrong("'tools' must be an array of objects");
        var variables = new Dictionary<string, JsonElement>(StringComparer.Ordinal);
        foreach (var member in json.EnumerateObject())
            if (member.Name is not ("messages" or "tools" or "add_generation_prompt" or "bos_token" or "eos_token" or "strftime_now"))
                variables[member.Name] = member.Value;
        return new ChatRequest
        {
            Messages = messages,
            Tools = tools,
            AddGenerationPrompt = json.TryGetProperty("add_generation_prompt", out var add) && Flag(add),
            BeginToken = Spelling(json, "bos_token"),
            EndToken = Spelling(json, "eos_token"),
            Now = Spelling(json, "strftime_now") is { } now ? Time(now) : null,
            Variables = variables,
        };
    }

    // What every template reads; the rest is between the chat and its template.
    private static void CheckMessages(JsonElement messages)
    {
        if (messages.ValueKind != JsonValueKind.Array)
            throw Wrong("'messages' must be an array");
        int number = 0;
        foreach (var message in messages.EnumerateArray())
        {
            string which = $"message {number++}";
            if (message.ValueKind != JsonValueKind.Object)
                throw Wrong($"{which} must be an object");
            if (!message.TryGetProperty("role", out var role) || role.ValueKind != JsonValueKind.String || role.ValueEquals(""))
                throw Wrong($"{which} must have a 'role', a string");
            if (message.TryGetProperty("content", out var content) && content.ValueKind is JsonValueKind.Number or JsonValueKind.True or JsonValueKind.False)
                throw Wrong($"the 'content' of {which} must be a string, or an array of parts");
            if (message.TryGetProperty("tool_calls", out var calls) && calls.ValueKind != JsonValueKind.Null && !IsArrayOfObjects(calls))
                throw Wrong($"the 'tool_calls' of {which} must be an array of objects");
        }
    }

    private static bool IsArrayOfObjects(JsonElement value) =>
        value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(item => item.ValueKind == JsonValueKind.Object);

    private static bool Flag(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False or JsonValueKind.Null => false,
        _ => throw Wrong("'add_generation_prompt' must be true or false"),
    };

    private static string? Spelling(JsonElement json, string name)
    {
        if (!json.TryGetProperty(name, out var value) || value.ValueKind == JsonValueKind.Null)
            return null;
        return value.ValueKind == JsonValueKind.String ? value.GetString() : throw Wrong($"'{name}' must be a string");
    }

    private static LegatoException Wrong(string what) =>
        new(what, "chat request", """write {"messages": [{"role": "user", "content": "…"}], …}""");

    private static DateTime Time(string text) =>
        DateTime.TryParse(text, System.Globalization.CultureInfo.InvariantCulture, System.Globalization.DateTimeStyles.None, out var time)
            ? time
            : throw new LegatoException($"'{text}' is not a time", "chat request", "give it as 2026-01-31 or 2026-01-31T12:00:00");
}
