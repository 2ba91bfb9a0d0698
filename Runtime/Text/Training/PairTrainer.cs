using System.Runtime.InteropServices;

namespace Legato.Runtime.Text.Training;

/// <summary>
/// Learns merges (Sennrich et al. 2016, Algorithm 1), keeping counts of pairs up to date instead of counting anew.
/// Of pairs that score alike the one with the smaller ids is taken, so that the result is determined.
/// </summary>
internal sealed class PairTrainer
{
    private readonly int[] symbols;
    private readonly int[] starts;
    private readonly int[] lengths;
    private readonly long[] counts;
    private readonly PairIndex index = new();
    private readonly List<Pair> pairs = [];
    private readonly PriorityQueue<int, Candidate> queue = new();
    private readonly List<int> changed = [];
    private readonly IPairScore score;
    private int round;

    /// <summary>One pair: how often it occurs, and in which words (some perhaps no longer).</summary>
    private struct Pair
    {
        public int Left;
        public int Right;
        public long Count;
        public int Round;

        // The best score under which it waits in the queue; an entry that is too good is put right when it comes up.
        public double Queued;
        public List<int> Words;
    }

    /// <summary>A pair's place in the queue: by score, then by ids.</summary>
    private readonly record struct Candidate(double Score, int Left, int Right) : IComparable<Candidate>
    {
        public int CompareTo(Candidate other)
        {
            int byScore = other.Score.CompareTo(Score);
            if (byScore != 0)
                return byScore;
            return Left != other.Left ? Left.CompareTo(other.Left) : Right.CompareTo(other.Right);
        }
    }

    public PairTrainer(SymbolWords words, IPairScore score)
    {
        this.score = score;
        symbols = words.Symbols();
        starts = words.Starts();
        counts = words.Counts();
        lengths = new int[counts.Length];
        for (int word = 0; word < counts.Length; word++)
        {
            lengths[word] = starts[word + 1] - starts[word];
            score.Observe(symbols.AsSpan(starts[word], lengths[word]), counts[word]);
        }
        for (int word = 0; word < counts.Length; word++)
            for (int i = starts[word]; i + 1 < starts[word] + lengths[word]; i++)
                Change(symbols[i], symbols[i + 1], counts[word], word);
        EnqueueChanged();
    }

    /// <summary>Takes the best pair that occurs at least <paramref name="minimum"/> times.</summary>
    public bool TryTake(long minimum, out int left, out int right)
    {
        while (queue.TryDequeue(out int number, out var candidate))
        {
            ref var pair = ref CollectionsMarshal.AsSpan(pairs)[number];
            if (candidate.Score < pair.Queued)
                continue;
            pair.Queued = double.NegativeInfinity;
            if (pair.Count < minimum)
                continue;
            if (score.Of(pair.Left, pair.Right, pair.Count) != candidate.Score)
            {
                Enqueue(number);
                continue;
            }
            (left, right) = (pair.Left, pair.Right);
            return true;
        }
        left = right = -1;
        return false;
    }

    /// <summary>Replaces a pair by a symbol in all words.</summary>
    public void Merge(int left, int right, int merged)
    {
        int number = index.NumberOf(left, right);
        foreach (int word in CollectionsMarshal.AsSpan(pairs)[number].Words)
            MergeIn(word, left, right, merged);
        ref var pair = ref CollectionsMarshal.AsSpan(pairs)[number];
        pair.Count = 0;
        pair.Words = [];
        foreach (int other in score.PairsAffected(left, right))
            Note(ref CollectionsMarshal.AsSpan(pairs)[other], other);
        EnqueueChanged();
    }

    private void MergeIn(int word, int left, int right, int merged)
    {
        var row = symbols.AsSpan(starts[word], lengths[word]);
        long count = counts[word];
        int kept = 0;
        for (int i = 0; i < row.Length; i++)
        {
            if (i + 1 == row.Length || row[i] != left || row[i + 1] != right)
            {
                row[kept++] = row[i];
                continue;
            }
            if (kept > 0)
            {
                Change(row[kept - 1], left, -count, -1);
                Change(row[kept - 1], merged, count, word);
            }
            if (i + 2 < row.Length)
            {
                Change(right, row[i + 2], -count, -1);
                Change(merged, row[i + 2], count, word);
            }
            score.Replace(left, right, merged, count);
            row[kept++] = merged;
            i++;
        }
        lengths[word] = kept;
    }

    private void Change(int left, int right, long by, int word)
    {
        int number = index.NumberOf(left, right);
        if (number == pairs.Count)
        {
            pairs.Add(new Pair { Left = left, Right = right, Round = -1, Queued = double.NegativeInfinity, Words = [] });
            score.Add(number, left, right);
        }
        ref var pair = ref CollectionsMarshal.AsSpan(pairs)[number];
        pair.Count += by;
        if (by <= 0)
            return;
        if (pair.Words.Count == 0 || pair.Words[^1] != word)
            pair.Words.Add(word);
        Note(ref pair, number);
    }

    // Only a pair whose score may have risen needs a new place; one that fell is found out when it comes up.
    private void Note(ref Pair pair, int index)
    {
        if (pair.Round == round)
            return;
        pair.Round = round;
        changed.Add(index);
    }

    private void EnqueueChanged()
    {
        foreach (int number in changed)
            if (pairs[number].Count > 0)
                Enqueue(number);
        changed.Clear();
        round++;
    }

    private void Enqueue(int number)
    {
        ref var pair = ref CollectionsMarshal.AsSpan(pairs)[number];
        double current = score.Of(pair.Left, pair.Right, pair.Count);
        if (current <= pair.Queued)
            return;
        pair.Queued = current;
        queue.Enqueue(number, new Candidate(current, pair.Left, pair.Right));
    }
}
