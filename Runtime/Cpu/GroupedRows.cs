namespace Legato.Runtime.Cpu;

/// <summary>Rows by group: those of group g are order[offsets[g]] to order[offsets[g + 1]].</summary>
internal readonly unsafe struct GroupedRows(int count, int groups, int* offsets, int* order)
{
    public int Count => count;

    public int Groups => groups;

    public int Start(int group) => offsets[group];

    public int Size(int group) => offsets[group + 1] - offsets[group];

    public int Row(int place) => order[place];

    /// <summary>How many blocks of at most <paramref name="height"/> rows all groups have, none of them over two groups.</summary>
    public int Blocks(int height)
    {
        int blocks = 0;
        for (int group = 0; group < groups; group++) blocks += MatrixProduct.Divide(Size(group), height);
        return blocks;
    }

    /// <summary>Sorts rows by their groups, by counting (Knuth, volume 3, section 5.2, algorithm D): it keeps their order.</summary>
    /// <exception cref="InvalidOperationException">A row names no group.</exception>
    public void Sort(int* index)
    {
        var starts = new Span<int>(offsets, groups + 1);
        starts.Clear();
        for (int row = 0; row < count; row++)
        {
            if ((uint)index[row] >= (uint)groups)
                throw new InvalidOperationException($"row {row} names group {index[row]} of {groups}");
            starts[index[row] + 1]++;
        }
        for (int group = 0; group < groups; group++) starts[group + 1] += starts[group];
        for (int row = 0; row < count; row++) order[offsets[index[row]]++] = row;
        // Each start has moved to the next group's.
        for (int group = groups; group > 0; group--) offsets[group] = offsets[group - 1];
        offsets[0] = 0;
    }
}

/// <summary>float32 rows that grouped rows read: row r reads row r / share.</summary>
internal readonly unsafe struct GroupedOperand(nint address, nint stride, int share)
{
    public float* Row(int row) => (float*)address + row / share * stride;

    /// <summary>Copies columns [from, from + width) of the rows at places [start, end) of the order, one after another.</summary>
    public void Gather(in GroupedRows rows, int start, int end, int from, int width, float* target)
    {
        for (int place = start; place < end; place++, target += width)
            new ReadOnlySpan<float>(Row(rows.Row(place)) + from, width).CopyTo(new Span<float>(target, width));
    }
}
