namespace Legato.Runtime.Data;

/// <summary>
/// Batches of windows in order, for a loss that can be compared between steps and runs. Rows beyond the last whole batch
/// are left out; a range of fewer windows than a batch has rows is repeated to fill it.
/// </summary>
public sealed class EvaluationBatches
{
    private readonly TokenRange range;
    private readonly int rows;
    private readonly RowMaker maker;
    private readonly long windows;

    /// <param name="most">The most batches; 0 for all.</param>
    /// <param name="objective">What a window becomes, by the same choices each time; null: each token tells the one after it.</param>
    /// <exception cref="LegatoException">The range is shorter than one window, or the objective makes no sense of such rows.</exception>
    public EvaluationBatches(TokenRange range, int rows, RowShape shape, int most = 0, Objective? objective = null)
    {
        maker = new RowMaker(objective ?? Objective.Causal, shape);
        (this.range, this.rows) = (range, rows);
        windows = maker.RowsOf(range);
        long whole = Math.Max(1, windows / rows);
        Count = (int)Math.Min(whole, most > 0 ? most : int.MaxValue);
        Batch = new RowBatch(rows, shape);
    }

    /// <summary>Batches.</summary>
    public int Count { get; }

    /// <summary>What <see cref="Fill"/> fills.</summary>
    public RowBatch Batch { get; }

    public void Fill(int index)
    {
        for (int row = 0; row < rows; row++)
        {
            long number = (long)index * rows + row;
            maker.Make(range, number % windows * maker.Stride, new RowRandom(0, number), Batch[row]);
        }
    }
}
