using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.PreTokenizers;

/// <summary>What becomes of the matches when a text is split by a pattern.</summary>
internal enum SplitBehaviour
{
    /// <summary>They are left out.</summary>
    Removed,

    /// <summary>Each is a piece.</summary>
    Isolated,

    /// <summary>Each joins the piece before it.</summary>
    MergedWithPrevious,

    /// <summary>Each joins the piece behind it.</summary>
    MergedWithNext,

    /// <summary>Neighbouring matches are one piece.</summary>
    Contiguous,
}

/// <summary>A stretch of a piece: a match of the pattern, or what is between matches.</summary>
internal readonly record struct Stretch(int Start, int End, bool IsMatch);

/// <summary>Cuts a piece at stretches.</summary>
internal static class Splitting
{
    /// <param name="stretches">Stretches that cover the piece without gaps.</param>
    public static void Cut(in TextPiece piece, List<Stretch> stretches, SplitBehaviour behaviour, List<TextPiece> output)
    {
        var joined = behaviour switch
        {
            SplitBehaviour.Contiguous => JoinEqual(stretches),
            SplitBehaviour.MergedWithPrevious => JoinBackward(stretches),
            SplitBehaviour.MergedWithNext => JoinForward(stretches),
            _ => stretches,
        };
        foreach (var stretch in joined)
            if (stretch.End > stretch.Start && !(behaviour == SplitBehaviour.Removed && stretch.IsMatch))
                output.Add(piece.Slice(stretch.Start, stretch.End));
    }

    private static List<Stretch> JoinEqual(List<Stretch> stretches)
    {
        var joined = new List<Stretch>();
        foreach (var stretch in stretches)
        {
            if (joined.Count > 0 && joined[^1].IsMatch == stretch.IsMatch)
                joined[^1] = joined[^1] with { End = stretch.End };
            else
                joined.Add(stretch);
        }
        return joined;
    }

    private static List<Stretch> JoinBackward(List<Stretch> stretches)
    {
        var joined = new List<Stretch>();
        bool previous = false;
        foreach (var stretch in stretches)
        {
            if (stretch.IsMatch && !previous && joined.Count > 0)
                joined[^1] = joined[^1] with { End = stretch.End };
            else
                joined.Add(stretch);
            previous = stretch.IsMatch;
        }
        return joined;
    }

    private static List<Stretch> JoinForward(List<Stretch> stretches)
    {
        var joined = new List<Stretch>();
        bool previous = false;
        for (int i = stretches.Count - 1; i >= 0; i--)
        {
            if (stretches[i].IsMatch && !previous && joined.Count > 0)
                joined[^1] = joined[^1] with { Start = stretches[i].Start };
            else
                joined.Add(stretches[i]);
            previous = stretches[i].IsMatch;
        }
        joined.Reverse();
        return joined;
    }
}
