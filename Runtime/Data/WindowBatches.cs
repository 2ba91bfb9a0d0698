namespace Legato.Runtime.Data;

/// <summary>
/// Batches of (inputs, labels) windows in a shuffled order that is a pure function of seed and step: to resume, the step
/// is all there is to know. An epoch visits every window once; each epoch has its own order, and its windows start at
/// their own offset.
/// </summary>
public sealed class WindowBatches
{
    private readonly TokenRange range;
    private readonly int sequence;
    private readonly long seed;
    private readonly int slack;
    private readonly Objective objective;

    // A window and the token after it.
    private readonly int[] window;

    /// <param name="rows">Windows a batch.</param>
    /// <param name="objective">What a window becomes; null: each token tells the one after it.</param>
    /// <exception cref="LegatoException">The data is shorter than one window.</exception>
    public WindowBatches(TokenRange range, int rows, int sequence, long seed, Objective? objective = null)
    {
        this.objective = objective ?? Objective.Causal;
        if (sequence < this.objective.ShortestRow)
            throw new LegatoException(
                $"rows of {sequence} tokens are too short for this objective", remedy: $"give a sequence of at least {this.objective.ShortestRow}");
        (this.range, Rows, this.sequence, this.seed) = (range, rows, sequence, seed);
        long windows = Windows(range, sequence);
        // One window less, where there are many, makes room for the windows to be moved.
        Count = windows > 8 ? windows - 1 : windows;
        slack = (int)Math.Min(sequence, range.Length - Count * sequence);
        window = new int[sequence + 1];
    }

    public int Rows { get; }

    /// <summary>Windows an epoch.</summary>
    public long Count { get; }

    /// <summary>The part of an epoch that a step stands for.</summary>
    public double EpochsPerStep => (double)Rows / Count;

    /// <summary>Whole windows of a sequence and its last label that fit into a range.</summary>
    /// <exception cref="LegatoException">None fits.</exception>
    internal static long Windows(TokenRange range, int sequence) => range.Length > sequence
        ? (range.Length - 1) / sequence
        : throw new LegatoException(
            $"a sequence of {sequence} tokens and its last label need {sequence + 1} tokens; this part of the data has {range.Length}",
            remedy: "give more text, or a shorter sequence");

    /// <summary>The batch of a step: [rows, sequence] tokens, and at each place the one that is to be told there.</summary>
    public void Fill(long step, Span<int> tokens, Span<int> labels)
    {
        for (int row = 0; row < Rows; row++)
        {
            (long epoch, long place) = Math.DivRem(step * Rows + row, Count);
            var random = new EpochOrder(seed, epoch, Count);
            range.Read(random.Offset(slack) + random.Window(place) * sequence, window);
            var choices = new RowRandom(seed, step * Rows + row);
            objective.Fill(window, ref choices, tokens.Slice(row * sequence, sequence), labels.Slice(row * sequence, sequence));
        }
    }
}
