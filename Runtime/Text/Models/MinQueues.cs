using System.Numerics;

namespace Legato.Runtime.Text.Models;

/// <summary>A queue that gives the smallest (rank, position) first.</summary>
internal interface IMinQueue
{
    void Push(int rank, int position);

    bool TryPop(out int rank, out int position);
}

/// <summary>
/// A radix heap (Ahuja, Mehlhorn, Orlin, Tarjan 1990): constant amortised time for keys of bounded width,
/// as long as no key is pushed that is smaller than the last one popped.
/// </summary>
internal sealed class RadixHeap : IMinQueue
{
    private readonly ulong[]?[] buckets = new ulong[65][];
    private readonly int[] counts = new int[65];
    private ulong last;

    public RadixHeap(int capacity) => buckets[64] = new ulong[Math.Max(16, capacity)];

    public void Push(int rank, int position) => Push((ulong)(uint)rank << 32 | (uint)position);

    public bool TryPop(out int rank, out int position)
    {
        if (counts[0] == 0 && !Refill())
        {
            rank = position = 0;
            return false;
        }
        ulong key = buckets[0]![--counts[0]];
        rank = (int)(key >> 32);
        position = (int)(uint)key;
        return true;
    }

    private void Push(ulong key)
    {
        int bucket = 64 - BitOperations.LeadingZeroCount(key ^ last);
        ulong[] keys = buckets[bucket] ??= new ulong[16];
        if (counts[bucket] == keys.Length)
            Array.Resize(ref buckets[bucket], keys.Length * 2);
        buckets[bucket]![counts[bucket]++] = key;
    }

    // The smallest non-empty bucket is spread over smaller ones, relative to its smallest key.
    private bool Refill()
    {
        int from = 1;
        while (from < counts.Length && counts[from] == 0)
            from++;
        if (from == counts.Length)
            return false;
        var keys = buckets[from].AsSpan(0, counts[from]);
        ulong smallest = ulong.MaxValue;
        foreach (ulong key in keys)
            smallest = Math.Min(smallest, key);
        last = smallest;
        counts[from] = 0;
        foreach (ulong key in keys)
            Push(key);
        return true;
    }
}

/// <summary>An ordinary binary heap, for merge tables whose ranks may fall while merging.</summary>
internal sealed class BinaryHeap(int capacity) : IMinQueue
{
    private ulong[] keys = new ulong[Math.Max(16, capacity)];
    private int count;

    public void Push(int rank, int position)
    {
        if (count == keys.Length)
            Array.Resize(ref keys, count * 2);
        ulong key = (ulong)(uint)rank << 32 | (uint)position;
        int at = count++;
        while (at > 0 && keys[(at - 1) / 2] > key)
        {
            keys[at] = keys[(at - 1) / 2];
            at = (at - 1) / 2;
        }
        keys[at] = key;
    }

    public bool TryPop(out int rank, out int position)
    {
        if (count == 0)
        {
            rank = position = 0;
            return false;
        }
        rank = (int)(keys[0] >> 32);
        position = (int)(uint)keys[0];
        SiftDown(keys[--count]);
        return true;
    }

    private void SiftDown(ulong key)
    {
        int at = 0;
        while (2 * at + 1 < count)
        {
            int child = 2 * at + 1;
            if (child + 1 < count && keys[child + 1] < keys[child])
                child++;
            if (keys[child] >= key)
                break;
            keys[at] = keys[child];
            at = child;
        }
        keys[at] = key;
    }
}
