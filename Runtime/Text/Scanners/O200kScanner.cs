using Legato.Runtime.Text.Unicode;

namespace Legato.Runtime.Text.Scanners;

/// <summary>The pattern of o200k: <see cref="SplitPatterns.O200k"/>.</summary>
internal readonly struct O200kScanner : IPieceScanner
{
    private const CharacterClass Named = CharacterClass.Letter | CharacterClass.Number | CharacterClass.Space;
    private const CharacterClass Upper = CharacterClass.UpperLike;
    private const CharacterClass Lower = CharacterClass.LowerLike;

    public static int End(ReadOnlySpan<byte> buffer, int start)
    {
        int end = buffer.Length - Runs.Padding;
        var flags = CharacterClasses.Of(buffer, start, out int length);
        bool mayOpen = (flags & (CharacterClass.Letter | CharacterClass.Number | CharacterClass.LineBreak)) == 0;
        int word = Word(buffer, start, start + length, end, mayOpen);
        if (word > 0)
            return word + Contractions.Length(buffer, word, true);
        if ((flags & CharacterClass.Number) != 0)
            return Digits(buffer, start + length, end);
        int signs = buffer[start] == ' ' ? start + 1 : start;
        if (signs < end && (CharacterClasses.Of(buffer, signs, out _) & Named) == 0)
            return SignTail(buffer, Runs.NotOfClass(buffer, signs, Named));
        return Whitespace.EndWithLineBreaks(buffer, start, false);
    }

    // The two word alternatives, each first with and then without the character that may open it.
    private static int Word(ReadOnlySpan<byte> buffer, int start, int next, int end, bool mayOpen)
    {
        int found = -1;
        if (mayOpen && next < end)
            found = LowerWord(buffer, next);
        if (found < 0)
            found = LowerWord(buffer, start);
        if (found < 0 && mayOpen && next < end)
            found = UpperWord(buffer, next);
        return found < 0 ? UpperWord(buffer, start) : found;
    }

    // U*L+ with backtracking: U* is greedy, and gives back the last character that L can take.
    private static int LowerWord(ReadOnlySpan<byte> buffer, int at)
    {
        int end = buffer.Length - Runs.Padding, afterLower = -1;
        while (at < end)
        {
            var flags = CharacterClasses.Of(buffer, at, out int length);
            if ((flags & Upper) == 0)
                break;
            at += length;
            if ((flags & Lower) != 0)
                afterLower = at;
        }
        int lower = Runs.OfClass(buffer, at, Lower);
        return lower > at ? lower : afterLower;
    }

    private static int UpperWord(ReadOnlySpan<byte> buffer, int at)
    {
        int upper = Runs.OfClass(buffer, at, Upper);
        return upper == at ? -1 : Runs.OfClass(buffer, upper, Lower);
    }

    private static int Digits(ReadOnlySpan<byte> buffer, int at, int end)
    {
        for (int digits = 1; digits < 3 && at < end; digits++)
        {
            if ((CharacterClasses.Of(buffer, at, out int length) & CharacterClass.Number) == 0)
                break;
            at += length;
        }
        return at;
    }

    private static int SignTail(ReadOnlySpan<byte> buffer, int at)
    {
        while (buffer[at] is (byte)'\r' or (byte)'\n' or (byte)'/')
            at++;
        return at;
    }
}
