using System.Buffers;
using System.Runtime.InteropServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>Reads one slice of a parameter, in the parameter's own order, out of a checkpoint's tensor.</summary>
internal sealed class SliceReader(WeightSlice slice, StoredTensor tensor)
{
    private readonly int size = tensor.ElementType.BlockBytes();
    private readonly MatrixView view = MatrixView.Of(tensor.Info.Shape, slice);

    public WeightSlice Slice => slice;

    public StoredTensor Tensor => tensor;

    /// <summary>The type of the tensor in its file.</summary>
    public TensorType StoredType => tensor.Info.Type;

    /// <summary>
    /// The elements from <paramref name="start"/> on as the file's own bytes, where they lie there in order and in this type.
    /// </summary>
    public bool TryMap(long start, int count, ScalarType type, out ReadOnlySpan<byte> bytes)
    {
        bool isMapped = !slice.Transposed && view.IsContiguous && slice.Added == 0 && StoredType == type.TensorType();
        bytes = isMapped ? tensor.Elements(view.Start + start, count, []) : default;
        return isMapped;
    }

    /// <summary>Fills <paramref name="into"/> with the elements from <paramref name="start"/> on, converted.</summary>
    public void Read(long start, ScalarType type, Span<byte> into)
    {
        int count = into.Length / type.Size();
        if (TryMap(start, count, type, out ReadOnlySpan<byte> mapped))
        {
            mapped.CopyTo(into);
            return;
        }
        if (slice.Added != 0)
            ReadWithoutAdded(start, type, into, count);
        else
            ReadStored(start, type, into, count);
    }

    // The sum was rounded to float32 when it was written.
    private void ReadWithoutAdded(long start, ScalarType type, Span<byte> into, int count)
    {
        var values = new float[count];
        Span<byte> bytes = MemoryMarshal.AsBytes(values.AsSpan());
        ReadStored(start, ScalarType.F32, bytes, count);
        for (int i = 0; i < count; i++)
            values[i] -= slice.Added;
        ElementConversion.Convert(TensorType.F32, bytes, type, into);
    }

    private void ReadStored(long start, ScalarType type, Span<byte> into, int count)
    {
        byte[] gathered = ArrayPool<byte>.Shared.Rent(count * size);
        Span<byte> elements = gathered.AsSpan(0, count * size);
        if (!slice.Transposed)
            Gather(start, elements);
        else if (size == 4)
            GatherTransposed(start, MemoryMarshal.Cast<byte, uint>(elements));
        else if (size == 2)
            GatherTransposed(start, MemoryMarshal.Cast<byte, ushort>(elements));
        else if (size == 1)
            GatherTransposed(start, elements);
        else
            GatherTransposed(start, MemoryMarshal.Cast<byte, ulong>(elements));
        ElementConversion.Convert(tensor.ElementType, elements, type, into);
        ArrayPool<byte>.Shared.Return(gathered);
    }

    private void Gather(long start, Span<byte> into)
    {
        byte[] scratch = ArrayPool<byte>.Shared.Rent(tensor.ScratchBytes(into.Length / size));
        while (into.Length > 0)
        {
            (long row, long column) = view.IsContiguous ? (0, start) : Math.DivRem(start, view.Width);
            int run = (int)Math.Min(into.Length / size, view.IsContiguous ? long.MaxValue : view.Width - column);
            tensor.Elements(view.RowStart(row) + column, run, scratch).CopyTo(into);
            into = into[(run * size)..];
            start += run;
        }
        ArrayPool<byte>.Shared.Return(scratch);
    }

    // Element p of the parameter is row p % Rows, column p / Rows of the view. Reading along the file's rows touches
    // each page once a chunk.
    private void GatherTransposed<T>(long start, Span<T> into)
        where T : unmanaged
    {
        long firstColumn = start / view.Rows;
        int columns = (int)((start + into.Length - 1) / view.Rows - firstColumn + 1);
        int width = (columns - 1) * view.Step + 1;
        byte[] scratch = ArrayPool<byte>.Shared.Rent(tensor.ScratchBytes(width));
        for (long row = 0; row < view.Rows; row++)
        {
            ReadOnlySpan<T> run = MemoryMarshal.Cast<byte, T>(tensor.Elements(view.RowStart(row) + firstColumn * view.Step, width, scratch));
            long place = firstColumn * view.Rows + row - start;
            for (int column = 0; column < run.Length; column += view.Step, place += view.Rows)
                if ((ulong)place < (ulong)into.Length)
                    into[(int)place] = run[column];
        }
        ArrayPool<byte>.Shared.Return(scratch);
    }
}
