namespace Legato.Runtime.Text.Models;

/// <summary>A trie over UTF-16 code units whose edges lie in one hash table.</summary>
internal sealed class CharacterTrie
{
    private const ulong Empty = ulong.MaxValue;

    private ulong[] keys;
    private int[] children;
    private readonly List<int> values = [-1];
    private int count;

    public CharacterTrie(int expectedEdges)
    {
        int bits = 10;
        while (1L << bits < expectedEdges * 2L)
            bits++;
        keys = NewKeys(1 << bits);
        children = new int[1 << bits];
    }

    public const int Root = 0;

    public void Add(ReadOnlySpan<char> text, int value)
    {
        int node = Root;
        foreach (char unit in text)
            node = AddChild(node, unit);
        values[node] = value;
    }

    /// <summary>The node behind an edge, or -1.</summary>
    public int Step(int node, char unit)
    {
        ulong key = (ulong)(uint)node << 16 | unit;
        int slot = SlotOf(key);
        while (keys[slot] != key)
        {
            if (keys[slot] == Empty)
                return -1;
            slot = (slot + 1) & (keys.Length - 1);
        }
        return children[slot];
    }

    /// <summary>The value of a node, or -1.</summary>
    public int ValueOf(int node) => values[node];

    private int AddChild(int node, char unit)
    {
        int child = Step(node, unit);
        if (child >= 0)
            return child;
        if (++count * 2 > keys.Length)
            Grow();
        values.Add(-1);
        Insert((ulong)(uint)node << 16 | unit, values.Count - 1);
        return values.Count - 1;
    }

    private void Insert(ulong key, int child)
    {
        int slot = SlotOf(key);
        while (keys[slot] != Empty)
            slot = (slot + 1) & (keys.Length - 1);
        keys[slot] = key;
        children[slot] = child;
    }

    private void Grow()
    {
        var (oldKeys, oldChildren) = (keys, children);
        keys = NewKeys(oldKeys.Length * 2);
        children = new int[keys.Length];
        for (int i = 0; i < oldKeys.Length; i++)
            if (oldKeys[i] != Empty)
                Insert(oldKeys[i], oldChildren[i]);
    }

    private int SlotOf(ulong key) => (int)(key * 0x9E3779B97F4A7C15UL >> 32) & (keys.Length - 1);

    private static ulong[] NewKeys(int size)
    {
        var keys = new ulong[size];
        Array.Fill(keys, Empty);
        return keys;
    }
}
