using System.Text.Json;
using Legato.Runtime.Text.Patterns;
using Legato.Runtime.Text.Scanners;

namespace Legato.Runtime.Text.PreTokenizers;

/// <summary>A pattern of tokenizer.json: a string, or a regular expression.</summary>
internal sealed class TextPattern
{
    private readonly string source;
    private readonly PatternProgram? program;

    private TextPattern(string source, PatternProgram? program, SplitPattern? known)
    {
        this.source = source;
        this.program = program;
        Known = known;
    }

    /// <summary>The known pattern this is, for which there is a scanner written by hand.</summary>
    public SplitPattern? Known { get; }

    public static TextPattern Literal(string text) => new(text, null, null);

    /// <exception cref="LegatoException">The expression is ill-formed, or asks for what isn't supported.</exception>
    public static TextPattern Regex(string expression) =>
        new(expression, PatternProgram.Compile(PatternParser.Parse(expression)), SplitPatterns.Find(expression));

    /// <summary>A regular expression that runs on the general machine even when there is a scanner for it.</summary>
    public static TextPattern GeneralRegex(string expression) =>
        new(expression, PatternProgram.Compile(PatternParser.Parse(expression)), null);

    /// <summary>Adds the stretches of a text, matches and what is between them, without gaps.</summary>
    public void Find(ReadOnlySpan<char> text, List<Stretch> stretches)
    {
        if (Known is { } known)
            FindKnown(known, text, stretches);
        else if (program is not null)
            FindMatches(program, text, stretches);
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

    private static void FindMatches(PatternProgram program, ReadOnlySpan<char> text, List<Stretch> stretches)
    {
        var machine = new PatternMachine(program, text);
        int start = 0;
        for (int at = 0; at < text.Length;)
        {
            int end = machine.MatchAt(at);
            if (end <= at)
            {
                at += char.IsHighSurrogate(text[at]) && at + 1 < text.Length && char.IsLowSurrogate(text[at + 1]) ? 2 : 1;
                continue;
            }
            if (at > start)
                stretches.Add(new Stretch(start, at, false));
            stretches.Add(new Stretch(at, end, true));
            start = at = end;
        }
        if (start < text.Length)
            stretches.Add(new Stretch(start, text.Length, false));
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
        json.WriteString(program is not null ? "Regex" : "String", source);
        json.WriteEndObject();
    }
}
