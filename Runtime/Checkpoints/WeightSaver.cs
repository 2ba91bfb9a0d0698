using System.Buffers;
using System.Runtime.InteropServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>Where weights are saved from: a device, or another checkpoint.</summary>
internal interface ISliceSource
{
    /// <summary>The type that holds the slice's elements without loss.</summary>
    ScalarType TypeOf(WeightSlice slice);

    /// <summary>Fills <paramref name="into"/> with the slice's elements from <paramref name="start"/> on, in a type.</summary>
    void Read(WeightSlice slice, long start, ScalarType type, Span<byte> into);
}

/// <summary>A tensor's type in the file, by its name, its shape and the type that holds it without loss.</summary>
internal delegate TensorType TensorEncoding(string name, IReadOnlyList<long> shape, ScalarType held);

/// <summary>The tensors of a model's parameters under their family's names, ready to be written.</summary>
internal static class WeightSaver
{
    // A whole number of blocks.
    private const int ChunkElements = 1 << 20;

    public static IEnumerable<TensorToWrite> Tensors(
        ModelDescription model, ISliceSource source, TensorEncoding encode)
    {
        string prefix = model.Weights.Prefixes.Count == 0 ? "" : model.Weights.Prefixes[0];
        return
            from slice in WeightSlice.All(model)
            group slice by slice.Tensor into slices
            select Tensor(prefix + slices.Key, [.. slices], source, encode);
    }

    private static TensorToWrite Tensor(
        string name, WeightSlice[] slices, ISliceSource source, TensorEncoding encode)
    {
        long[] shape = slices[0].TensorShape(slices);
        TensorType type = encode(name, shape, source.TypeOf(slices[0]));
        ScalarType held = type.IsBlock() ? ScalarType.F32 : type.ScalarType();
        return new TensorToWrite(name, type, shape, stream =>
        {
            foreach (IGrouping<long, WeightSlice> block in slices.GroupBy(slice => slice.Block))
                if (block.ToArray() is [{ Transposed: false, Part: null, PairedHeads: 0 } asItLies])
                    Copy(asItLies, source, held, type, stream);
                else
                    Encode(Assemble(held, [.. block], source), type, stream);
        });
    }

    private static void Copy(WeightSlice slice, ISliceSource source, ScalarType held, TensorType type, Stream stream)
    {
        byte[] chunk = ArrayPool<byte>.Shared.Rent(ChunkElements * held.Size());
        for (long start = 0; start < slice.Elements; start += ChunkElements)
        {
            Span<byte> part = chunk.AsSpan(0, (int)Math.Min(ChunkElements, slice.Elements - start) * held.Size());
            source.Read(slice, start, held, part);
            if (slice.Added != 0)
                Add(slice.Added, held, part);
            Encode(part, type, stream);
        }
        ArrayPool<byte>.Shared.Return(chunk);
    }

    private static void Add(float added, ScalarType type, Span<byte> elements)
    {
        var values = new float[elements.Length / type.Size()];
        ElementConversion.ToSingle(type.TensorType(), elements, values);
        for (int i = 0; i < values.Length; i++)
            values[i] += added;
        ElementConversion.Convert(TensorType.F32, MemoryMarshal.AsBytes<float>(values), type, elements);
    }

    private static void Encode(ReadOnlySpan<byte> elements, TensorType type, Stream stream)
    {
        if (!type.IsBlock())
        {
            stream.Write(elements);
            return;
        }
        byte[] blocks = ArrayPool<byte>.Shared.Rent((int)type.Bytes(ChunkElements));
        ReadOnlySpan<float> values = MemoryMarshal.Cast<byte, float>(elements);
        for (int start = 0; start < values.Length; start += ChunkElements)
        {
            ReadOnlySpan<float> part = values.Slice(start, Math.Min(ChunkElements, values.Length - start));
            QuantisedBlocks.ToQ8_0(part, blocks);
            stream.Write(blocks, 0, (int)type.Bytes(part.Length));
        }
        ArrayPool<byte>.Shared.Return(blocks);
    }

    private static byte[] Assemble(ScalarType type, WeightSlice[] slices, ISliceSource source)
    {
        int size = type.Size();
        long[] shape = slices[0].BlockShape(slices);
        var tensor = new byte[checked(shape.Aggregate(1L, (n, s) => n * s) * size)];
        foreach (WeightSlice slice in slices)
        {
            var elements = new byte[checked(slice.Elements * size)];
            source.Read(slice, 0, type, elements);
            MatrixView view = MatrixView.OfBlock(shape, slice);
            if (size == 4)
                Scatter(view, slice.Transposed, MemoryMarshal.Cast<byte, uint>(elements.AsSpan()), MemoryMarshal.Cast<byte, uint>(tensor.AsSpan()));
            else
                Scatter(view, slice.Transposed, MemoryMarshal.Cast<byte, ushort>(elements.AsSpan()), MemoryMarshal.Cast<byte, ushort>(tensor.AsSpan()));
        }
        return tensor;
    }

    private static void Scatter<T>(MatrixView view, bool transposed, Span<T> elements, Span<T> tensor)
        where T : unmanaged
    {
        for (long row = 0; row < view.Rows; row++)
        {
            Span<T> run = tensor[(int)view.RowStart(row)..];
            int width = (int)view.Width;
            if (!transposed)
                elements.Slice((int)(row * view.Width), width).CopyTo(run);
            else
                for (int column = 0; column < width; column++)
                    run[column * view.Step] = elements[(int)(column * view.Rows + row)];
        }
    }
}
