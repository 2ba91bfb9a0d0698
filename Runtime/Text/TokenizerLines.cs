using System.Text.Encodings.Web;
using System.Text.Json;
using Legato.Runtime.Text.Chat;

namespace Legato.Runtime.Text;

/// <summary>
/// The line protocols by which programs use tokenizers: one JSON value a line in, one a line out, in order.
/// </summary>
public static class TokenizerLines
{
    private static readonly JsonWriterOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>
    /// Takes JSON strings and gives <c>{"ids":[…],"offsets":[[start,end],…]}</c>, offsets in characters (code points).
    /// </summary>
    /// <exception cref="LegatoException">A line is not a JSON string; the message names its number.</exception>
    public static void Encode(Tokenizer tokenizer, TextReader input, TextWriter output, EncodeOptions options) =>
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
    /// <exception cref="LegatoException">A line is not an array of ids of the vocabulary.</exception>
    public static void Decode(Tokenizer tokenizer, TextReader input, TextWriter output, bool keepSpecial = false) =>
        ForEach(input, output, (line, json) => json.WriteStringValue(tokenizer.Decode(Ids(line), keepSpecial)));

    /// <summary>
    /// Takes chat requests, as <see cref="ChatRequest.FromJson"/> reads them, and gives <c>{"text":…}</c>, or
    /// <c>{"error":…}</c> where the template refuses the chat.
    /// </summary>
    /// <exception cref="LegatoException">A line is not a chat request.</exception>
    public static void Chat(ChatTemplate template, TextReader input, TextWriter output) =>
        ForEach(input, output, (line, json) =>
        {
            json.WriteStartObject();
            try
            {
                json.WriteString("text", template.Render(ChatRequest.FromJson(line)).Text);
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

    private static void ForEach(TextReader input, TextWriter output, Action<JsonElement, Utf8JsonWriter> answer)
    {
        int number = 0;
        while (input.ReadLine() is { } line)
        {
            number++;
            if (string.IsNullOrWhiteSpace(line))
                continue;
            try
            {
                using var document = JsonDocument.Parse(line);
                using var buffer = new MemoryStream();
                using (var json = new Utf8JsonWriter(buffer, Plain))
                    answer(document.RootElement, json);
                output.WriteLine(System.Text.Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length));
            }
            catch (Exception error) when (error is JsonException or InvalidOperationException)
            {
                throw new LegatoException("the line is not well-formed JSON: " + error.Message, $"line {number}", "write one JSON value a line", error);
            }
            catch (LegatoException error)
            {
                string where = error.Where is null ? $"line {number}" : $"line {number}, {error.Where}";
                throw new LegatoException(error.What, where, error.Remedy, error);
            }
        }
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
