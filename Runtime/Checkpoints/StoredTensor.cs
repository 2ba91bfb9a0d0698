using System.Runtime.InteropServices;

namespace Legato.Runtime.Checkpoints;

/// <summary>A tensor of a file, its place counted from the start of the file, in bytes.</summary>
public sealed record TensorInfo(string Name, TensorType Type, IReadOnlyList<long> Shape, long Offset, long Bytes)
{
    public string ShapeText => $"[{string.Join(", ", Shape)}]";
}

/// <summary>A tensor in a mapped file: its elements on demand, row-major.</summary>
/// <param name="Scales">The tensor of the blocks' scales, a byte each, where they lie apart.</param>
public sealed record StoredTensor(MappedFile File, TensorInfo Info, StoredTensor? Scales = null)
{
    /// <summary>The type in which elements are given: the stored one, float32 for blocks.</summary>
    public TensorType ElementType => Info.Type.IsBlock() ? TensorType.F32 : Info.Type;

    /// <summary>Bytes that <see cref="Elements"/> may need to widen blocks of so many elements.</summary>
    public int ScratchBytes(int count) => Info.Type.IsBlock() ? (count + 2 * Info.Type.BlockElements()) * sizeof(float) : 0;

    /// <summary>
    /// Elements from <paramref name="start"/> on: the file's own bytes where it can be, valid until the file is closed,
    /// and <paramref name="scratch"/> where blocks are widened.
    /// </summary>
    public ReadOnlySpan<byte> Elements(long start, int count, Span<byte> scratch)
    {
        int block = Info.Type.BlockElements(), bytes = Info.Type.BlockBytes();
        long first = start / block;
        int blocks = (int)((start + count + block - 1) / block - first);
        ReadOnlySpan<byte> stored = File.Span(Info.Offset + first * bytes, blocks * bytes);
        if (!Info.Type.IsBlock())
            return stored;
        Span<float> widened = MemoryMarshal.Cast<byte, float>(scratch)[..(blocks * block)];
        if (Scales is not null)
            WidenPairs(stored, Scales.Elements(first, blocks, []), widened);
        else
            QuantisedBlocks.ToSingle(Info.Type, stored, widened);
        return MemoryMarshal.AsBytes(widened.Slice((int)(start - first * block), count));
    }

    private void WidenPairs(ReadOnlySpan<byte> stored, ReadOnlySpan<byte> scales, Span<float> widened)
    {
        int bytes = Info.Type.BlockBytes(), elements = Info.Type.BlockElements();
        for (int i = 0; i < scales.Length; i++)
            Microscaling.WidenPairs(scales[i], stored.Slice(i * bytes, bytes), widened.Slice(i * elements, elements));
    }
}

/// <summary>Tensors by name, whatever holds them: a folder in the Hugging Face layout, or a GGUF file.</summary>
public interface ITensorSource : IDisposable
{
    string Path { get; }

    IEnumerable<string> Names { get; }

    /// <summary>The tensor of that name, or null.</summary>
    StoredTensor? Find(string name);
}
