using System.Globalization;
using System.Text;
using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Normalizers;

/// <summary>
/// Applies a <see cref="CharactersMap"/>. SentencePiece takes the rule for the longest prefix at each place.
/// Hugging Face tokenizers apply rules to grapheme clusters of up to five bytes as a whole, where the rule for the
/// shortest prefix replaces all of it, and to single characters otherwise.
/// </summary>
internal sealed class PrecompiledNormalizer(CharactersMap map, bool longestMatch) : INormalizer
{
    private const int LargestWholeCluster = 5;

    public PrecompiledNormalizer WithLongestMatch() => new(map, longestMatch: true);

    public AlignedText Normalize(AlignedText text) => longestMatch ? ReplaceLongest(text) : ReplaceClusters(text);

    private AlignedText ReplaceLongest(AlignedText text)
    {
        var builder = new AlignedTextBuilder(text.Length);
        byte[] utf8 = Encoding.UTF8.GetBytes(text.Chars.ToArray());
        for (int at = 0, place = 0; at < utf8.Length;)
        {
            bool found = map.TryMatch(utf8.AsSpan(at), longest: true, out int bytes, out var replacement);
            if (!found)
                Rune.DecodeFromUtf8(utf8.AsSpan(at), out _, out bytes);
            int units = Encoding.UTF8.GetCharCount(utf8, at, bytes);
            if (found)
                Append(text, place, units, replacement, builder);
            else
                builder.Append(text, place, place + units);
            at += bytes;
            place += units;
        }
        return builder.Build();
    }

    private AlignedText ReplaceClusters(AlignedText text)
    {
        var builder = new AlignedTextBuilder(text.Length);
        for (int at = 0; at < text.Length;)
        {
            int length = StringInfo.GetNextTextElementLength(text.Chars[at..]);
            var cluster = text.Chars.Slice(at, length);
            if (Encoding.UTF8.GetByteCount(cluster) > LargestWholeCluster || !TryReplace(text, at, length, builder))
                ReplaceCharacters(text, at, length, builder);
            at += length;
        }
        return builder.Build();
    }

    private void ReplaceCharacters(AlignedText text, int start, int count, AlignedTextBuilder builder)
    {
        for (int at = start; at < start + count;)
        {
            Rune.DecodeFromUtf16(text.Chars[at..], out _, out int length);
            if (!TryReplace(text, at, length, builder))
                builder.Append(text, at, at + length);
            at += length;
        }
    }

    private bool TryReplace(AlignedText text, int start, int length, AlignedTextBuilder builder)
    {
        Span<byte> utf8 = stackalloc byte[8];
        int size = Encoding.UTF8.GetBytes(text.Chars.Slice(start, length), utf8);
        if (!map.TryMatch(utf8[..size], longest: false, out _, out var replacement))
            return false;
        Append(text, start, length, replacement, builder);
        return true;
    }

    private static void Append(AlignedText text, int start, int length, ReadOnlySpan<byte> replacement, AlignedTextBuilder builder)
    {
        // New characters stand for the old ones in order; what is over stands for the last.
        int old = start, end = start + length;
        foreach (var rune in Encoding.UTF8.GetString(replacement).EnumerateRunes())
        {
            Rune.DecodeFromUtf16(text.Chars[old..], out _, out int oldLength);
            builder.Append(rune.Value, text.SourceOf(old, old + oldLength));
            if (old + oldLength < end)
                old += oldLength;
        }
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Precompiled");
        json.WriteBase64String("precompiled_charsmap", map.Blob);
        json.WriteEndObject();
    }
}
