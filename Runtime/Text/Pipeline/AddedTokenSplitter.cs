namespace Legato.Runtime.Text.Pipeline;

/// <summary>
/// Cuts added tokens out of a text: first those looked for in the raw text, then, after normalizing what is between
/// them, those looked for in the normalized text.
/// </summary>
internal sealed class AddedTokenSplitter
{
    private readonly INormalizer? normalizer;
    private readonly AddedTokenMatcher raw;
    private readonly AddedTokenMatcher normalized;

    public AddedTokenSplitter(TokenizerDefinition definition, bool recogniseSpecial)
    {
        normalizer = definition.Normalizer;
        var tokens = definition.AddedTokens.Where(token => recogniseSpecial || !token.Special).ToList();
        // Without a normalizer both kinds are looked for in the same text.
        raw = new AddedTokenMatcher(tokens.Where(token => !token.Normalized).Select(token => (token.Content, token)));
        normalized = new AddedTokenMatcher(tokens.Where(token => token.Normalized).Select(token => (Normalize(token.Content), token)));
    }

    public bool IsEmpty => raw.IsEmpty && normalized.IsEmpty;

    /// <summary>A part of the text: an added token, or text for the pre-tokenizer.</summary>
    public readonly record struct Part(TextPiece Piece, AddedToken? Token);

    /// <summary>For definitions without a normalizer and with one kind of added tokens: the next token in the text.</summary>
    public bool TryFindRaw(ReadOnlySpan<char> text, int from, IReadOnlyList<TextSpan>? literal, out AddedTokenMatcher.Match match) =>
        (raw.IsEmpty ? normalized : raw).TryFind(text, from, Refusal(literal), out match);

    /// <param name="text">The text.</param>
    /// <param name="literal">Ranges of the text in which special tokens are text; null for none.</param>
    public List<Part> Split(ReadOnlySpan<char> text, IReadOnlyList<TextSpan>? literal)
    {
        var parts = new List<Part>();
        int at = 0;
        while (raw.TryFind(text, at, Refusal(literal), out var match))
        {
            SplitNormalized(text[at..match.Start], at, literal, parts);
            parts.Add(new Part(TextPiece.Whole(AlignedText.FromSource(text[match.Start..match.End], match.Start)), match.Token));
            at = match.End;
        }
        SplitNormalized(text[at..], at, literal, parts);
        return parts;
    }

    private void SplitNormalized(ReadOnlySpan<char> text, int sourceStart, IReadOnlyList<TextSpan>? literal, List<Part> parts)
    {
        if (text.IsEmpty)
            return;
        var whole = AlignedText.FromSource(text, sourceStart);
        if (normalizer is not null)
            whole = normalizer.Normalize(whole);
        var refusal = Refusal(literal);
        Func<int, int, bool>? refusesSource = refusal is null ? null : (start, end) =>
        {
            var source = whole.SourceOf(start, end);
            return refusal(source.Start, source.End);
        };
        int at = 0;
        while (normalized.TryFind(whole.Chars, at, refusesSource, out var match))
        {
            if (match.Start > at)
                parts.Add(new Part(new TextPiece(whole, at, match.Start), null));
            parts.Add(new Part(new TextPiece(whole, match.Start, match.End), match.Token));
            at = match.End;
        }
        if (at < whole.Length)
            parts.Add(new Part(new TextPiece(whole, at, whole.Length), null));
    }

    private static Func<int, int, bool>? Refusal(IReadOnlyList<TextSpan>? literal)
    {
        if (literal is null || literal.Count == 0)
            return null;
        return (start, end) =>
        {
            foreach (var range in literal)
                if (start < range.End && end > range.Start)
                    return true;
            return false;
        };
    }

    private string Normalize(string content) =>
        normalizer is null ? content : normalizer.Normalize(AlignedText.FromSource(content, 0)).Chars.ToString();
}
