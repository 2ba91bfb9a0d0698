namespace Legato.Runtime.Data;

/// <summary>
/// Batches of windows in a shuffled order that is a pure function of seed and step: to resume, the step
/// is all there is to know. An epoch visits every window once; each epoch has its own order, and its windows start at
/// their own offset.
/// </summary>
public sealed class WindowBatches
{
    private readonly TokenRange range;
    private readonly RowMaker rows;
    private readonly long seed;
    private readonly int slack;

    /// <param name="rows">Windows a batch.</param>
    /// <param name="objective">What a window becomes; null: each token tells the one after it.</param>
    /// <exception cref="LegatoException">The data is shorter than one window, or the objective makes no sense of such rows.</exception>
    public WindowBatches(TokenRange range, int rows, RowShape shape, long seed, Objective? objective = null)
    {
        this.rows = new RowMaker(objective ?? Objective.Causal, shape);
        (this.range, Rows, this.seed) = (range, rows, seed);
        long windows = this.rows.RowsOf(range);
        // One window less, where there are many, makes room for the windows to be moved.
        Count = windows > 8 ? windows - 1 : windows;
        slack = (int)Math.Min(this.rows.Stride, range.Length - Count * this.rows.Stride);
    }

    public int Rows { get; }

    /// <summary>Windows an epoch.</summary>
    public long Count { get; }

    /// <summary>The part of an epoch that a step stands for.</summary>
    public double EpochsPerStep => (double)Rows / Count;

    /// <summary>The batch of a step.</summary>
    public void Fill(long step, RowBatch batch)
    {
        for (int row = 0; row < Rows; row++)
        {
            (long epoch, long place) = Math.DivRem(step * Rows + row, Count);
            var order = new EpochOrder(seed, epoch, Count);
            rows.Make(range, order.Offset(slack) + order.Window(place) * rows.Stride, new RowRandom(seed, step * Rows + row), batch[row]);
        }
    }
}
