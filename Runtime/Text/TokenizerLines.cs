using System.Text.Encodings.Web;
using System.Text.Json;
using Legato.Runtime.Text.Chat;
using Legato.Runtime.Text.Formats;

namespace Legato.Runtime.Text;

/// <summary>Which lines of JSON were no requests; all were answered, those by <c>{"error":…}</c>.</summary>
/// <param name="Count">How many.</param>
/// <param name="First">What is wrong with the first of them, its line named; null when there is none.</param>
public readonly record struct LineMistakes(int Count, LegatoException? First);

/// <summary>
/// The line protocols by which programs use tokenizers: one JSON value a line in, one a line out, in order. Blank lines are
/// skipped. A line that can't be answered gives <c>{"error":…}</c>, and those behind it are still answered.
/// </summary>
public static class TokenizerLines
{
    private static readonly JsonWriterOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>
    /// Takes JSON strings and gives <c>{"ids":[…],"offsets":[[start,end],…]}</c>, offsets in characters (code points).
    /// </summary>
    public static LineMistakes Encode(Tokenizer tokenizer, TextReader input, TextWriter output, EncodeOptions options) =>
        ForEach(input, output, (line, json) =>
        {
            string text = line.ValueKind == JsonValueKind.String
                ? line.GetString()!
                : throw new LegatoException("the line is not a JSON string", null, "write one JSON string a line");
            var tokens = tokenizer.Encode(text, options);
            int[] characters = CharactersBefore(text);
            json.WriteStartObject();
            json.WriteStartArray("ids");
            foreach (int id in tokens.Ids)
                json.WriteNumberValue(id);
            json.WriteEndArray();
            json.WriteStartArray("offsets");
            foreach (var (start, end) in tokens.Offsets)
            {
                json.WriteStartArray();
                json.WriteNumberValue(characters[start]);
                json.WriteNumberValue(characters[end]);
                json.WriteEndArray();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        });

    /// <summary>Takes JSON arrays of ids and gives JSON strings.</summary>
    public static LineMistakes Decode(Tokenizer tokenizer, TextReader input, TextWriter output, bool keepSpecial = false) =>
        ForEach(input, output, (line, json) => json.WriteStringValue(tokenizer.Decode(Ids(line), keepSpecial)));

    /// <summary>
    /// Takes chat requests, as <see cref="ChatRequest.FromJson"/> reads them, and gives <c>{"text":…}</c>. That a template
    /// refuses a chat is an answer, and no mistake of the line.
    /// </summary>
    public static LineMistakes Chat(ChatTemplates templates, TextReader input, TextWriter output) =>
        ForEach(input, output, (line, json) =>
        {
            json.WriteStartObject();
            try
            {
                json.WriteString("text", templates.Render(ChatRequest.FromJson(line)).Text);
            }
            catch (JinjaException error)
            {
                json.WriteString("error", $"{error.Kind}: {error.What}");
            }
            json.WriteEndObject();
        });

    private static int[] Ids(JsonElement line)
    {
        if (line.ValueKind != JsonValueKind.Array)
            throw new LegatoException("the line is not an array of ids", null, "write one JSON array of whole numbers a line");
        var ids = new int[line.GetArrayLength()];
        int count = 0;
        foreach (var item in line.EnumerateArray())
            if (item.ValueKind != JsonValueKind.Number || !item.TryGetInt32(out ids[count++]))
                throw new LegatoException($"'{item}' is no id", null, "write one JSON array of whole numbers a line");
        return ids;
    }

    private static LineMistakes ForEach(TextReader input, TextWriter output, Action<JsonElement, Utf8JsonWriter> answer)
    {
        var mistakes = new LineMistakes();
        for (int number = 1; ; number++)
        {
            try
            {
                if (input.ReadLine() is not { } line)
                    return mistakes;
                if (!string.IsNullOrWhiteSpace(line))
                    output.WriteLine(Answer(line, answer));
            }
            catch (LegatoException error)
            {
                output.WriteLine(Json(json =>
                {
                    json.WriteStartObject();
                    json.WriteString("error", error.What);
                    json.WriteEndObject();
                }));
                string where = error.Where is null ? $"line {number}" : $"line {number}, {error.Where}";
                mistakes = new(mistakes.Count + 1, mistakes.First ?? new LegatoException(error.What, where, error.Remedy, error));
            }
        }
    }

    private static string Answer(string line, Action<JsonElement, Utf8JsonWriter> answer)
    {
        try
        {
            using var document = JsonDocument.Parse(line);
            return Json(json => answer(document.RootElement, json));
        }
        catch (JsonException error)
        {
            throw new LegatoException($"the line is no well-formed JSON from {JsonPlace.Of(error)} on", null, "write one JSON value a line", error);
        }
        catch (InvalidOperationException error)
        {
            throw new LegatoException("a string of the line has half a surrogate pair", null,
                "write characters beyond U+FFFF as both halves, or as they are", error);
        }
    }

    private static string Json(Action<Utf8JsonWriter> write)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, Plain))
            write(json);
        return System.Text.Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length);
    }

    // For each position in UTF-16, how many characters lie before it; inside of a pair, those before the pair.
    private static int[] CharactersBefore(string text)
    {
        var before = new int[text.Length + 1];
        for (int i = 1; i <= text.Length; i++)
            before[i] = before[i - 1] + (i < text.Length && char.IsSurrogatePair(text[i - 1], text[i]) ? 0 : 1);
        return before;
    }
}
