using System.Globalization;
using System.Text;

namespace Legato.Runtime.Text.Patterns;

/// <summary>A regular expression's text as its parser goes through it: positions, numbers, characters and their escapes.</summary>
internal sealed class PatternReader(string source)
{
    private const int MaximumDepth = 64;

    private int at;
    private int depth;

    public bool More => at < source.Length;

    public char Current => source[at];

    /// <summary>What was read last.</summary>
    public char Before => source[at - 1];

    public void Skip() => at++;

    public void SkipTo(char end)
    {
        while (More && source[at] != end)
            at++;
    }

    /// <summary>Whether so many characters further on stands one that fits.</summary>
    public bool IsAhead(int distance, Func<char, bool> fits) => at + distance < source.Length && fits(source[at + distance]);

    /// <summary>Goes back to a <see cref="Mark"/>.</summary>
    public void Return(int mark) => at = mark;

    public int Mark => at;

    /// <summary>Begins a group or a set, which <see cref="Leave"/> ends.</summary>
    public void Enter()
    {
        if (++depth > MaximumDepth)
            throw Wrong("nests too deeply");
    }

    public void Leave() => depth--;

    /// <summary>What stands before an end, which is passed; <paramref name="what"/> is told to be unfinished where it lacks.</summary>
    public string UpTo(string end, string what)
    {
        int stop = source.IndexOf(end, at, StringComparison.Ordinal);
        if (stop < 0)
            throw Wrong($"has an unfinished {what}");
        string text = source[at..stop];
        at = stop + end.Length;
        return text;
    }

    /// <summary>Digits as a number, one above <paramref name="most"/> standing for all that are larger.</summary>
    public bool TryReadNumber(int most, out int number)
    {
        int start = at;
        number = 0;
        for (; More && char.IsAsciiDigit(source[at]); at++)
            number = Math.Min(most + 1, number * 10 + (source[at] - '0'));
        return at > start;
    }

    /// <summary>The single character that an escape stands for, behind its backslash.</summary>
    public int ReadCharacterEscape()
    {
        char escape = source[at++];
        switch (escape)
        {
            case 'n': return '\n';
            case 'r': return '\r';
            case 't': return '\t';
            case 'f': return '\f';
            case 'v': return '\v';
            case 'a': return '\a';
            case 'e': return 0x1B;
            case '0': return 0;
            case 'x': return Accept("{") ? ReadBracedHex() : ReadHex(2);
            case 'u': return Accept("{") ? ReadBracedHex() : ReadHex(4);
            case 'U': return ReadHex(8);
        }
        if (char.IsAsciiLetterOrDigit(escape))
            throw Wrong($"has the unknown escape '\\{escape}'");
        at--;
        return NextCodePoint();
    }

    private int ReadBracedHex()
    {
        int start = at;
        string digits = UpTo("}", "escape");
        // A wrong number is told where it begins.
        (int end, at) = (at, start);
        int value = HexValue(digits);
        at = end;
        return value;
    }

    private int ReadHex(int digits)
    {
        if (at + digits > source.Length)
            throw Wrong("has an unfinished escape");
        int value = HexValue(source.Substring(at, digits));
        at += digits;
        return value;
    }

    private int HexValue(string digits) =>
        int.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value) && value is >= 0 and <= 0x10FFFF
            ? value
            : throw Wrong($"has the wrong code point '{digits}'");

    public int NextCodePoint()
    {
        if (Rune.DecodeFromUtf16(source.AsSpan(at), out var rune, out int length) != System.Buffers.OperationStatus.Done)
            throw Wrong("has a lone surrogate");
        at += length;
        return rune.Value;
    }

    /// <summary>Whether this text is next; it is passed then.</summary>
    public bool Accept(string text)
    {
        if (string.CompareOrdinal(source, at, text, 0, text.Length) != 0)
            return false;
        at += text.Length;
        return true;
    }

    public LegatoException Wrong(string what) => new($"the regular expression {what}", $"position {at} of {source}",
        "see the syntax that Oniguruma and Rust's regex share");
}
