using Legato.Runtime.Text.Unicode;

namespace Legato.Runtime.Text.Scanners;

/// <summary>Runs of white space: the alternatives <c>\s+(?!\S)|\s+</c>, and cl100k's with line breaks.</summary>
internal static class Whitespace
{
    /// <summary>The whole run at the end of the text; otherwise all of it but the last character, which opens the next piece.</summary>
    public static int End(ReadOnlySpan<byte> buffer, int start)
    {
        int at = start, last = start;
        while (at < buffer.Length - Runs.Padding && (CharacterClasses.Of(buffer, at, out int length) & CharacterClass.Space) != 0)
        {
            last = at;
            at += length;
        }
        return at == buffer.Length - Runs.Padding || last == start ? at : last;
    }

    /// <summary>As <see cref="End"/>, after <c>\s*[\r\n]+</c>: a run that has line breaks ends behind the last of them.</summary>
    /// <param name="wholeAtEnd">Whether <c>\s++$</c> comes first: a run at the end of the text is one piece.</param>
    public static int EndWithLineBreaks(ReadOnlySpan<byte> buffer, int start, bool wholeAtEnd)
    {
        int at = start, afterBreak = -1;
        while (at < buffer.Length - Runs.Padding)
        {
            var flags = CharacterClasses.Of(buffer, at, out int length);
            if ((flags & CharacterClass.Space) == 0)
                break;
            at += length;
            if ((flags & CharacterClass.LineBreak) != 0)
                afterBreak = at;
        }
        bool atEnd = at == buffer.Length - Runs.Padding;
        return afterBreak >= 0 && !(atEnd && wholeAtEnd) ? afterBreak : End(buffer, start);
    }
}
