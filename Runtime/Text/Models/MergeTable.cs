using System.Runtime.CompilerServices;

namespace Legato.Runtime.Text.Models;

/// <summary>
/// The merges of a byte-pair encoding: which two neighbouring tokens join into which one, and how early.
/// Open addressing over the pair as one 64-bit key.
/// </summary>
internal sealed class MergeTable
{
    private const ulong Empty = ulong.MaxValue;

    private readonly ulong[] keys;
    private readonly Merge[] merges;
    private readonly int shift;

    /// <param name="Rank">Smaller ranks merge first.</param>
    /// <param name="Token">The id of the joined token.</param>
    public readonly record struct Merge(int Rank, int Token);

    public MergeTable(IReadOnlyList<(int Left, int Right, int Rank, int Token)> entries)
    {
        int bits = 4;
        while (1L << bits < entries.Count * 2L)
            bits++;
        shift = 64 - bits;
        keys = new ulong[1 << bits];
        Array.Fill(keys, Empty);
        merges = new Merge[1 << bits];
        foreach (var (left, right, rank, token) in entries)
            Insert(Key(left, right), new Merge(rank, token));
        Count = entries.Count;
        IsMonotone = ComputeIsMonotone();
    }

    public int Count { get; }

    /// <summary>
    /// True when a merge that builds on another always has a larger rank, as in every table that training gives.
    /// Then ranks never fall while a text is merged, and a radix heap serves as the queue.
    /// </summary>
    public bool IsMonotone { get; }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryGet(int left, int right, out Merge merge)
    {
        ulong key = Key(left, right);
        int slot = Slot(key);
        while (true)
        {
            ulong found = keys[slot];
            if (found == key)
            {
                merge = merges[slot];
                return true;
            }
            if (found == Empty)
            {
                merge = default;
                return false;
            }
            slot = (slot + 1) & (keys.Length - 1);
        }
    }

    /// <summary>All entries, in no particular order.</summary>
    public IEnumerable<(int Left, int Right, int Rank, int Token)> Entries()
    {
        for (int i = 0; i < keys.Length; i++)
            if (keys[i] != Empty)
                yield return ((int)(keys[i] >> 32), (int)(uint)keys[i], merges[i].Rank, merges[i].Token);
    }

    private static ulong Key(int left, int right) => (ulong)(uint)left << 32 | (uint)right;

    private int Slot(ulong key) => (int)(key * 0x9E3779B97F4A7C15UL >> shift);

    // A pair listed twice keeps its last rank, as a dictionary would.
    private void Insert(ulong key, Merge merge)
    {
        int slot = Slot(key);
        while (keys[slot] != Empty && keys[slot] != key)
            slot = (slot + 1) & (keys.Length - 1);
        keys[slot] = key;
        merges[slot] = merge;
    }

    private bool ComputeIsMonotone()
    {
        var latest = new Dictionary<int, int>();
        foreach (var (_, _, rank, token) in Entries())
            if (!latest.TryGetValue(token, out int known) || rank > known)
                latest[token] = rank;
        foreach (var (left, right, rank, _) in Entries())
            if (latest.TryGetValue(left, out int l) && l >= rank || latest.TryGetValue(right, out int r) && r >= rank)
                return false;
        return true;
    }
}
