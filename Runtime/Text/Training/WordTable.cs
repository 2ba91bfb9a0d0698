using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Legato.Runtime.Text.Training;

/// <summary>
/// Counts distinct byte strings in bounded memory. When the table is full, half of it is forgotten, strings seen least
/// often first (after lossy counting, Manku and Motwani 2002), so a corpus may be larger than memory.
/// </summary>
internal sealed class WordTable
{
    /// <summary>In bytes. What is longer is learned from in parts: it can't be counted, only remembered.</summary>
    /// <remarks>A merge goes through whole words, so that long ones cost time: in parts of 4 KB a line without spaces took twice as long.</remarks>
    public const int LongestWord = 1 << 9;

    private const int MinimumSlots = 1 << 16;

    // What a word costs until everything is learned from it. A byte: itself, its symbol, and two or three places in lists
    // of where pairs occur. A word: its entry here, its count and its bounds there.
    private const int BytesPerByte = 16;
    private const int BytesPerWord = 64;

    private readonly long maximumBytes;
    private byte[] text = new byte[1 << 20];
    private int textLength;
    private Word[] words = new Word[1 << 15];
    private int[] slots = NewSlots(MinimumSlots);

    /// <param name="maximumBytes">What counting and learning may take together.</param>
    public WordTable(long maximumBytes) => this.maximumBytes = Math.Clamp(maximumBytes, 4L << 20, 16L << 30);

    /// <param name="Start">Where its bytes stand in the table's text.</param>
    private record struct Word(int Start, int Length, uint Hash, long Count);

    /// <summary>The number of distinct strings.</summary>
    public int Count { get; private set; }

    /// <summary>Of all distinct strings together, in bytes.</summary>
    public int TextLength => textLength;

    private long Cost => (long)textLength * BytesPerByte + (long)Count * BytesPerWord;

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

    /// <summary>Adds a word, in parts if it is long. Parts of UTF-8 are whole characters.</summary>
    public void AddParts(ReadOnlySpan<byte> word)
    {
        while (word.Length > LongestWord)
        {
            int cut = LongestWord;
            while ((word[cut] & 0xC0) == 0x80)
                cut--;
            Add(word[..cut]);
            word = word[cut..];
        }
        Add(word);
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
        if (Cost > maximumBytes)
            Forget();
        else if (Count * 2 > slots.Length)
            Rebuild(slots.Length * 2);
    }

    private void Forget()
    {
        for (long threshold = 1; Cost > maximumBytes / 2; threshold++)
            Compact(threshold, maximumBytes / 2);
        Rebuild(slots.Length);
    }

    // Drops words no more frequent than the threshold, the oldest first, until the rest costs no more than the target.
    private void Compact(long threshold, long target)
    {
        long cost = Cost;
        int kept = 0, length = 0;
        for (int i = 0; i < Count; i++)
        {
            var word = words[i];
            if (cost > target && word.Count <= threshold)
            {
                cost -= (long)word.Length * BytesPerByte + BytesPerWord;
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
