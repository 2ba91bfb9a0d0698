namespace Legato.Runtime.Text.PostProcessors;

/// <summary>The frame of decoders: a token before each text, one behind it, or both.</summary>
internal static class SequenceFrame
{
    /// <summary>A template that adds the tokens that aren't null; null when both are.</summary>
    public static TemplatePostProcessor? Make(FrameToken? begin, FrameToken? end)
    {
        if (begin is null && end is null)
            return null;
        var tokens = new Dictionary<string, TemplateToken>(StringComparer.Ordinal);
        foreach (var token in new[] { begin, end })
            if (token is { } added)
                tokens[added.Token] = new TemplateToken([added.Id], [added.Token]);
        var single = Places(0, begin, end);
        return new TemplatePostProcessor(single, [.. single, .. Places(1, begin, end)], tokens);
    }

    private static List<TemplatePlace> Places(int text, FrameToken? begin, FrameToken? end)
    {
        var places = new List<TemplatePlace>();
        if (begin is { } first)
            places.Add(new TemplatePlace(-1, first.Token, text));
        places.Add(new TemplatePlace(text, null, text));
        if (end is { } last)
            places.Add(new TemplatePlace(-1, last.Token, text));
        return places;
    }
}
