using System.Text.Json;
using Legato.Runtime.Text.Scanners;

namespace Legato.Runtime.Text.PreTokenizers;

/// <summary>A pattern of tokenizer.json: a string, or a regular expression.</summary>
internal sealed class TextPattern
{
    private readonly string source;
    private readonly bool isRegex;

    private TextPattern(string source, bool isRegex)
    {
        this.source = source;
        this.isRegex = isRegex;
        Known = isRegex ? SplitPatterns.Find(source) : null;
    }

    /// <summary>The known pattern this is, for which there is a scanner written by hand.</summary>
    public SplitPattern? Known { get; }

    public static TextPattern Literal(string text) => new(text, isRegex: false);

    public static TextPattern Regex(string expression) => new(expression, isRegex: true);

    /// <summary>Adds the stretches of a text, matches and what is between them, without gaps.</summary>
    public void Find(ReadOnlySpan<char> text, List<Stretch> stretches)
    {
        if (Known is { } known)
            FindKnown(known, text, stretches);
        else
            FindLiteral(text, stretches);
    }

    private static void FindKnown(SplitPattern known, ReadOnlySpan<char> text, List<Stretch> stretches)
    {
        int start = 0;
        foreach (int end in PatternScan.Ends(known, text))
        {
            stretches.Add(new Stretch(start, end, true));
            start = end;
        }
    }

    private void FindLiteral(ReadOnlySpan<char> text, List<Stretch> stretches)
    {
        int at = 0;
        while (source.Length > 0 && text[at..].IndexOf(source, StringComparison.Ordinal) is var found and >= 0)
        {
            if (found > 0)
                stretches.Add(new Stretch(at, at + found, false));
            stretches.Add(new Stretch(at + found, at + found + source.Length, true));
            at += found + source.Length;
        }
        if (at < text.Length)
            stretches.Add(new Stretch(at, text.Length, false));
    }

    /// <summary>Writes the member "pattern".</summary>
    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject("pattern");
        json.WriteString(isRegex ? "Regex" : "String", source);
        json.WriteEndObject();
    }
}
