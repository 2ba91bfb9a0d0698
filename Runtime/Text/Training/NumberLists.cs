namespace Legato.Runtime.Text.Training;

/// <summary>
/// Many growing lists of numbers in shared memory: a list has no more slack than a block, and what a cleared one had is
/// used again.
/// </summary>
internal sealed class NumberLists
{
    // A block is the number of the block before it, and what it holds.
    private const int BlockSize = 8;
    private const int Room = BlockSize - 1;
    private const int BlocksOfPageBits = 15;

    private readonly List<int[]> pages = [];
    private int made;
    private int free = -1;

    /// <summary>A list: its length, and its last block.</summary>
    public struct Row
    {
        internal int Last;

        public int Count { get; internal set; }
    }

    public void Add(ref Row row, int value)
    {
        int place = row.Count % Room;
        if (place == 0)
            row.Last = NewBlock(row.Last);
        Block(row.Last)[1 + place] = value;
        row.Count++;
    }

    /// <summary>The number that was added last, to a list that isn't empty.</summary>
    public int Newest(in Row row) => Block(row.Last)[1 + (row.Count - 1) % Room];

    /// <summary>Adds a list's numbers to another, newest first.</summary>
    public void CopyTo(in Row row, List<int> target)
    {
        int block = row.Last;
        for (int left = row.Count; left > 0;)
        {
            var numbers = Block(block);
            for (int place = (left - 1) % Room; place >= 0; place--, left--)
                target.Add(numbers[1 + place]);
            block = numbers[0];
        }
    }

    public void Clear(ref Row row)
    {
        int block = row.Last;
        for (int left = (row.Count + Room - 1) / Room; left > 0; left--)
        {
            ref int before = ref Block(block)[0];
            (block, before, free) = (before, free, block);
        }
        row = default;
    }

    private int NewBlock(int before)
    {
        int block = free;
        if (block < 0)
        {
            block = made++;
            if (block >> BlocksOfPageBits == pages.Count)
                pages.Add(GC.AllocateUninitializedArray<int>(BlockSize << BlocksOfPageBits));
        }
        else
        {
            free = Block(block)[0];
        }
        Block(block)[0] = before;
        return block;
    }

    private Span<int> Block(int block) =>
        pages[block >> BlocksOfPageBits].AsSpan((block & ((1 << BlocksOfPageBits) - 1)) * BlockSize, BlockSize);
}
