using System.Buffers;

namespace Legato.Runtime.Text.Models;

/// <summary>
/// Applies a merge table to a row of symbols: always the pair of the smallest rank, the leftmost of equals
/// (Sennrich et al. 2016, section 3.2). Short rows rescan, which is fastest for words; long ones take a queue
/// that is linear in their length for tables from training.
/// </summary>
internal static class PairMerger
{
    private const int ShortRow = 96;

    /// <summary>Merges in place.</summary>
    /// <param name="table">The merges.</param>
    /// <param name="ids">Symbols; the merged ones stand at the front afterwards.</param>
    /// <param name="starts">Empty, or one number a symbol; a merged symbol keeps its left part's.</param>
    /// <returns>How many symbols are left.</returns>
    public static int Merge(MergeTable table, Span<int> ids, Span<int> starts)
    {
        if (ids.Length < 2)
            return ids.Length;
        if (ids.Length <= ShortRow)
            return MergeShort(table, ids, starts);
        return table.IsMonotone
            ? MergeLong(table, ids, starts, new RadixHeap(ids.Length))
            : MergeLong(table, ids, starts, new BinaryHeap(ids.Length));
    }

    private static int MergeShort(MergeTable table, Span<int> ids, Span<int> starts)
    {
        Span<int> ranks = stackalloc int[ShortRow];
        Span<int> merged = stackalloc int[ShortRow];
        int count = ids.Length;
        for (int i = 0; i < count - 1; i++)
            Look(table, ids, ranks, merged, i);
        while (count > 1)
        {
            int best = SmallestRank(ranks[..(count - 1)]);
            if (ranks[best] == int.MaxValue)
                break;
            ids[best] = merged[best];
            RemoveAt(ids, best + 1, count);
            if (!starts.IsEmpty)
                RemoveAt(starts, best + 1, count);
            if (best + 1 < count - 1)
            {
                RemoveAt(ranks, best + 1, count - 1);
                RemoveAt(merged, best + 1, count - 1);
            }
            count--;
            if (best > 0)
                Look(table, ids, ranks, merged, best - 1);
            if (best < count - 1)
                Look(table, ids, ranks, merged, best);
        }
        return count;
    }

    private static void Look(MergeTable table, Span<int> ids, Span<int> ranks, Span<int> merged, int at)
    {
        if (table.TryGet(ids[at], ids[at + 1], out var merge))
        {
            ranks[at] = merge.Rank;
            merged[at] = merge.Token;
        }
        else
        {
            ranks[at] = int.MaxValue;
        }
    }

    private static int SmallestRank(ReadOnlySpan<int> ranks)
    {
        int best = 0, rank = ranks[0];
        for (int i = 1; i < ranks.Length; i++)
            if (ranks[i] < rank)
            {
                rank = ranks[i];
                best = i;
            }
        return best;
    }

    private static void RemoveAt(Span<int> row, int at, int count) => row[(at + 1)..count].CopyTo(row[at..]);

    private static int MergeLong<TQueue>(MergeTable table, Span<int> ids, Span<int> starts, TQueue queue)
        where TQueue : IMinQueue
    {
        int[] next = ArrayPool<int>.Shared.Rent(ids.Length);
        int[] previous = ArrayPool<int>.Shared.Rent(ids.Length);
        try
        {
            for (int i = 0; i < ids.Length; i++)
            {
                next[i] = i + 1;
                previous[i] = i - 1;
                if (i + 1 < ids.Length && table.TryGet(ids[i], ids[i + 1], out var merge))
                    queue.Push(merge.Rank, i);
            }
            while (queue.TryPop(out int rank, out int left))
                TryMergeAt(table, ids, next, previous, queue, rank, left);
            return Compact(ids, starts, next);
        }
        finally
        {
            ArrayPool<int>.Shared.Return(next);
            ArrayPool<int>.Shared.Return(previous);
        }
    }

    // An entry of the queue is stale when its pair is no longer there; the pair that is has an entry of its own.
    private static void TryMergeAt<TQueue>(
        MergeTable table, Span<int> ids, int[] next, int[] previous, TQueue queue, int rank, int left)
        where TQueue : IMinQueue
    {
        int right = ids[left] < 0 ? ids.Length : next[left];
        if (right >= ids.Length || !table.TryGet(ids[left], ids[right], out var merge) || merge.Rank != rank)
            return;
        ids[left] = merge.Token;
        ids[right] = -1;
        int after = next[right];
        next[left] = after;
        if (after < ids.Length)
        {
            previous[after] = left;
            if (table.TryGet(ids[left], ids[after], out var following))
                queue.Push(following.Rank, left);
        }
        int before = previous[left];
        if (before >= 0 && table.TryGet(ids[before], ids[left], out var preceding))
            queue.Push(preceding.Rank, before);
    }

    private static int Compact(Span<int> ids, Span<int> starts, int[] next)
    {
        int count = 0;
        for (int i = 0; i < ids.Length; i = next[i])
        {
            ids[count] = ids[i];
            if (!starts.IsEmpty)
                starts[count] = starts[i];
            count++;
        }
        return count;
    }
}
