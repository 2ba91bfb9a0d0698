using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Decoders;

/// <summary>Takes back the spaces that stand before English punctuation and contractions.</summary>
internal static class Cleanup
{
    public static string Of(string text) => text
        .Replace(" .", ".", StringComparison.Ordinal).Replace(" ?", "?", StringComparison.Ordinal)
        .Replace(" !", "!", StringComparison.Ordinal).Replace(" ,", ",", StringComparison.Ordinal)
        .Replace(" ' ", "'", StringComparison.Ordinal).Replace(" n't", "n't", StringComparison.Ordinal)
        .Replace(" 'm", "'m", StringComparison.Ordinal).Replace(" do not", " don't", StringComparison.Ordinal)
        .Replace(" 's", "'s", StringComparison.Ordinal).Replace(" 've", "'ve", StringComparison.Ordinal)
        .Replace(" 're", "'re", StringComparison.Ordinal);
}

/// <summary>Tokens that continue a word join it, the others follow a space.</summary>
internal sealed class WordPieceDecoder(string prefix, bool cleanup) : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        var texts = new List<string>(tokens.Count);
        foreach (string token in tokens)
        {
            string text = token;
            if (texts.Count > 0)
                text = token.StartsWith(prefix, StringComparison.Ordinal) ? token[prefix.Length..] : " " + token;
            texts.Add(cleanup ? Cleanup.Of(text) : text);
        }
        return texts;
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "WordPiece");
        json.WriteString("prefix", prefix);
        json.WriteBoolean("cleanup", cleanup);
        json.WriteEndObject();
    }
}

/// <summary>An end-of-word mark becomes a space, except at the very end.</summary>
internal sealed class EndOfWordDecoder(string suffix) : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        var texts = new List<string>(tokens.Count);
        foreach (string token in tokens)
            texts.Add(suffix.Length == 0
                ? token
                : token.Replace(suffix, texts.Count == tokens.Count - 1 ? "" : " ", StringComparison.Ordinal));
        return texts;
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "BPEDecoder");
        json.WriteString("suffix", suffix);
        json.WriteEndObject();
    }
}

/// <summary>Connectionist temporal classification: repeats count once, and the blank goes.</summary>
internal sealed class CtcDecoder(string padToken, string wordDelimiter, bool cleanup) : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        var texts = new List<string>();
        string? last = null;
        foreach (string token in tokens)
        {
            if (token == last)
                continue;
            last = token;
            string text = padToken.Length == 0 ? token : token.Replace(padToken, "", StringComparison.Ordinal);
            if (cleanup && wordDelimiter.Length > 0)
                text = Cleanup.Of(text).Replace(wordDelimiter, " ", StringComparison.Ordinal);
            if (text.Length > 0)
                texts.Add(text);
        }
        return texts;
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "CTC");
        json.WriteString("pad_token", padToken);
        json.WriteString("word_delimiter_token", wordDelimiter);
        json.WriteBoolean("cleanup", cleanup);
        json.WriteEndObject();
    }
}
