using System.Text.Json;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.PostProcessors;

/// <summary>Takes white space out of the offsets of byte-level tokens, when asked to.</summary>
internal sealed class ByteLevelPostProcessor(bool addPrefixSpace, bool trimOffsets, bool useRegex) : IPostProcessor
{
    public int AddedTokens(bool pair) => 0;

    public List<TokenSegment> Process(List<TokenSegment> segments, bool addTokens, Vocabulary vocabulary)
    {
        if (trimOffsets)
            foreach (var segment in segments)
                Trim(segment, vocabulary, addPrefixSpace);
        return segments;
    }

    public static void Trim(TokenSegment segment, Vocabulary vocabulary, bool addPrefixSpace)
    {
        for (int i = 0; i < segment.Ids.Count; i++)
        {
            string token = vocabulary.TokenOf(segment.Ids[i]) ?? "";
            int leading = 0, trailing = 0;
            while (leading < token.Length && IsSpace(token[leading]))
                leading++;
            while (trailing < token.Length && IsSpace(token[^(trailing + 1)]))
                trailing++;
            var (start, end) = segment.Offsets[i];
            // The space that was put before the text is not in it.
            if (leading > 0 && addPrefixSpace && (i == 0 || start == 0))
                leading--;
            start = Math.Min(start + leading, end);
            if (end >= trailing)
                end = Math.Max(end - trailing, start);
            segment.Offsets[i] = new TextSpan(start, end);
        }
    }

    private static bool IsSpace(char character) => character == ByteAlphabet.CharacterOf((byte)' ') || char.IsWhiteSpace(character);

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "ByteLevel");
        json.WriteBoolean("add_prefix_space", addPrefixSpace);
        json.WriteBoolean("trim_offsets", trimOffsets);
        json.WriteBoolean("use_regex", useRegex);
        json.WriteEndObject();
    }
}
