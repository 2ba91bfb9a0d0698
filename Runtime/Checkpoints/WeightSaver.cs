using System.Buffers;
using System.Runtime.InteropServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>Writes a model's parameters under their family's names, in the types that the device holds.</summary>
internal static class WeightSaver
{
    private const int ChunkBytes = 4 << 20;

    public static void Save(string path, ModelDescription model, Func<string, ParameterMemory> parameter)
    {
        string prefix = model.Weights.Prefixes.Count == 0 ? "" : model.Weights.Prefixes[0];
        IEnumerable<TensorToWrite> tensors =
            from slice in WeightSlice.All(model)
            group slice by slice.Tensor into slices
            select Tensor(prefix + slices.Key, [.. slices], parameter);
        SafetensorsWriter.Write(path, tensors, new Dictionary<string, string> { ["format"] = "pt" });
    }

    private static TensorToWrite Tensor(string name, WeightSlice[] slices, Func<string, ParameterMemory> parameter)
    {
        long[] shape = slices[0].TensorShape(slices);
        ScalarType type = parameter(slices[0].Path).Type;
        bool asItLies = slices is [{ Transposed: false, Part: null }];
        return new TensorToWrite(name, type.TensorType(), shape, stream =>
        {
            if (asItLies)
                Copy(slices[0], parameter(slices[0].Path), stream);
            else
                stream.Write(Assemble(shape, type, slices, parameter));
        });
    }

    private static void Copy(WeightSlice slice, ParameterMemory source, Stream stream)
    {
        long offset = slice.Offset * source.Type.Size();
        long end = offset + slice.Elements * source.Type.Size();
        byte[] chunk = ArrayPool<byte>.Shared.Rent(ChunkBytes);
        while (offset < end)
        {
            Span<byte> part = chunk.AsSpan(0, (int)Math.Min(ChunkBytes, end - offset));
            source.Memory.Read(offset, part);
            stream.Write(part);
            offset += part.Length;
        }
        ArrayPool<byte>.Shared.Return(chunk);
    }

    private static byte[] Assemble(long[] shape, ScalarType type, WeightSlice[] slices, Func<string, ParameterMemory> parameter)
    {
        int size = type.Size();
        var tensor = new byte[checked(shape.Aggregate(1L, (n, s) => n * s) * size)];
        foreach (WeightSlice slice in slices)
        {
            var elements = new byte[checked(slice.Elements * size)];
            parameter(slice.Path).Memory.Read(slice.Offset * size, elements);
            MatrixView view = MatrixView.Of(shape, slice.Part);
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
            Span<T> run = tensor.Slice((int)(view.Start + row * view.Stride), (int)view.Width);
            if (!transposed)
                elements.Slice((int)(row * view.Width), run.Length).CopyTo(run);
            else
                for (int column = 0; column < run.Length; column++)
                    run[column] = elements[(int)(column * view.Rows + row)];
        }
    }
}
