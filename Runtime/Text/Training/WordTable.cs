using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Legato.Runtime.Text.Training;

/// <summary>
/// Counts distinct byte strings in bounded memory. When the table is full, strings seen least often are forgotten
/// (lossy counting, Manku and Motwani 2002), so a corpus may be larger than memory.
/// </summary>
internal sealed class WordTable
{
    private const int MinimumSlots = 1 << 16;

    private readonly long maximumBytes;
    private byte[] text = new byte[1 << 20];
    private int textLength;
    private Word[] words = new Word[1 << 15];
    private int[] slots = NewSlots(MinimumSlots);
    private long forgetBelow = 1;

    public WordTable(long maximumBytes) => this.maximumBytes = Math.Clamp(maximumBytes, 4L << 20, 1L << 30);

    /// <param name="Start">Where its bytes stand in the table's text.</param>
    private record struct Word(int Start, int Length, uint Hash, long Count);

    /// <summary>The number of distinct strings.</summary>
    public int Count { get; private set; }

    /// <summary>How many occurrences of strings were forgotten to stay within memory.</summary>
    public long Forgotten { get; private set; }

    public ReadOnlySpan<byte> BytesOf(int word) => text.AsSpan(words[word].Start, words[word].Length);

    public long CountOf(int word) => words[word].Count;

    public void Add(ReadOnlySpan<byte> word, long count = 1)
    {
        uint hash = HashOf(word);
        int slot = (int)hash & (slots.Length - 1);
        while (slots[slot] is var index and >= 0)
        {
            ref var known = ref words[index];
            if (known.Hash == hash && known.Length == word.Length && BytesOf(index).SequenceEqual(word))
            {
                known.Count += count;
                return;
            }
            slot = (slot + 1) & (slots.Length - 1);
        }
        Append(word, hash, count, slot);
    }

    /// <summary>The words in byte order: independent of the order in which they came.</summary>
    public int[] Sorted()
    {
        var order = new int[Count];
        for (int i = 0; i < order.Length; i++)
            order[i] = i;
        Array.Sort(order, (left, right) => BytesOf(left).SequenceCompareTo(BytesOf(right)));
        return order;
    }

    private void Append(ReadOnlySpan<byte> word, uint hash, long count, int slot)
    {
        if (textLength + word.Length > text.Length)
            Array.Resize(ref text, (int)Math.Min(Array.MaxLength, Math.Max(textLength + (long)word.Length, text.Length * 2L)));
        if (Count == words.Length)
            Array.Resize(ref words, words.Length * 2);
        word.CopyTo(text.AsSpan(textLength));
        words[Count] = new Word(textLength, word.Length, hash, count);
        textLength += word.Length;
        slots[slot] = Count++;
        if (textLength + Count * 40L > maximumBytes)
            Forget();
        else if (Count * 2 > slots.Length)
            Rebuild(slots.Length * 2);
    }

    private void Forget()
    {
        long target = maximumBytes / 2;
        while (textLength + Count * 40L > target)
        {
            Compact(forgetBelow);
            forgetBelow++;
        }
        Rebuild(slots.Length);
    }

    private void Compact(long threshold)
    {
        int kept = 0, length = 0;
        for (int i = 0; i < Count; i++)
        {
            var word = words[i];
            if (word.Count <= threshold)
            {
                Forgotten += word.Count;
                continue;
            }
            text.AsSpan(word.Start, word.Length).CopyTo(text.AsSpan(length));
            words[kept++] = word with { Start = length };
            length += word.Length;
        }
        Count = kept;
        textLength = length;
    }

    private void Rebuild(int size)
    {
        slots = NewSlots(size);
        for (int i = 0; i < Count; i++)
        {
            int slot = (int)words[i].Hash & (size - 1);
            while (slots[slot] >= 0)
                slot = (slot + 1) & (size - 1);
            slots[slot] = i;
        }
    }

    private static int[] NewSlots(int size)
    {
        var slots = new int[size];
        Array.Fill(slots, -1);
        return slots;
    }

    private static uint HashOf(ReadOnlySpan<byte> bytes)
    {
        ulong hash = (ulong)bytes.Length * 0x9E3779B97F4A7C15UL;
        while (bytes.Length >= 8)
        {
            hash = Mix(hash ^ MemoryMarshal.Read<ulong>(bytes));
            bytes = bytes[8..];
        }
        ulong tail = 0;
        foreach (byte value in bytes)
            tail = tail << 8 | value;
        return (uint)(Mix(hash ^ tail) >> 32);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Mix(ulong value)
    {
        value *= 0xD6E8FEB86659FD93UL;
        return value ^ value >> 32;
    }
}
