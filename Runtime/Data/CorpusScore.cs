namespace Legato.Runtime.Data;

/// <summary>
/// How much of a text the built-in corpus could have held: sentences that the grammar accepts, sums that are right.
/// </summary>
public readonly record struct CorpusScore(int Sentences, int Accepted, int Sums, int Right)
{
    /// <summary>The share of the sentences that the grammar accepts; 0 where there is none.</summary>
    public double AcceptedShare => Sentences == 0 ? 0 : (double)Accepted / Sentences;

    /// <summary>The share of the sums that are right; 0 where there is none.</summary>
    public double RightShare => Sums == 0 ? 0 : (double)Right / Sums;

    public static CorpusScore operator +(CorpusScore a, CorpusScore b) =>
        new(a.Sentences + b.Sentences, a.Accepted + b.Accepted, a.Sums + b.Sums, a.Right + b.Right);

    /// <summary>
    /// Scores text that a model wrote from the start of a line. What the end of the text cut off is left out: the last
    /// line of sums, and the last sentence unless it has its full stop. A line is sums' if it starts with a digit.
    /// </summary>
    public static CorpusScore Of(string text)
    {
        CorpusScore score = default;
        int end = text.LastIndexOf('\n');
        foreach (string line in text[..Math.Max(end, 0)].Split('\n', StringSplitOptions.RemoveEmptyEntries))
            score += OfLine(line);
        string rest = text[(end + 1)..];
        int stop = rest.LastIndexOf('.');
        return stop >= 0 && !char.IsAsciiDigit(rest[0]) ? score + OfLine(rest[..(stop + 1)]) : score;
    }

    /// <summary>Scores what a model said after each sum's prompt, up to the end of the line.</summary>
    public static CorpusScore OfAnswers(IReadOnlyList<Sum> sums, IReadOnlyList<string> answers)
    {
        int right = 0;
        for (int i = 0; i < sums.Count; i++)
            if (answers[i].AsSpan().TrimEnd('\n').SequenceEqual(sums[i].Answer))
                right++;
        return new CorpusScore(0, 0, sums.Count, right);
    }

    private static CorpusScore OfLine(string line)
    {
        if (char.IsAsciiDigit(line[0]))
            return new CorpusScore(0, 0, 1, Sum.TryParse(line, out _, out bool isRight) && isRight ? 1 : 0);
        CorpusScore score = default;
        for (int start = 0; start < line.Length;)
        {
            int stop = line.IndexOf('.', start);
            int end = stop < 0 ? line.Length : stop + 1;
            score += new CorpusScore(1, Grammar.Accepts(line.AsSpan(start, end - start)) ? 1 : 0, 0, 0);
            start = end < line.Length && line[end] == ' ' ? end + 1 : end;
        }
        return score;
    }
}
