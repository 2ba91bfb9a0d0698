using System.Text;

namespace Legato.Runtime.Text.Training;

/// <summary>The characters of a corpus, the most frequent first.</summary>
internal static class CharacterCounts
{
    public static IEnumerable<Rune> Of(IEnumerable<string> texts, TokenizerTrainingOptions options)
    {
        var counts = new long[0x110000];
        long read = 0;
        foreach (string text in texts)
        {
            foreach (var rune in text.EnumerateRunes())
                counts[rune.Value]++;
            read += text.Length;
            options.Progress?.Report(new("reading", read, null));
        }
        return Ordered(counts);
    }

    /// <summary>Code points that occur, by falling count and then by value.</summary>
    public static IEnumerable<Rune> Ordered(long[] counts)
    {
        var found = new List<int>();
        for (int codePoint = 0; codePoint < counts.Length; codePoint++)
            if (counts[codePoint] > 0)
                found.Add(codePoint);
        found.Sort((left, right) => counts[left] != counts[right] ? counts[right].CompareTo(counts[left]) : left.CompareTo(right));
        return found.Select(codePoint => new Rune(codePoint));
    }
}
