using System.Buffers;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>Parameters as a device holds them.</summary>
internal sealed class DeviceSlices(Func<string, ParameterMemory> parameter) : ISliceSource
{
    public ScalarType TypeOf(WeightSlice slice) => parameter(slice.Path).Type;

    public void Read(WeightSlice slice, long start, ScalarType type, Span<byte> into)
    {
        ParameterMemory memory = parameter(slice.Path);
        int size = memory.Type.Size();
        if (memory.Type == type)
        {
            memory.Memory.Read((slice.Offset + start) * size, into);
            return;
        }
        int count = into.Length / type.Size();
        byte[] held = ArrayPool<byte>.Shared.Rent(count * size);
        memory.Memory.Read((slice.Offset + start) * size, held.AsSpan(0, count * size));
        ElementConversion.Convert(memory.Type.TensorType(), held.AsSpan(0, count * size), type, into);
        ArrayPool<byte>.Shared.Return(held);
    }
}

/// <summary>Parameters as a checkpoint of the same model holds them, whatever its names, its order and the slices that it has of one.</summary>
internal sealed class StoredSlices : ISliceSource
{
    private readonly Dictionary<string, SliceReader[]> readers;
    private readonly NonFiniteTensors nonFinite;

    /// <exception cref="LegatoException">The checkpoint doesn't fit the model; all that doesn't is listed.</exception>
    /// <param name="nonFinite">Learns of the tensors that hold NaN or infinities.</param>
    public StoredSlices(ITensorSource checkpoint, ModelDescription model, NonFiniteTensors nonFinite)
    {
        this.nonFinite = nonFinite;
        readers = WeightMatch.Find(checkpoint, model, _ => ScalarType.F32)
            .GroupBy(reader => reader.Slice.Path)
            .ToDictionary(path => path.Key, path => path.OrderBy(reader => reader.Slice.Offset).ToArray());
    }

    public ScalarType TypeOf(WeightSlice slice) => At(slice.Path, slice.Offset).StoredType.ScalarType();

    public void Read(WeightSlice slice, long start, ScalarType type, Span<byte> into)
    {
        for (long place = slice.Offset + start; into.Length > 0;)
        {
            SliceReader reader = At(slice.Path, place);
            long inside = place - reader.Slice.Offset;
            long count = Math.Min(into.Length / type.Size(), reader.Slice.Elements - inside);
            int bytes = (int)count * type.Size();
            reader.Read(inside, type, into[..bytes]);
            if (!ElementConversion.AreFinite(type, into[..bytes]))
                RequireRoom(reader, inside, (int)count, type);
            into = into[bytes..];
            place += count;
        }
    }

    // What isn't finite in the checkpoint is noted; what is was too large for the type.
    private void RequireRoom(SliceReader reader, long start, int count, ScalarType type)
    {
        var stored = new byte[count * sizeof(float)];
        reader.Read(start, ScalarType.F32, stored);
        if (ElementConversion.AreFinite(ScalarType.F32, stored))
            throw new LegatoException(
                $"tensor '{reader.Tensor.Info.Name}' holds numbers too large for {(type == ScalarType.F16 ? "fp16, whose largest is 65504" : "bf16")}",
                reader.Tensor.File.Path, $"choose {(type == ScalarType.F16 ? "bf16 or fp32" : "fp32")}");
        nonFinite.Add(reader.Tensor);
    }

    // The last slice that begins at the place or before it.
    private SliceReader At(string path, long place)
    {
        SliceReader[] slices = readers[path];
        int low = 0, high = slices.Length - 1;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            (low, high) = slices[middle].Slice.Offset <= place ? (middle, high) : (low, middle - 1);
        }
        return slices[low];
    }
}
