using System.Text;
using System.Text.Json;
using Legato.Runtime.Text.Normalizers;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PreTokenizers;

namespace Legato.Runtime.Text.Decoders;

/// <summary>Joins all tokens into one string, so that later steps see the whole.</summary>
internal sealed class FuseDecoder : ITokenDecoder
{
    public List<string> Decode(List<string> tokens) => [string.Concat(tokens)];

    public void Write(Utf8JsonWriter json) => CharacterMap.WriteType(json, "Fuse");
}

/// <summary>One decoder after the other.</summary>
internal sealed class SequenceDecoder(IReadOnlyList<ITokenDecoder> stages) : ITokenDecoder
{
    public IReadOnlyList<ITokenDecoder> Stages => stages;

    public List<string> Decode(List<string> tokens)
    {
        foreach (var stage in stages)
            tokens = stage.Decode(tokens);
        return tokens;
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Sequence");
        json.WriteStartArray("decoders");
        foreach (var stage in stages)
            stage.Write(json);
        json.WriteEndArray();
        json.WriteEndObject();
    }
}

/// <summary>Replaces what a pattern matches in each token.</summary>
internal sealed class ReplaceDecoder(TextPattern pattern, string content) : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        var stretches = new List<Stretch>();
        var text = new StringBuilder();
        return tokens.ConvertAll(token =>
        {
            stretches.Clear();
            pattern.Find(token, stretches);
            text.Clear();
            foreach (var stretch in stretches)
                text.Append(stretch.IsMatch ? content : token.AsSpan()[stretch.Start..stretch.End]);
            return text.ToString();
        });
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Replace");
        pattern.Write(json);
        json.WriteString("content", content);
        json.WriteEndObject();
    }
}

/// <summary>Takes up to so many of one character off each end of each token.</summary>
internal sealed class StripDecoder(Rune content, int start, int stop) : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        string unit = content.ToString();
        return tokens.ConvertAll(token =>
        {
            int from = 0, to = token.Length;
            for (int i = 0; i < start && token.AsSpan(from).StartsWith(unit, StringComparison.Ordinal); i++)
                from += unit.Length;
            for (int i = 0; i < stop && to - unit.Length >= from && token.AsSpan(0, to).EndsWith(unit, StringComparison.Ordinal); i++)
                to -= unit.Length;
            return token[from..to];
        });
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Strip");
        json.WriteString("content", content.ToString());
        json.WriteNumber("start", start);
        json.WriteNumber("stop", stop);
        json.WriteEndObject();
    }
}

/// <summary>Spaces back from <see cref="MetaspacePreTokenizer"/>'s mark; the one it put first goes.</summary>
internal sealed class MetaspaceDecoder(string replacement, PrependScheme scheme, bool split) : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        var texts = new List<string>(tokens.Count);
        foreach (string token in tokens)
            texts.Add(token.Replace(replacement, texts.Count == 0 && scheme != PrependScheme.Never ? "" : " ", StringComparison.Ordinal));
        return texts;
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Metaspace");
        json.WriteString("replacement", replacement);
        json.WriteString("prepend_scheme", scheme.ToString().ToLowerInvariant());
        json.WriteBoolean("split", split);
        json.WriteEndObject();
    }
}

/// <summary>Runs of byte tokens, <c>&lt;0x0A&gt;</c>, back to the characters they spell.</summary>
internal sealed class ByteFallbackDecoder : ITokenDecoder
{
    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);

    public List<string> Decode(List<string> tokens)
    {
        var texts = new List<string>(tokens.Count);
        var bytes = new List<byte>();
        foreach (string token in tokens)
        {
            if (TryReadByte(token, out byte value))
            {
                bytes.Add(value);
                continue;
            }
            Flush(bytes, texts);
            texts.Add(token);
        }
        Flush(bytes, texts);
        return texts;
    }

    public static bool TryReadByte(string token, out byte value)
    {
        value = 0;
        return token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>'
            && byte.TryParse(token.AsSpan(3, 2), System.Globalization.NumberStyles.AllowHexSpecifier, null, out value);
    }

    // Bytes that aren't whole characters become one replacement character each.
    private static void Flush(List<byte> bytes, List<string> texts)
    {
        if (bytes.Count == 0)
            return;
        try
        {
            texts.Add(Strict.GetString([.. bytes]));
        }
        catch (DecoderFallbackException)
        {
            texts.Add(new string('\uFFFD', bytes.Count));
        }
        bytes.Clear();
    }

    public void Write(Utf8JsonWriter json) => CharacterMap.WriteType(json, "ByteFallback");
}
