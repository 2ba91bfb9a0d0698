using System.Text;
using System.Text.Json;

namespace Legato.Runtime.Text.Formats;

/// <summary>A JSON value that knows where it stands, so that every wrong shape is refused with its path.</summary>
internal readonly struct JsonValue(JsonElement element, string path)
{
    public string Path => path;

    public JsonValueKind Kind => element.ValueKind;

    public bool IsNull => element.ValueKind is JsonValueKind.Null or JsonValueKind.Undefined;

    /// <summary>Parses a document, but for a byte order mark before it, and reads it while it lives.</summary>
    public static T Read<T>(ReadOnlyMemory<byte> utf8, string where, Func<JsonValue, T> read)
    {
        try
        {
            using var document = JsonDocument.Parse(utf8.TrimStart(Encoding.UTF8.Preamble));
            return read(new JsonValue(document.RootElement, where + ": $"));
        }
        catch (JsonException error)
        {
            throw new LegatoException($"this is no well-formed JSON from {JsonPlace.Of(error)} on", where,
                "check that the file was copied whole", error);
        }
        catch (InvalidOperationException error) when (error is not ObjectDisposedException)
        {
            // A string with a lone surrogate has no text.
            throw new LegatoException("a JSON string is no text: it has half a surrogate pair, or bytes that aren't UTF-8", where,
                "check that the file was copied whole", error);
        }
    }

    /// <summary>A member that must be there.</summary>
    public JsonValue this[string name] => Optional(name) ?? throw Wrong($"has no member '{name}'");

    /// <summary>A member, or null when it is absent or null.</summary>
    public JsonValue? Optional(string name)
    {
        Require(JsonValueKind.Object);
        return element.TryGetProperty(name, out var member) && member.ValueKind != JsonValueKind.Null
            ? new JsonValue(member, $"{path}.{name}")
            : null;
    }

    public string String()
    {
        Require(JsonValueKind.String);
        return element.GetString()!;
    }

    public string? OptionalString(string name) => Optional(name)?.String();

    public int Int()
    {
        Require(JsonValueKind.Number);
        return element.TryGetInt32(out int value) ? value : throw Wrong("must be a whole number of 32 bits");
    }

    public double Double()
    {
        Require(JsonValueKind.Number);
        return element.TryGetDouble(out double value) ? value : throw Wrong("must be a number");
    }

    public bool Bool() => element.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Wrong("must be true or false"),
    };

    /// <summary>A truth value that may be absent.</summary>
    public bool Bool(string name, bool absent = false) => Optional(name)?.Bool() ?? absent;

    /// <summary>The items of an array.</summary>
    public List<JsonValue> Items()
    {
        Require(JsonValueKind.Array);
        var items = new List<JsonValue>(element.GetArrayLength());
        foreach (var item in element.EnumerateArray())
            items.Add(new JsonValue(item, $"{path}[{items.Count}]"));
        return items;
    }

    /// <summary>The members of an object, in order.</summary>
    public IEnumerable<(string Name, JsonValue Value)> Members()
    {
        Require(JsonValueKind.Object);
        foreach (var member in element.EnumerateObject())
            yield return (member.Name, new JsonValue(member.Value, $"{path}.{member.Name}"));
    }

    public LegatoException Wrong(string what) =>
        new("the value " + what, path, "mend it there: the layout is that of Hugging Face's tokenizers, whose files are read as they are");

    private void Require(JsonValueKind kind)
    {
        if (element.ValueKind != kind)
            throw Wrong($"must be {Word(kind)}, and is {Word(element.ValueKind)}");
    }

    private static string Word(JsonValueKind kind) => kind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "an array",
        JsonValueKind.String => "a string",
        JsonValueKind.Number => "a number",
        JsonValueKind.Null or JsonValueKind.Undefined => "null",
        _ => "true or false",
    };
}
