using System.Runtime.InteropServices;

namespace Legato.Runtime.Text.Training;

/// <summary>
/// Learns merges (Sennrich et al. 2016, Algorithm 1), keeping counts of pairs up to date instead of counting anew.
/// Of pairs that score alike the one with the smaller ids is taken, so that the result is determined.
/// </summary>
/// <remarks>
/// Each symbol is made by one merge, and a pair gains occurrences only while one of its symbols is made. So a pair that is
/// rarer than the minimum when that merge is done stays so, and is forgotten: where text has no pattern, nearly all are.
/// </remarks>
internal sealed class PairTrainer
{
    private readonly SymbolWords words;
    private readonly IPairScore score;
    private readonly long minimum;
    private readonly PairIndex index = new();
    private readonly List<Pair> pairs = [];
    private readonly Stack<int> unused = [];
    private readonly PriorityQueue<int, Candidate> queue = new();
    private readonly List<int> changed = [];
    private readonly NumberLists lists = new();
    private readonly List<int> visited = [];
    private int round;

    /// <summary>One pair: how often it occurs, and in which words (some perhaps no longer).</summary>
    private struct Pair
    {
        public int Left;
        public int Right;
        public long Count;
        public int Round;

        // Whether it outlived the merge in which it first occurred.
        public bool IsKept;

        // The best score under which it waits in the queue; an entry that is too good is put right when it comes up.
        public double Queued;
        public NumberLists.Row Words;
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

    /// <param name="words">The corpus; its words are merged in place.</param>
    /// <param name="minimum">How often a pair must occur to be merged.</param>
    public PairTrainer(SymbolWords words, IPairScore score, long minimum)
    {
        this.words = words;
        this.score = score;
        this.minimum = Math.Max(1, minimum);
        for (int word = 0; word < words.Count; word++)
            score.Observe(words[word], words.CountOf(word));
        for (int word = 0; word < words.Count; word++)
        {
            var row = words[word];
            for (int i = 0; i + 1 < row.Length; i++)
                Gain(row[i], row[i + 1], words.CountOf(word), word);
        }
        EnqueueChanged();
    }

    /// <summary>Takes the best pair of those that occur often enough.</summary>
    public bool TryTake(out int left, out int right)
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

    /// <summary>Replaces a pair by a new symbol in all words.</summary>
    public void Merge(int left, int right, int merged)
    {
        index.TryFind(left, right, out int number);
        ref var pair = ref CollectionsMarshal.AsSpan(pairs)[number];
        visited.Clear();
        lists.CopyTo(pair.Words, visited);
        lists.Clear(ref pair.Words);
        foreach (int word in visited)
            MergeIn(word, left, right, merged);
        CollectionsMarshal.AsSpan(pairs)[number].Count = 0;
        foreach (int other in score.PairsAffected(left, right))
            Note(ref CollectionsMarshal.AsSpan(pairs)[other], other);
        EnqueueChanged();
    }

    private void MergeIn(int word, int left, int right, int merged)
    {
        var row = words[word];
        long count = words.CountOf(word);
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
                Lose(row[kept - 1], left, count);
                Gain(row[kept - 1], merged, count, word);
            }
            if (i + 2 < row.Length)
            {
                Lose(right, row[i + 2], count);
                Gain(merged, row[i + 2], count, word);
            }
            score.Replace(left, right, merged, count);
            row[kept++] = merged;
            i++;
        }
        words.Shorten(word, kept);
    }

    private void Gain(int left, int right, long count, int word)
    {
        if (!index.TryFind(left, right, out int number))
            number = NewPair(left, right);
        ref var pair = ref CollectionsMarshal.AsSpan(pairs)[number];
        pair.Count += count;
        if (pair.Words.Count == 0 || lists.Newest(pair.Words) != word)
            lists.Add(ref pair.Words, word);
        Note(ref pair, number);
    }

    private void Lose(int left, int right, long count)
    {
        if (index.TryFind(left, right, out int number))
            CollectionsMarshal.AsSpan(pairs)[number].Count -= count;
    }

    private int NewPair(int left, int right)
    {
        var pair = new Pair { Left = left, Right = right, Round = -1, Queued = double.NegativeInfinity };
        if (unused.TryPop(out int number))
        {
            pairs[number] = pair;
        }
        else
        {
            number = pairs.Count;
            pairs.Add(pair);
        }
        index.Add(left, right, number);
        return number;
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
        {
            ref var pair = ref CollectionsMarshal.AsSpan(pairs)[number];
            if (!pair.IsKept && pair.Count < minimum)
            {
                Forget(number);
                continue;
            }
            if (!pair.IsKept)
            {
                pair.IsKept = true;
                score.Add(number, pair.Left, pair.Right);
            }
            if (pair.Count > 0)
                Enqueue(number);
        }
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

    private void Forget(int number)
    {
        ref var pair = ref CollectionsMarshal.AsSpan(pairs)[number];
        index.Remove(pair.Left, pair.Right);
        lists.Clear(ref pair.Words);
        unused.Push(number);
    }
}
