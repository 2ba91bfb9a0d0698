namespace Legato.Runtime.Text.Training;

/// <summary>Numbers pairs of symbols in the order in which they come. Open addressing, with a hash that suits small ids.</summary>
internal sealed class PairIndex
{
    private const ulong Empty = ulong.MaxValue;

    private ulong[] keys = NewKeys(1 << 16);
    private int[] numbers = new int[1 << 16];
    private int shift = 48;

    public int Count { get; private set; }

    /// <summary>The number of a pair; a new one gets the next.</summary>
    public int NumberOf(int left, int right)
    {
        ulong key = (ulong)(uint)left << 32 | (uint)right;
        int slot = SlotOf(key);
        while (keys[slot] != key)
        {
            if (keys[slot] == Empty)
                return Insert(key, slot);
            slot = (slot + 1) & (keys.Length - 1);
        }
        return numbers[slot];
    }

    private int Insert(ulong key, int slot)
    {
        keys[slot] = key;
        numbers[slot] = Count++;
        if (Count * 2 > keys.Length)
            Grow();
        return Count - 1;
    }

    private void Grow()
    {
        var (oldKeys, oldNumbers) = (keys, numbers);
        keys = NewKeys(oldKeys.Length * 2);
        numbers = new int[keys.Length];
        shift--;
        for (int i = 0; i < oldKeys.Length; i++)
        {
            if (oldKeys[i] == Empty)
                continue;
            int slot = SlotOf(oldKeys[i]);
            while (keys[slot] != Empty)
                slot = (slot + 1) & (keys.Length - 1);
            keys[slot] = oldKeys[i];
            numbers[slot] = oldNumbers[i];
        }
    }

    private int SlotOf(ulong key) => (int)(key * 0x9E3779B97F4A7C15UL >> shift);

    private static ulong[] NewKeys(int size)
    {
        var keys = new ulong[size];
        Array.Fill(keys, Empty);
        return keys;
    }
}
