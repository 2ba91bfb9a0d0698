using System.Text.Encodings.Web;
using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Formats;

/// <summary>Writes a tokenizer in the layout of Hugging Face tokenizers. The same definition gives the same bytes.</summary>
internal static class TokenizerJsonWriter
{
    private static readonly JsonWriterOptions Options = new()
    {
        Indented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public static byte[] Write(TokenizerDefinition definition)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, Options))
        {
            json.WriteStartObject();
            json.WriteString("version", "1.0");
            WriteTruncation(json, definition.Truncation);
            WritePadding(json, definition.Padding);
            WriteAddedTokens(json, definition.AddedTokens);
            WriteStage(json, "normalizer", definition.Normalizer);
            WriteStage(json, "pre_tokenizer", definition.PreTokenizer);
            WriteStage(json, "post_processor", definition.PostProcessor);
            WriteStage(json, "decoder", definition.Decoder);
            WriteStage(json, "model", definition.Model);
            json.WriteEndObject();
        }
        return stream.ToArray();
    }

    private static void WriteStage(Utf8JsonWriter json, string name, IStage? stage)
    {
        json.WritePropertyName(name);
        if (stage is null)
            json.WriteNullValue();
        else
            stage.Write(json);
    }

    private static void WriteTruncation(Utf8JsonWriter json, Truncation? truncation)
    {
        if (truncation is null)
        {
            json.WriteNull("truncation");
            return;
        }
        json.WriteStartObject("truncation");
        json.WriteString("direction", truncation.Side.ToString());
        json.WriteNumber("max_length", truncation.MaximumLength);
        json.WriteString("strategy", truncation.Strategy.ToString());
        json.WriteNumber("stride", truncation.Stride);
        json.WriteEndObject();
    }

    private static void WritePadding(Utf8JsonWriter json, Padding? padding)
    {
        if (padding is null)
        {
            json.WriteNull("padding");
            return;
        }
        json.WriteStartObject("padding");
        if (padding.Length is int length)
        {
            json.WriteStartObject("strategy");
            json.WriteNumber("Fixed", length);
            json.WriteEndObject();
        }
        else
        {
            json.WriteString("strategy", "BatchLongest");
        }
        json.WriteString("direction", padding.Side.ToString());
        if (padding.Multiple is int multiple)
            json.WriteNumber("pad_to_multiple_of", multiple);
        else
            json.WriteNull("pad_to_multiple_of");
        json.WriteNumber("pad_id", padding.Id);
        json.WriteNumber("pad_type_id", padding.TypeId);
        json.WriteString("pad_token", padding.Token);
        json.WriteEndObject();
    }

    private static void WriteAddedTokens(Utf8JsonWriter json, IReadOnlyList<AddedToken> tokens)
    {
        json.WriteStartArray("added_tokens");
        foreach (var token in tokens.OrderBy(token => token.Id))
        {
            json.WriteStartObject();
            json.WriteNumber("id", token.Id);
            json.WriteString("content", token.Content);
            json.WriteBoolean("single_word", token.SingleWord);
            json.WriteBoolean("lstrip", token.StripLeft);
            json.WriteBoolean("rstrip", token.StripRight);
            json.WriteBoolean("normalized", token.Normalized);
            json.WriteBoolean("special", token.Special);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }
}
