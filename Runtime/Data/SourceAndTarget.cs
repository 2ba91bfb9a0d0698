using System.Buffers;

namespace Legato.Runtime.Data;

/// <summary>
/// A damaged text and what mends it. An encoder reads the source and a decoder tells the target; a decoder alone has both
/// in one row, the source first, and the target's tokens alone count. What is left of a row doesn't count either.
/// </summary>
public abstract record SourceAndTarget : Objective
{
    /// <summary>What a decoder beside an encoder reads before the target's first token.</summary>
    public int? Start { get; init; }

    /// <summary>What ends source and target where they stand apart.</summary>
    public int? End { get; init; }

    /// <summary>The objective for a decoder beside an encoder.</summary>
    public SourceAndTarget Framed(int start, int? end) => this with { Start = start, End = end };

    public override int ShortestRow => 16;

    /// <summary>What stands between source and target in one row.</summary>
    protected virtual int? Between => null;

    protected string Frame => Start is null ? "" : $", start {Start}, end {End}";

    /// <summary>The most tokens of source and target that a text of so many tokens becomes; neither falls with a longer text.</summary>
    protected abstract (int Source, int Target) Sizes(int length);

    /// <summary>Makes source and target of a text.</summary>
    /// <returns>The lengths of both.</returns>
    protected abstract (int Source, int Target) Damage(ReadOnlySpan<int> text, ref RowRandom random, Span<int> source, Span<int> target);

    /// <summary>The rows of an encoder that reads so many tokens, and of the decoder that tells what was made of as much text.</summary>
    public RowShape Beside(int source)
    {
        int text = Longest(2 * source, length => Sizes(length).Source + Ending <= source);
        return new RowShape(Sizes(text).Target + Ending, source);
    }

    public override int TextLength(RowShape shape) => shape.Source > 0 ? Text(shape) : base.TextLength(shape);

    public override void Fill(ReadOnlySpan<int> text, ref RowRandom random, Row row)
    {
        text = text[..Text(new RowShape(row.Tokens.Length, row.Source.Length))];
        (int mostSource, int mostTarget) = Sizes(text.Length);
        int[] rented = ArrayPool<int>.Shared.Rent(mostSource + mostTarget);
        Span<int> source = rented.AsSpan(0, mostSource), target = rented.AsSpan(mostSource, mostTarget);
        (int sources, int targets) = Damage(text, ref random, source, target);
        if (row.Source.IsEmpty)
            Join(source[..sources], target[..targets], row);
        else
            Part(source[..sources], target[..targets], row);
        ArrayPool<int>.Shared.Return(rented);
    }

    private int Ending => End is null ? 0 : 1;

    private int Text(RowShape shape) => shape.Source > 0
        ? Longest(shape.Source + shape.Sequence, length =>
            Sizes(length) is var (source, target) && source + Ending <= shape.Source && target + Ending <= shape.Sequence)
        : Longest(shape.Sequence, length =>
            Sizes(length) is var (source, target) && source + target + (Between is null ? 0 : 1) <= shape.Sequence + 1);

    /// <summary>The longest text, up to a bound, of which the condition holds, as of every shorter one.</summary>
    private static int Longest(int bound, Predicate<int> fits)
    {
        int low = 1, high = bound;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            (low, high) = fits(middle) ? (middle, high) : (low, middle - 1);
        }
        return low;
    }

    private void Join(ReadOnlySpan<int> source, ReadOnlySpan<int> target, Row row)
    {
        // The sequence is one longer than a row: its last token is only told.
        int[] rented = ArrayPool<int>.Shared.Rent(row.Tokens.Length + 1);
        Span<int> sequence = rented.AsSpan(0, row.Tokens.Length + 1);
        source.CopyTo(sequence);
        int first = source.Length;
        if (Between is { } between)
            sequence[first++] = between;
        target.CopyTo(sequence[first..]);
        sequence[(first + target.Length)..].Fill(target[^1]);
        Shift(sequence, row);
        row.Labels[..(first - 1)].Fill(Ignored);
        row.Labels[(first + target.Length - 1)..].Fill(Ignored);
        ArrayPool<int>.Shared.Return(rented);
    }

    private void Part(ReadOnlySpan<int> source, ReadOnlySpan<int> target, Row row)
    {
        int start = Start ?? throw new InvalidOperationException("a decoder beside an encoder needs a token to start with");
        row.SourceLength[0] = Ended(source, row.Source, 0);
        int told = Ended(target, row.Labels, Ignored);
        row.Tokens.Fill(start);
        row.Labels[..(told - 1)].CopyTo(row.Tokens[1..]);
    }

    /// <summary>Copies a text and its end, and pads what is left.</summary>
    /// <returns>The length without the padding.</returns>
    private int Ended(ReadOnlySpan<int> text, Span<int> into, int padding)
    {
        into.Fill(padding);
        text.CopyTo(into);
        if (End is { } end)
            into[text.Length] = end;
        return text.Length + Ending;
    }
}
