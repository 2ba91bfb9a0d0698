using System.Buffers;
using System.Collections.Concurrent;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>Copies a checkpoint's tensors to where a model's parameters lie.</summary>
internal static class WeightLoader
{
    /// <summary>Elements that one thread moves at a time.</summary>
    private const int ChunkElements = 1 << 20;

    /// <param name="nonFinite">Learns of the tensors that hold NaN or infinities, where that is asked for.</param>
    public static void Load(ITensorSource checkpoint, ModelDescription model, Func<string, ParameterMemory> parameter, NonFiniteTensors? nonFinite)
    {
        List<SliceReader> readers = WeightMatch.Find(checkpoint, model, path => parameter(path).Type);
        IEnumerable<(SliceReader Reader, long Start)> chunks =
            from reader in readers
            from start in Chunks(reader.Slice)
            select (reader, start);
        Parallel.ForEach(
            Partitioner.Create(chunks, EnumerablePartitionerOptions.NoBuffering),
            chunk => Copy(chunk.Reader, chunk.Start, parameter(chunk.Reader.Slice.Path), nonFinite));
    }

    private static IEnumerable<long> Chunks(WeightSlice slice)
    {
        for (long start = 0; start < slice.Elements; start += ChunkElements)
            yield return start;
    }

    private static void Copy(SliceReader reader, long start, ParameterMemory target, NonFiniteTensors? nonFinite)
    {
        int size = target.Type.Size();
        int count = (int)Math.Min(ChunkElements, reader.Slice.Elements - start);
        long offset = (reader.Slice.Offset + start) * size;
        if (reader.TryMap(start, count, target.Type, out ReadOnlySpan<byte> mapped))
        {
            nonFinite?.Look(reader.Tensor, target.Type, mapped);
            target.Memory.Write(offset, mapped);
            return;
        }
        byte[] converted = ArrayPool<byte>.Shared.Rent(count * size);
        Span<byte> elements = converted.AsSpan(0, count * size);
        reader.Read(start, target.Type, elements);
        nonFinite?.Look(reader.Tensor, target.Type, elements);
        target.Memory.Write(offset, elements);
        ArrayPool<byte>.Shared.Return(converted);
    }
}
