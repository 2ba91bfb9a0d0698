using System.Globalization;
using System.Text;
using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Normalizers;

/// <summary>BERT's clean-up (Devlin et al. 2019, the released tokenizer): controls, CJK characters, accents, case.</summary>
internal sealed class BertNormalizer(bool cleanText, bool handleChinese, bool? stripAccents, bool lowercase) : INormalizer
{
    private static readonly UnicodeFormNormalizer Decomposed = new(NormalizationForm.FormD);
    private static readonly LowercaseNormalizer Lower = new();

    public AlignedText Normalize(AlignedText text)
    {
        if (cleanText)
            text = CharacterMap.Apply(text, Clean);
        if (handleChinese)
            text = CharacterMap.Apply(text, SetApart);
        if (stripAccents ?? lowercase)
            text = CharacterMap.Apply(Decomposed.Normalize(text), LeaveOutAccents);
        return lowercase ? Lower.Normalize(text) : text;
    }

    private static void Clean(int codePoint, TextSpan source, AlignedTextBuilder output)
    {
        if (codePoint is '\t' or '\n' or '\r')
        {
            output.Append(' ', source);
            return;
        }
        if (codePoint is 0 or 0xFFFD || CharUnicodeInfo.GetUnicodeCategory(codePoint) is UnicodeCategory.Control
            or UnicodeCategory.Format or UnicodeCategory.PrivateUse or UnicodeCategory.Surrogate)
            return;
        output.Append(Rune.IsWhiteSpace(new Rune(codePoint)) ? ' ' : codePoint, source);
    }

    private static void SetApart(int codePoint, TextSpan source, AlignedTextBuilder output)
    {
        if (!IsChinese(codePoint))
        {
            output.Append(codePoint, source);
            return;
        }
        output.Append(' ', source);
        output.Append(codePoint, source);
        output.Append(' ', source);
    }

    private static void LeaveOutAccents(int codePoint, TextSpan source, AlignedTextBuilder output)
    {
        if (CharUnicodeInfo.GetUnicodeCategory(codePoint) != UnicodeCategory.NonSpacingMark)
            output.Append(codePoint, source);
    }

    private static bool IsChinese(int codePoint) => codePoint is >= 0x4E00 and <= 0x9FFF or >= 0x3400 and <= 0x4DBF
        or >= 0x20000 and <= 0x2A6DF or >= 0x2A700 and <= 0x2B73F or >= 0x2B740 and <= 0x2B81F or >= 0x2B920 and <= 0x2CEAF
        or >= 0xF900 and <= 0xFAFF or >= 0x2F800 and <= 0x2FA1F;

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "BertNormalizer");
        json.WriteBoolean("clean_text", cleanText);
        json.WriteBoolean("handle_chinese_chars", handleChinese);
        if (stripAccents is bool strip)
            json.WriteBoolean("strip_accents", strip);
        else
            json.WriteNull("strip_accents");
        json.WriteBoolean("lowercase", lowercase);
        json.WriteEndObject();
    }
}
