namespace Legato.Runtime.Data;

/// <summary>
/// Text with its middle at the end, so that a causal model learns to fill gaps (Bavarian et al. 2022): prefix, suffix,
/// middle, or, which serves a growing prefix better, suffix, prefix, middle. Cut at two places drawn alike; every token
/// counts.
/// </summary>
/// <param name="Rate">The share of rows that are rearranged.</param>
/// <param name="SuffixFirst">The share of those that begin with the suffix.</param>
public sealed record FillInTheMiddle(double Rate, double SuffixFirst, int PrefixToken, int SuffixToken, int MiddleToken) : Objective
{
    private const int Marks = 3;

    public override string Description => $"fim, {Rate}, suffix first {SuffixFirst}, marks {PrefixToken} {SuffixToken} {MiddleToken}";

    public override void Fill(ReadOnlySpan<int> text, ref RowRandom random, Row row)
    {
        if (text.Length <= Marks || random.Uniform() >= Rate)
        {
            Shift(text, row);
            return;
        }
        int[] rented = System.Buffers.ArrayPool<int>.Shared.Rent(text.Length);
        Span<int> sequence = rented.AsSpan(0, text.Length);
        Rearrange(text[..^Marks], ref random, sequence);
        Shift(sequence, row);
        System.Buffers.ArrayPool<int>.Shared.Return(rented);
    }

    public override int FillDocument(ReadOnlySpan<int> text, ref RowRandom random, Row row)
    {
        int room = row.Tokens.Length + 1;
        if (random.Uniform() >= Rate || room <= Marks)
            return Begin(text[..Math.Min(text.Length, room)], 1, row);
        text = text[..Math.Min(text.Length, room - Marks)];
        int[] rented = System.Buffers.ArrayPool<int>.Shared.Rent(text.Length + Marks);
        Span<int> sequence = rented.AsSpan(0, text.Length + Marks);
        Rearrange(text, ref random, sequence);
        int places = Begin(sequence, 1, row);
        System.Buffers.ArrayPool<int>.Shared.Return(rented);
        return places;
    }

    private void Rearrange(ReadOnlySpan<int> text, ref RowRandom random, Span<int> row)
    {
        int a = random.Below(text.Length + 1), b = random.Below(text.Length + 1);
        (int first, int last) = (Math.Min(a, b), Math.Max(a, b));
        ReadOnlySpan<int> prefix = text[..first], middle = text[first..last], suffix = text[last..];
        int at = 0;
        if (random.Uniform() < SuffixFirst)
        {
            // As the paper has it: both marks in front, so that prefix and middle are one text.
            row[at++] = PrefixToken;
            Mark(SuffixToken, suffix, row, ref at);
            Mark(MiddleToken, prefix, row, ref at);
            middle.CopyTo(row[at..]);
            return;
        }
        Mark(PrefixToken, prefix, row, ref at);
        Mark(SuffixToken, suffix, row, ref at);
        Mark(MiddleToken, middle, row, ref at);
    }

    private static void Mark(int token, ReadOnlySpan<int> part, Span<int> row, ref int at)
    {
        row[at++] = token;
        part.CopyTo(row[at..]);
        at += part.Length;
    }
}
