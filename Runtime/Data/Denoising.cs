namespace Legato.Runtime.Data;

/// <summary>
/// The source has its sentences in another order and spans of it replaced by one mask each, some of them of no tokens at
/// all; the target is the text as it was (Lewis et al. 2020, section 2.2: text infilling, sentence permutation).
/// </summary>
/// <param name="Rate">The share of tokens that are masked.</param>
/// <param name="MeanSpan">Tokens of a span, on average: spans are Poisson distributed.</param>
/// <param name="Separator">The token between source and target.</param>
/// <param name="SentenceEnds">Tokens that end a sentence.</param>
public sealed record Denoising(double Rate, double MeanSpan, int MaskToken, int Separator, IReadOnlyList<int> SentenceEnds) : SourceAndTarget
{
    public override string Description =>
        $"denoise, {Rate}, mean {MeanSpan}, mask {MaskToken}, separator {Separator}, ends {string.Join(' ', SentenceEnds)}{Frame}";

    protected override int? Between => Separator;

    protected override int ShortestText => 1;

    // A source is never longer than its text: a span of none is inserted only where another has made room.
    protected override (int Source, int Target) Sizes(int length) => (length, length);

    protected override (int Source, int Target) Damage(ReadOnlySpan<int> text, ref RowRandom random, Span<int> source, Span<int> target)
    {
        text.CopyTo(target);
        Span<int> shuffled = text.Length <= 4096 ? stackalloc int[text.Length] : new int[text.Length];
        Permute(text, ref random, shuffled);
        return (Infill(shuffled, ref random, source), text.Length);
    }

    private void Permute(ReadOnlySpan<int> text, ref RowRandom random, Span<int> into)
    {
        var ends = new List<int>();
        for (int i = 0; i < text.Length; i++)
            if (i == text.Length - 1 || SentenceEnds.Contains(TokenMarks.NumberOf(text[i])))
                ends.Add(i + 1);
        int[] order = [.. Enumerable.Range(0, ends.Count)];
        for (int i = order.Length - 1; i > 0; i--)
        {
            int other = random.Below(i + 1);
            (order[i], order[other]) = (order[other], order[i]);
        }
        int at = 0;
        foreach (int sentence in order)
        {
            int start = sentence == 0 ? 0 : ends[sentence - 1];
            ReadOnlySpan<int> tokens = text[start..ends[sentence]];
            tokens.CopyTo(into[at..]);
            at += tokens.Length;
        }
    }

    // A span starts at a token as often as makes the masked ones their share of all: of a span of none, the token stays.
    private int Infill(ReadOnlySpan<int> text, ref RowRandom random, Span<int> into)
    {
        double start = Rate / ((1 - Rate) * MeanSpan + Rate * (1 - Math.Exp(-MeanSpan)));
        int count = 0;
        for (int i = 0; i < text.Length;)
        {
            if (random.Uniform() >= start)
            {
                into[count++] = text[i++];
                continue;
            }
            int span = Math.Min(random.Poisson(MeanSpan), text.Length - i);
            if (span > 0 || count < i)
                into[count++] = MaskToken;
            i += span;
            if (span == 0)
                into[count++] = text[i++];
        }
        return count;
    }
}
