namespace Legato.Runtime.Data;

/// <summary>
/// Spans of the text are cut out, a sentinel in the place of each; the target gives each sentinel with its span, and one
/// more sentinel as its end (Raffel et al. 2020, section 3.1.4).
/// </summary>
/// <param name="Rate">The share of tokens that are cut out.</param>
/// <param name="MeanSpan">Tokens of a span, on average.</param>
/// <param name="Sentinels">The tokens that stand for spans, the first span's first.</param>
public sealed record SpanCorruption(double Rate, double MeanSpan, IReadOnlyList<int> Sentinels) : SourceAndTarget
{
    public override string Description => $"spans, {Rate}, mean {MeanSpan}, sentinels {string.Join(' ', Sentinels)}{Frame}";

    protected override (int Source, int Target) Sizes(int length)
    {
        int spans = length > 1 ? Spans(length) : 0, cut = length > 1 ? Cut(length) : 0;
        return (length - cut + spans, cut + spans + 1);
    }

    protected override (int Source, int Target) Damage(ReadOnlySpan<int> text, ref RowRandom random, Span<int> left, Span<int> right)
    {
        int spans = Spans(text.Length), cut = Cut(text.Length);
        Segments kept = new(text.Length - cut, spans), gone = new(cut, spans);
        int at = 0, inLeft = 0, inRight = 0;
        for (int span = 0; span < spans; span++)
        {
            int keep = kept.Next(ref random), drop = gone.Next(ref random);
            text.Slice(at, keep).CopyTo(left[inLeft..]);
            left[inLeft + keep] = Sentinels[span];
            right[inRight] = Sentinels[span];
            text.Slice(at + keep, drop).CopyTo(right[(inRight + 1)..]);
            (at, inLeft, inRight) = (at + keep + drop, inLeft + keep + 1, inRight + drop + 1);
        }
        right[inRight] = Sentinels[spans];
        return (inLeft, inRight + 1);
    }

    private int Cut(int length) => Math.Clamp((int)Math.Round(length * Rate), 1, length - 1);

    // Each span needs a token of its own, one before it, and a sentinel.
    private int Spans(int length)
    {
        int cut = Cut(length);
        return Math.Clamp((int)Math.Round(cut / MeanSpan), 1, Math.Min(Math.Min(cut, length - cut), Sentinels.Count - 1));
    }

    /// <summary>Cuts a length into so many parts of at least one, every cut as likely as any other (Knuth 2, 3.4.2, algorithm S).</summary>
    private struct Segments(int length, int parts)
    {
        private int left = length, remaining = parts;

        public int Next(ref RowRandom random)
        {
            remaining--;
            int taken = remaining == 0 ? left : 1;
            // Of the places where the rest can be cut, `remaining` will be.
            while (left - taken > remaining && random.Below(left - taken) >= remaining)
                taken++;
            left -= taken;
            return taken;
        }
    }
}
