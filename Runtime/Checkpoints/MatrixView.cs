namespace Legato.Runtime.Checkpoints;

/// <summary>
/// A slice of a row-major tensor: rows of <paramref name="Width"/> elements, <paramref name="Stride"/> apart.
/// </summary>
/// <param name="PairedHeads">See <see cref="Plans.WeightSource"/>; 0 where rows lie in their own order.</param>
/// <param name="Step">How far apart a row's elements are.</param>
internal readonly record struct MatrixView(long Rows, long Width, long Stride, long Start, long PairedHeads = 0, int Step = 1)
{
    public bool IsContiguous => PairedHeads == 0 && Step == 1 && (Rows == 1 || Stride == Width);

    /// <summary>
    /// Of the whole tensor. A matrix keeps its rows; of another tensor the axes before the sliced one are rows. Stretches that
    /// recur are rows.
    /// </summary>
    public static MatrixView Of(IReadOnlyList<long> shape, WeightSlice slice)
    {
        if (slice.Blocks is null)
            return OfBlock(shape, slice);
        long[] block = [.. shape.Skip(1)];
        MatrixView view = OfBlock(block, slice);
        return view with { Start = view.Start + slice.Block * block.Aggregate(1L, (n, size) => n * size) };
    }

    /// <summary>Of the tensor's block that holds the slice.</summary>
    public static MatrixView OfBlock(IReadOnlyList<long> shape, WeightSlice slice)
    {
        if (slice.PairedHeads > 0)
        {
            long width = shape.Skip(1).Aggregate(1L, (n, size) => n * size);
            return new MatrixView(shape[0], width, width, 0, slice.PairedHeads);
        }
        Plans.WeightPart? part = slice.Part;
        if (part is { Period: { } step, Axis: 1 })
            return new MatrixView(shape[0], shape[1] / step, shape[1], part.Start, Step: (int)step);
        if (part is { Period: { } period })
        {
            long below = shape.Skip(1).Aggregate(1L, (n, size) => n * size);
            return new MatrixView(shape[0] / period, part.Length * below, period * below, part.Start * below);
        }
        if (shape.Count == 2)
        {
            (long start, long stride) = (part?.Start ?? 0, shape[1]);
            return part?.Axis == 0
                ? new MatrixView(part.Length, stride, stride, start * stride)
                : new MatrixView(shape[0], part?.Length ?? stride, stride, start);
        }
        int axis = part?.Axis ?? 0;
        long rows = 1, inner = 1;
        for (int i = 0; i < shape.Count; i++)
            (rows, inner) = i < axis ? (rows * shape[i], inner) : i > axis ? (rows, inner * shape[i]) : (rows, inner);
        long size = shape.Count == 0 ? 1 : shape[axis];
        return new MatrixView(rows, (part?.Length ?? size) * inner, size * inner, (part?.Start ?? 0) * inner);
    }

    /// <summary>Where a row of the parameter starts in the tensor, in elements.</summary>
    public long RowStart(long row) => Start + (PairedHeads == 0 ? row : Paired(row)) * Stride;

    // Row (head, half, i) of the parameter is row (head, i, half) of the tensor.
    private long Paired(long row)
    {
        long headRows = Rows / PairedHeads;
        (long head, long inside) = Math.DivRem(row, headRows);
        (long half, long i) = Math.DivRem(inside, headRows / 2);
        return head * headRows + 2 * i + half;
    }
}
