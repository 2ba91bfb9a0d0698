namespace Legato.Runtime.Text.Pipeline;

/// <summary>Makes UTF-16 well-formed: a lone surrogate becomes U+FFFD, so that offsets stay as they are.</summary>
internal static class WellFormed
{
    public static ReadOnlySpan<char> Of(ReadOnlySpan<char> text)
    {
        int lone = FirstLone(text, 0);
        if (lone < 0)
            return text;
        char[] copy = text.ToArray();
        for (; lone >= 0; lone = FirstLone(text, lone + 1))
            copy[lone] = '\uFFFD';
        return copy;
    }

    private static int FirstLone(ReadOnlySpan<char> text, int from)
    {
        for (int i = from; i < text.Length; i++)
        {
            int found = text[i..].IndexOfAnyInRange('\uD800', '\uDFFF');
            if (found < 0)
                return -1;
            i += found;
            if (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
                i++;
            else
                return i;
        }
        return -1;
    }
}
