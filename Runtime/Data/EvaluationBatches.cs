namespace Legato.Runtime.Data;

/// <summary>
/// Batches of windows in order, for a loss that can be compared between steps and runs. Rows beyond the last whole batch
/// are left out; a range of fewer windows than a batch has rows is repeated to fill it.
/// </summary>
public sealed class EvaluationBatches
{
    private readonly TokenRange range;
    private readonly int rows;
    private readonly int sequence;
    private readonly long windows;
    private readonly int[] window;
    private readonly Objective objective;

    /// <param name="most">The most batches; 0 for all.</param>
    /// <param name="objective">What a window becomes, by the same choices each time; null: each token tells the one after it.</param>
    /// <exception cref="LegatoException">The range is shorter than one window.</exception>
    public EvaluationBatches(TokenRange range, int rows, int sequence, int most = 0, Objective? objective = null)
    {
        this.objective = objective ?? Objective.Causal;
        (this.range, this.rows, this.sequence) = (range, rows, sequence);
        windows = WindowBatches.Windows(range, sequence);
        long whole = Math.Max(1, windows / rows);
        Count = (int)Math.Min(whole, most > 0 ? most : int.MaxValue);
        window = new int[sequence + 1];
    }

    /// <summary>Batches.</summary>
    public int Count { get; }

    /// <summary>Batch <paramref name="index"/>: [rows, sequence] tokens and what is to be told at each.</summary>
    public void Fill(int index, Span<int> tokens, Span<int> labels)
    {
        for (int row = 0; row < rows; row++)
        {
            range.Read(((long)index * rows + row) % windows * sequence, window);
            var choices = new RowRandom(0, (long)index * rows + row);
            objective.Fill(window, ref choices, tokens.Slice(row * sequence, sequence), labels.Slice(row * sequence, sequence));
        }
    }
}
