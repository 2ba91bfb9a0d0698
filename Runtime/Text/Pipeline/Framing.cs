namespace Legato.Runtime.Text.Pipeline;

/// <summary>Truncation, post-processing and padding: from bare tokens to what a model is fed.</summary>
internal readonly struct Framing(TokenizerDefinition definition)
{
    public TokenizedText Finish(List<TokenSegment> segments, EncodeOptions options)
    {
        var processor = definition.PostProcessor;
        bool addTokens = !options.WithoutAddedTokens;
        if (options.Truncate && definition.Truncation is { } truncation)
            Truncate(segments, truncation, addTokens ? processor?.AddedTokens(segments.Count == 2) ?? 0 : 0);
        for (int i = 0; i < segments.Count; i++)
            segments[i].TypeId = i;
        var framed = processor?.Process(segments, addTokens, definition.Model.Vocabulary) ?? segments;
        var result = Join(framed);
        return options.Pad && definition.Padding is { } padding ? PadTo(result, padding, TargetLength(result.Count, padding)) : result;
    }

    /// <summary>Pads all to one length.</summary>
    public static void PadAll(TokenizedText[] texts, Padding padding)
    {
        int longest = 0;
        foreach (var text in texts)
            longest = Math.Max(longest, text.Count);
        int length = TargetLength(longest, padding);
        for (int i = 0; i < texts.Length; i++)
            texts[i] = PadTo(texts[i], padding, length);
    }

    private static int TargetLength(int longest, Padding padding)
    {
        int length = padding.Length ?? longest;
        if (padding.Multiple is int multiple and > 0 && length % multiple > 0)
            length += multiple - length % multiple;
        return length;
    }

    private static TokenizedText PadTo(TokenizedText text, Padding padding, int length)
    {
        int missing = length - text.Count;
        if (missing <= 0)
            return text;
        int start = padding.Side == Side.Left ? missing : 0;
        int padStart = padding.Side == Side.Left ? 0 : text.Count;
        var ids = Place(text.Ids, length, start);
        var types = Place(text.TypeIds, length, start);
        var special = Place(text.IsSpecial, length, start);
        var pads = Place(text.IsPadding, length, start);
        ids.AsSpan(padStart, missing).Fill(padding.Id);
        types.AsSpan(padStart, missing).Fill(padding.TypeId);
        special.AsSpan(padStart, missing).Fill(true);
        pads.AsSpan(padStart, missing).Fill(true);
        return new TokenizedText(ids, Place(text.Offsets, length, start), types, special, pads);
    }

    private static T[] Place<T>(T[] values, int length, int start)
    {
        var wide = new T[length];
        values.CopyTo(wide, start);
        return wide;
    }

    private static TokenizedText Join(List<TokenSegment> segments)
    {
        int count = 0;
        foreach (var segment in segments)
            count += segment.Ids.Count;
        var ids = new int[count];
        var offsets = new TextSpan[count];
        var types = new int[count];
        var special = new bool[count];
        int at = 0;
        foreach (var segment in segments)
        {
            segment.Ids.CopyTo(ids, at);
            segment.Offsets.CopyTo(offsets, at);
            types.AsSpan(at, segment.Ids.Count).Fill(segment.TypeId);
            special.AsSpan(at, segment.Ids.Count).Fill(segment.IsAdded);
            at += segment.Ids.Count;
        }
        return new TokenizedText(ids, offsets, types, special, new bool[count]);
    }

    private static void Truncate(List<TokenSegment> segments, Truncation truncation, int added)
    {
        int room = Math.Max(0, truncation.MaximumLength - added);
        int total = segments.Sum(segment => segment.Ids.Count);
        if (total <= room)
            return;
        if (segments.Count == 1)
        {
            Cut(segments[0], room, truncation.Side);
            return;
        }
        int first = segments[0].Ids.Count, second = segments[1].Ids.Count;
        switch (truncation.Strategy)
        {
            case TruncationStrategy.OnlyFirst: first = Shorten(first, total - room, "first"); break;
            case TruncationStrategy.OnlySecond: second = Shorten(second, total - room, "second"); break;
            default: (first, second) = ShareRoom(first, second, room); break;
        }
        Cut(segments[0], first, truncation.Side);
        Cut(segments[1], second, truncation.Side);
    }

    private static int Shorten(int length, int by, string which) => length > by
        ? length - by
        : throw new LegatoException($"the {which} text is too short to make the pair fit by cutting it alone", "truncation",
            "use the strategy LongestFirst, or shorter texts");

    // The shorter text keeps what it has while it needs less than half of the room.
    private static (int First, int Second) ShareRoom(int first, int second, int room)
    {
        bool swap = first > second;
        int shorter = Math.Min(first, second), longer = shorter > room ? shorter : Math.Max(shorter, room - shorter);
        if (shorter + longer > room)
        {
            shorter = room / 2;
            longer = shorter + room % 2;
        }
        return swap ? (longer, shorter) : (shorter, longer);
    }

    private static void Cut(TokenSegment segment, int length, Side side)
    {
        int extra = segment.Ids.Count - length;
        if (extra <= 0)
            return;
        int from = side == Side.Right ? length : 0;
        segment.Ids.RemoveRange(from, extra);
        segment.Offsets.RemoveRange(from, extra);
    }
}
