using System.Globalization;
using System.Text;
using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Normalizers;

/// <summary>Lowers the case of letters.</summary>
internal sealed class LowercaseNormalizer : INormalizer
{
    // The only letter whose lower case is two characters, whatever the language.
    private const int CapitalIWithDot = 0x130;

    public AlignedText Normalize(AlignedText text) => CharacterMap.Apply(text, static (codePoint, source, output) =>
    {
        if (codePoint == CapitalIWithDot)
            output.Append("i\u0307", source);
        else
            output.Append(Rune.ToLowerInvariant(new Rune(codePoint)).Value, source);
    });

    public void Write(Utf8JsonWriter json) => CharacterMap.WriteType(json, "Lowercase");
}

/// <summary>Leaves combining marks out.</summary>
internal sealed class StripAccentsNormalizer : INormalizer
{
    public AlignedText Normalize(AlignedText text) => CharacterMap.Apply(text, static (codePoint, source, output) =>
    {
        if (CharUnicodeInfo.GetUnicodeCategory(codePoint) is not (UnicodeCategory.NonSpacingMark
            or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark))
            output.Append(codePoint, source);
    });

    public void Write(Utf8JsonWriter json) => CharacterMap.WriteType(json, "StripAccents");
}

/// <summary>Rules of neural machine translation: control characters go, odd spaces become spaces.</summary>
internal sealed class NmtNormalizer : INormalizer
{
    public AlignedText Normalize(AlignedText text) => CharacterMap.Apply(text, static (codePoint, source, output) =>
    {
        switch (codePoint)
        {
            case >= 0x01 and <= 0x08 or 0x0B or >= 0x0E and <= 0x1F or 0x7F or 0x8F or 0x9F:
                break;
            case 0x09 or 0x0A or 0x0C or 0x0D or 0x1680 or >= 0x200B and <= 0x200F or 0x2028 or 0x2029 or 0x2581 or 0xFEFF or 0xFFFD:
                output.Append(' ', source);
                break;
            default:
                output.Append(codePoint, source);
                break;
        }
    });

    public void Write(Utf8JsonWriter json) => CharacterMap.WriteType(json, "Nmt");
}

/// <summary>Spells each byte of the UTF-8 form as a character.</summary>
internal sealed class ByteLevelNormalizer : INormalizer
{
    public AlignedText Normalize(AlignedText text) =>
        PreTokenizers.ByteLevelPreTokenizer.Spell(TextPiece.Whole(text)).Text;

    public void Write(Utf8JsonWriter json) => CharacterMap.WriteType(json, "ByteLevel");
}

/// <summary>Rewrites a text character by character.</summary>
internal static class CharacterMap
{
    public delegate void Rewrite(int codePoint, TextSpan source, AlignedTextBuilder output);

    public static AlignedText Apply(AlignedText text, Rewrite rewrite)
    {
        var builder = new AlignedTextBuilder(text.Length);
        for (int at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text.Chars[at..], out var rune, out int length);
            rewrite(rune.Value, text.SourceOf(at, at + length), builder);
            at += length;
        }
        return builder.Build();
    }

    public static void WriteType(Utf8JsonWriter json, string type)
    {
        json.WriteStartObject();
        json.WriteString("type", type);
        json.WriteEndObject();
    }
}
