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

    /// <summary>Tokens of the shortest text that can be damaged.</summary>
    protected virtual int ShortestText => 2;

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
        int[] rented = ArrayPool<int>.Shared.Rent(DamagedSize(text.Length));
        Damaged(text, ref random, rented, out ReadOnlySpan<int> left, out ReadOnlySpan<int> right);
        if (!row.Source.IsEmpty)
            Part(left, right, row);
        else
        {
            int places = Join(left, right, row);
            row.Tokens[places..].Fill(right[^1]);
            row.Labels[places..].Fill(Ignored);
        }
        ArrayPool<int>.Shared.Return(rented);
    }

    public override int FillDocument(ReadOnlySpan<int> text, ref RowRandom random, Row row)
    {
        var shape = new RowShape(row.Tokens.Length);
        if (text.Length < ShortestText || !Fits(ShortestText, shape))
            return 0;
        text = text[..Longest(text.Length, length => Fits(length, shape))];
        int[] rented = ArrayPool<int>.Shared.Rent(DamagedSize(text.Length));
        Damaged(text, ref random, rented, out ReadOnlySpan<int> left, out ReadOnlySpan<int> right);
        int places = Join(left, right, row);
        ArrayPool<int>.Shared.Return(rented);
        return places;
    }

    private int Ending => End is null ? 0 : 1;

    private int Text(RowShape shape) => Longest(shape.Source + shape.Sequence, length => Fits(length, shape));

    private bool Fits(int length, RowShape shape)
    {
        (int source, int target) = Sizes(length);
        return shape.Source > 0
            ? source + Ending <= shape.Source && target + Ending <= shape.Sequence
            : source + target + (Between is null ? 0 : 1) <= shape.Sequence + 1;
    }

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

    private int DamagedSize(int length) => Sizes(length).Source + Sizes(length).Target;

    private void Damaged(ReadOnlySpan<int> text, ref RowRandom random, Span<int> into, out ReadOnlySpan<int> source, out ReadOnlySpan<int> target)
    {
        (int mostSource, int mostTarget) = Sizes(text.Length);
        Span<int> left = into[..mostSource], right = into.Slice(mostSource, mostTarget);
        (int sources, int targets) = Damage(text, ref random, left, right);
        source = left[..sources];
        target = right[..targets];
    }

    // The sequence may be one longer than a row: its last token is only told then.
    private int Join(ReadOnlySpan<int> source, ReadOnlySpan<int> target, Row row)
    {
        int[] rented = ArrayPool<int>.Shared.Rent(source.Length + 1 + target.Length);
        source.CopyTo(rented);
        int first = source.Length;
        if (Between is { } between)
            rented[first++] = between;
        target.CopyTo(rented.AsSpan(first));
        int places = Begin(rented.AsSpan(0, first + target.Length), first, row);
        ArrayPool<int>.Shared.Return(rented);
        return places;
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
