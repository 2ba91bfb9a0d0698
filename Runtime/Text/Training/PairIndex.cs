namespace Legato.Runtime.Text.Training;

/// <summary>The numbers of pairs of symbols, by open addressing.</summary>
internal sealed class PairIndex
{
    private const ulong Empty = ulong.MaxValue;

    private ulong[] keys = NewKeys(1 << 16);
    private int[] numbers = new int[1 << 16];
    private int shift = 48;
    private int count;

    public bool TryFind(int left, int right, out int number)
    {
        int slot = SlotFor(KeyOf(left, right));
        number = numbers[slot];
        return keys[slot] != Empty;
    }

    /// <summary>Gives a number to a pair that has none.</summary>
    public void Add(int left, int right, int number)
    {
        if (++count * 2 > keys.Length)
            Grow();
        Put(KeyOf(left, right), number);
    }

    /// <summary>Takes the number from a pair that has one.</summary>
    public void Remove(int left, int right)
    {
        int gap = SlotFor(KeyOf(left, right)), mask = keys.Length - 1;
        // What follows without a gap moves up, unless that would put it before its home.
        for (int slot = (gap + 1) & mask; keys[slot] != Empty; slot = (slot + 1) & mask)
        {
            if (((slot - HomeOf(keys[slot])) & mask) < ((slot - gap) & mask))
                continue;
            (keys[gap], numbers[gap]) = (keys[slot], numbers[slot]);
            gap = slot;
        }
        keys[gap] = Empty;
        count--;
    }

    private void Grow()
    {
        var (oldKeys, oldNumbers) = (keys, numbers);
        keys = NewKeys(oldKeys.Length * 2);
        numbers = new int[keys.Length];
        shift--;
        for (int i = 0; i < oldKeys.Length; i++)
            if (oldKeys[i] != Empty)
                Put(oldKeys[i], oldNumbers[i]);
    }

    private void Put(ulong key, int number)
    {
        int slot = SlotFor(key);
        (keys[slot], numbers[slot]) = (key, number);
    }

    // Where the key is, or where it would be put.
    private int SlotFor(ulong key)
    {
        int slot = HomeOf(key);
        while (keys[slot] != key && keys[slot] != Empty)
            slot = (slot + 1) & (keys.Length - 1);
        return slot;
    }

    // Twice, since one product alone puts pairs of neighbouring ids into long clusters.
    private int HomeOf(ulong key)
    {
        key *= 0x9E3779B97F4A7C15UL;
        return (int)((key ^ key >> 32) * 0xD6E8FEB86659FD93UL >> shift);
    }

    private static ulong KeyOf(int left, int right) => (ulong)(uint)left << 32 | (uint)right;

    private static ulong[] NewKeys(int size)
    {
        var keys = new ulong[size];
        Array.Fill(keys, Empty);
        return keys;
    }
}
