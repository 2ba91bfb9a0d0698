using System.Buffers;
using System.Runtime.InteropServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>One slice's way from a mapped file to a device.</summary>
internal sealed class TensorCopy(WeightSlice slice, SafetensorsFile file, TensorInfo tensor, ParameterMemory target)
{
    private readonly int sourceSize = tensor.Type.Size();
    private readonly int targetSize = target.Type.Size();
    private readonly MatrixView view = MatrixView.Of(tensor.Shape, slice.Part);

    public WeightSlice Slice => slice;

    /// <summary>Moves the parameter's elements from <paramref name="start"/> on, at most <paramref name="most"/>.</summary>
    public void Run(long start, int most)
    {
        int count = (int)Math.Min(most, slice.Elements - start);
        long offset = (slice.Offset + start) * targetSize;
        if (!slice.Transposed && view.IsContiguous && tensor.Type == target.Type.TensorType())
        {
            target.Memory.Write(offset, file.Bytes(tensor, (view.Start + start) * sourceSize, count * sourceSize));
            return;
        }
        byte[] gathered = ArrayPool<byte>.Shared.Rent(count * sourceSize);
        byte[] converted = ArrayPool<byte>.Shared.Rent(count * targetSize);
        Span<byte> elements = gathered.AsSpan(0, count * sourceSize);
        if (!slice.Transposed)
            Gather(start, elements);
        else if (sourceSize == 4)
            GatherTransposed(start, MemoryMarshal.Cast<byte, uint>(elements));
        else if (sourceSize == 2)
            GatherTransposed(start, MemoryMarshal.Cast<byte, ushort>(elements));
        else if (sourceSize == 1)
            GatherTransposed(start, elements);
        else
            GatherTransposed(start, MemoryMarshal.Cast<byte, ulong>(elements));
        ElementConversion.Convert(tensor.Type, elements, target.Type, converted.AsSpan(0, count * targetSize));
        target.Memory.Write(offset, converted.AsSpan(0, count * targetSize));
        ArrayPool<byte>.Shared.Return(gathered);
        ArrayPool<byte>.Shared.Return(converted);
    }

    private void Gather(long start, Span<byte> into)
    {
        while (into.Length > 0)
        {
            (long row, long column) = Math.DivRem(start, view.Width);
            int run = (int)Math.Min(into.Length / sourceSize, view.Width - column);
            file.Bytes(tensor, (view.Start + row * view.Stride + column) * sourceSize, run * sourceSize).CopyTo(into);
            into = into[(run * sourceSize)..];
            start += run;
        }
    }

    // Element p of the parameter is row p % Rows, column p / Rows of the view. Reading along the file's rows touches
    // each page once a chunk.
    private void GatherTransposed<T>(long start, Span<T> into)
        where T : unmanaged
    {
        long firstColumn = start / view.Rows;
        int width = (int)((start + into.Length - 1) / view.Rows - firstColumn + 1);
        for (long row = 0; row < view.Rows; row++)
        {
            ReadOnlySpan<byte> bytes = file.Bytes(tensor, (view.Start + row * view.Stride + firstColumn) * sourceSize, width * sourceSize);
            ReadOnlySpan<T> run = MemoryMarshal.Cast<byte, T>(bytes);
            long place = firstColumn * view.Rows + row - start;
            for (int column = 0; column < run.Length; column++, place += view.Rows)
                if ((ulong)place < (ulong)into.Length)
                    into[(int)place] = run[column];
        }
    }
}

/// <summary>
/// A slice of a row-major tensor: rows of <paramref name="Width"/> adjacent elements, <paramref name="Stride"/> apart.
/// </summary>
internal readonly record struct MatrixView(long Rows, long Width, long Stride, long Start)
{
    public bool IsContiguous => Rows == 1 || Stride == Width;

    /// <summary>A matrix keeps its rows; of another tensor the axes before the sliced one are rows.</summary>
    public static MatrixView Of(IReadOnlyList<long> shape, WeightPart? part)
    {
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
}
