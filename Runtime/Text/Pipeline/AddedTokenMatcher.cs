using System.Buffers;
using System.Text;

namespace Legato.Runtime.Text.Pipeline;

/// <summary>Finds added tokens in a text: leftmost, the longest of those.</summary>
internal sealed class AddedTokenMatcher
{
    private readonly Dictionary<string, AddedToken>.AlternateLookup<ReadOnlySpan<char>> byContent;
    private readonly int[] lengths;
    private readonly SearchValues<string> search;

    /// <param name="tokens">Tokens under the spelling to look for.</param>
    public AddedTokenMatcher(IEnumerable<(string Spelling, AddedToken Token)> tokens)
    {
        var contents = new Dictionary<string, AddedToken>(StringComparer.Ordinal);
        foreach (var (spelling, token) in tokens)
            if (spelling.Length > 0)
                contents[spelling] = token;
        byContent = contents.GetAlternateLookup<ReadOnlySpan<char>>();
        lengths = [.. contents.Keys.Select(content => content.Length).Distinct().OrderDescending()];
        search = SearchValues.Create([.. contents.Keys], StringComparison.Ordinal);
        IsEmpty = contents.Count == 0;
    }

    public bool IsEmpty { get; }

    /// <param name="Start">Start in the text, white space taken along.</param>
    /// <param name="End">End in the text, white space taken along.</param>
    public readonly record struct Match(int Start, int End, AddedToken Token);

    /// <summary>The next match at or after <paramref name="from"/>.</summary>
    /// <param name="refuses">Tells of a special token at a range of the text that it is text there; may be null.</param>
    public bool TryFind(ReadOnlySpan<char> text, int from, Func<int, int, bool>? refuses, out Match match)
    {
        for (int at = from; !IsEmpty && at < text.Length;)
        {
            int found = text[at..].IndexOfAny(search);
            if (found < 0)
                break;
            at += found;
            var token = LongestAt(text, at, out int length);
            if (token.Special && refuses is not null && refuses(at, at + length))
            {
                at++;
                continue;
            }
            if (!token.SingleWord || StandsAlone(text, at, at + length))
            {
                match = Stretch(text, token, at, at + length, from);
                return true;
            }
            at += length;
        }
        match = default;
        return false;
    }

    private AddedToken LongestAt(ReadOnlySpan<char> text, int at, out int length)
    {
        foreach (int candidate in lengths)
            if (at + candidate <= text.Length && byContent.TryGetValue(text.Slice(at, candidate), out var token))
            {
                length = candidate;
                return token;
            }
        throw new InvalidOperationException("the search found a token that the table doesn't have");
    }

    private static Match Stretch(ReadOnlySpan<char> text, AddedToken token, int start, int end, int from)
    {
        if (token.StripLeft)
            while (start > from && char.IsWhiteSpace(text[start - 1]))
                start--;
        if (token.StripRight)
            while (end < text.Length && char.IsWhiteSpace(text[end]))
                end++;
        return new Match(start, end, token);
    }

    private static bool StandsAlone(ReadOnlySpan<char> text, int start, int end)
    {
        Rune.DecodeLastFromUtf16(text[..start], out var before, out _);
        Rune.DecodeFromUtf16(text[end..], out var after, out _);
        return (start == 0 || !Unicode.Words.IsWordCharacter(before.Value))
            && (end == text.Length || !Unicode.Words.IsWordCharacter(after.Value));
    }
}
