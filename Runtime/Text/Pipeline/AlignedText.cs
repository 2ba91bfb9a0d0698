namespace Legato.Runtime.Text.Pipeline;

/// <summary>
/// A text on its way through normalizers and pre-tokenizers. Each UTF-16 code unit knows which part of the
/// source text it came from, so that tokens can be traced back to it.
/// </summary>
internal sealed class AlignedText
{
    private readonly char[] chars;
    private readonly TextSpan[]? sources;
    private readonly int sourceStart;

    private AlignedText(char[] chars, int length, TextSpan[]? sources, int sourceStart)
    {
        this.chars = chars;
        this.sources = sources;
        this.sourceStart = sourceStart;
        Length = length;
    }

    /// <summary>Length in UTF-16 code units.</summary>
    public int Length { get; }

    public ReadOnlySpan<char> Chars => chars.AsSpan(0, Length);

    /// <summary>Wraps a part of a source text that stands in it at <paramref name="sourceStart"/>.</summary>
    public static AlignedText FromSource(ReadOnlySpan<char> text, int sourceStart) =>
        new(text.ToArray(), text.Length, null, sourceStart);

    internal static AlignedText FromBuilder(char[] chars, TextSpan[] sources, int length) =>
        new(chars, length, sources, 0);

    /// <summary>The source of the code unit at <paramref name="index"/>; a surrogate has its whole character's.</summary>
    public TextSpan SourceOf(int index)
    {
        if (sources is not null)
            return sources[index];
        int start = index, end = index + 1;
        if (char.IsLowSurrogate(chars[index]) && index > 0 && char.IsHighSurrogate(chars[index - 1]))
            start--;
        else if (char.IsHighSurrogate(chars[index]) && end < Length && char.IsLowSurrogate(chars[end]))
            end++;
        return new TextSpan(sourceStart + start, sourceStart + end);
    }

    /// <summary>The part of the source that <c>[start, end)</c> of this text came from.</summary>
    public TextSpan SourceOf(int start, int end)
    {
        if (start >= end)
        {
            int at = Length == 0 ? sourceStart : start < Length ? SourceOf(start).Start : SourceOf(Length - 1).End;
            return new TextSpan(at, at);
        }
        return new TextSpan(SourceOf(start).Start, SourceOf(end - 1).End);
    }
}
