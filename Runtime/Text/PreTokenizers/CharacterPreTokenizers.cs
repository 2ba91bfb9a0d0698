using System.Globalization;
using System.Text;
using System.Text.Json;
using Legato.Runtime.Text.Normalizers;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.Unicode;

namespace Legato.Runtime.Text.PreTokenizers;

/// <summary>Splits at characters of a kind.</summary>
internal static class CharacterSplit
{
    public static void Split(List<TextPiece> input, List<TextPiece> output, Func<int, bool> isMatch, SplitBehaviour behaviour)
    {
        var stretches = new List<Stretch>();
        foreach (var piece in input)
        {
            stretches.Clear();
            Find(piece.Chars, isMatch, stretches);
            Splitting.Cut(piece, stretches, behaviour, output);
        }
    }

    public static bool IsPunctuation(int codePoint) => codePoint < 0x80
        ? codePoint is >= '!' and <= '/' or >= ':' and <= '@' or >= '[' and <= '`' or >= '{' and <= '~'
        : CharUnicodeInfo.GetUnicodeCategory(codePoint) is >= UnicodeCategory.ConnectorPunctuation and <= UnicodeCategory.OtherPunctuation;

    public static bool IsSpace(int codePoint) => (CharacterClasses.Of(codePoint) & CharacterClass.Space) != 0;

    // Each matching character is a stretch; what is between them is one.
    private static void Find(ReadOnlySpan<char> text, Func<int, bool> isMatch, List<Stretch> stretches)
    {
        int start = 0;
        for (int at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text[at..], out var rune, out int length);
            if (isMatch(rune.Value))
            {
                if (at > start)
                    stretches.Add(new Stretch(start, at, false));
                stretches.Add(new Stretch(at, at + length, true));
                start = at + length;
            }
            at += length;
        }
        if (start < text.Length)
            stretches.Add(new Stretch(start, text.Length, false));
    }
}

/// <summary>Words and runs of signs, without the white space between: <c>\w+|[^\w\s]+</c>.</summary>
internal sealed class WhitespacePreTokenizer : IPreTokenizer
{
    public void Split(List<TextPiece> input, List<TextPiece> output)
    {
        foreach (var piece in input)
        {
            int start = 0, kind = 0;
            for (int at = 0; at < piece.Length;)
            {
                Rune.DecodeFromUtf16(piece.Chars[at..], out var rune, out int length);
                int next = Words.IsWordCharacter(rune.Value) ? 1 : CharacterSplit.IsSpace(rune.Value) ? 0 : 2;
                if (next != kind)
                {
                    if (kind != 0)
                        output.Add(piece.Slice(start, at));
                    (start, kind) = (at, next);
                }
                at += length;
            }
            if (kind != 0)
                output.Add(piece.Slice(start, piece.Length));
        }
    }

    public void Write(Utf8JsonWriter json) => CharacterMap.WriteType(json, "Whitespace");
}

/// <summary>Splits at white space, which is left out.</summary>
internal sealed class WhitespaceSplitPreTokenizer : IPreTokenizer
{
    public void Split(List<TextPiece> input, List<TextPiece> output) =>
        CharacterSplit.Split(input, output, CharacterSplit.IsSpace, SplitBehaviour.Removed);

    public void Write(Utf8JsonWriter json) => CharacterMap.WriteType(json, "WhitespaceSplit");
}

/// <summary>BERT's: white space is left out, each punctuation sign is a piece.</summary>
internal sealed class BertPreTokenizer : IPreTokenizer
{
    public void Split(List<TextPiece> input, List<TextPiece> output)
    {
        var words = new List<TextPiece>();
        CharacterSplit.Split(input, words, CharacterSplit.IsSpace, SplitBehaviour.Removed);
        CharacterSplit.Split(words, output, CharacterSplit.IsPunctuation, SplitBehaviour.Isolated);
    }

    public void Write(Utf8JsonWriter json) => CharacterMap.WriteType(json, "BertPreTokenizer");
}

/// <summary>Splits at punctuation.</summary>
internal sealed class PunctuationPreTokenizer(SplitBehaviour behaviour) : IPreTokenizer
{
    public void Split(List<TextPiece> input, List<TextPiece> output) =>
        CharacterSplit.Split(input, output, CharacterSplit.IsPunctuation, behaviour);

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Punctuation");
        json.WriteString("behavior", behaviour.ToString());
        json.WriteEndObject();
    }
}

/// <summary>Splits numbers off, by digit or as a whole.</summary>
internal sealed class DigitsPreTokenizer(bool individual) : IPreTokenizer
{
    public void Split(List<TextPiece> input, List<TextPiece> output) =>
        CharacterSplit.Split(input, output, static codePoint => (CharacterClasses.Of(codePoint) & CharacterClass.Number) != 0,
            individual ? SplitBehaviour.Isolated : SplitBehaviour.Contiguous);

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Digits");
        json.WriteBoolean("individual_digits", individual);
        json.WriteEndObject();
    }
}

/// <summary>Splits at one character, which is left out.</summary>
internal sealed class DelimiterPreTokenizer(Rune delimiter) : IPreTokenizer
{
    public void Split(List<TextPiece> input, List<TextPiece> output) =>
        CharacterSplit.Split(input, output, codePoint => codePoint == delimiter.Value, SplitBehaviour.Removed);

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "CharDelimiterSplit");
        json.WriteString("delimiter", delimiter.ToString());
        json.WriteEndObject();
    }
}

/// <summary>Splits into pieces of so many characters.</summary>
internal sealed class FixedLengthPreTokenizer(int length) : IPreTokenizer
{
    public void Split(List<TextPiece> input, List<TextPiece> output)
    {
        foreach (var piece in input)
        {
            int start = 0, count = 0;
            for (int at = 0; at < piece.Length; count++)
            {
                if (count == length)
                {
                    output.Add(piece.Slice(start, at));
                    (start, count) = (at, 0);
                }
                Rune.DecodeFromUtf16(piece.Chars[at..], out _, out int units);
                at += units;
            }
            if (start < piece.Length)
                output.Add(piece.Slice(start, piece.Length));
        }
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "FixedLength");
        json.WriteNumber("length", length);
        json.WriteEndObject();
    }
}

/// <summary>Splits where the script changes; Japanese scripts are one, and spaces belong to any.</summary>
internal sealed class ScriptsPreTokenizer : IPreTokenizer
{
    private const int Anything = -2;

    private static readonly int Han = Scripts.Find("Han");
    private static readonly int Hiragana = Scripts.Find("Hiragana");
    private static readonly int Katakana = Scripts.Find("Katakana");

    public void Split(List<TextPiece> input, List<TextPiece> output)
    {
        foreach (var piece in input)
        {
            int start = -1, last = -3;
            for (int at = 0; at < piece.Length;)
            {
                Rune.DecodeFromUtf16(piece.Chars[at..], out var rune, out int length);
                int script = ScriptOf(rune.Value);
                if (script != Anything && script != last)
                {
                    if (start >= 0)
                        output.Add(piece.Slice(start, at));
                    (start, last) = (at, script);
                }
                at += length;
            }
            if (start >= 0)
                output.Add(piece.Slice(start, piece.Length));
        }
    }

    private static int ScriptOf(int codePoint)
    {
        if (codePoint == 0x30FC)
            return Han;
        int script = codePoint == ' ' ? Anything : Scripts.Of(codePoint);
        if (script == -1)
            return Anything;
        return script == Hiragana || script == Katakana ? Han : script;
    }

    public void Write(Utf8JsonWriter json) => CharacterMap.WriteType(json, "UnicodeScripts");
}
