namespace Legato.Runtime.Data;

/// <summary>
/// A damaged text and what mends it, in one row of a decoder: the source first, then the target, whose tokens alone
/// count. What is left of the row doesn't count either.
/// </summary>
public abstract record SourceAndTarget : Objective
{
    public override int ShortestRow => 16;

    /// <summary>How many tokens of text a source and a target of together at most so many tokens are made from.</summary>
    protected abstract int TextFor(int room);

    /// <summary>Puts the source, then the target, into the row.</summary>
    /// <returns>The lengths of both.</returns>
    protected abstract (int Source, int Target) Damage(ReadOnlySpan<int> text, ref RowRandom random, Span<int> row);

    public override void Fill(ReadOnlySpan<int> text, ref RowRandom random, Span<int> tokens, Span<int> labels)
    {
        // The sequence is one longer than a row: its last token is only told.
        int[] row = System.Buffers.ArrayPool<int>.Shared.Rent(tokens.Length + 1);
        Span<int> sequence = row.AsSpan(0, tokens.Length + 1);
        (int source, int target) = Damage(text[..TextFor(sequence.Length)], ref random, sequence);
        sequence[(source + target)..].Fill(sequence[source + target - 1]);
        Shift(sequence, tokens, labels);
        labels[..(source - 1)].Fill(Ignored);
        labels[(source + target - 1)..].Fill(Ignored);
        System.Buffers.ArrayPool<int>.Shared.Return(row);
    }
}
