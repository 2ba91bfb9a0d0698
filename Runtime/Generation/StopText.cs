using System.Text;

namespace Legato.Runtime.Generation;

/// <summary>
/// Looks for stop strings in text that arrives piece by piece, and holds back what may yet become one: what is given
/// out is never taken back.
/// </summary>
internal sealed class StopText(IReadOnlyList<string> stops)
{
    private readonly StringBuilder held = new();

    /// <summary>Whether a stop string has occurred; the text before the first is all there is.</summary>
    public bool HasStopped { get; private set; }

    /// <summary>Takes more text; gives what is certain.</summary>
    public string Add(string text)
    {
        held.Append(text);
        string all = held.ToString();
        int first = -1;
        foreach (string stop in stops)
        {
            int at = all.IndexOf(stop, StringComparison.Ordinal);
            if (at >= 0 && (first < 0 || at < first))
                first = at;
        }
        HasStopped = first >= 0;
        int certain = HasStopped ? first : all.Length - LongestBeginning(all);
        held.Clear();
        if (!HasStopped)
            held.Append(all, certain, all.Length - certain);
        return all[..certain];
    }

    /// <summary>Gives what was held back, at the end of the text.</summary>
    public string Finish()
    {
        string rest = held.ToString();
        held.Clear();
        return rest;
    }

    // The longest end of the text that is the beginning of a stop string.
    private int LongestBeginning(string text)
    {
        int longest = 0;
        foreach (string stop in stops)
            for (int length = Math.Min(stop.Length - 1, text.Length); length > longest; length--)
                if (text.AsSpan(text.Length - length).SequenceEqual(stop.AsSpan(0, length)))
                    longest = length;
        return longest;
    }
}
