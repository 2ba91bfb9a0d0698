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

/// <summary>Parameters as a checkpoint of the same model holds them, whatever its names and its order.</summary>
internal sealed class StoredSlices : ISliceSource
{
    private readonly Dictionary<(string Path, long Offset), SliceReader> readers;

    /// <exception cref="LegatoException">The checkpoint doesn't fit the model; all that doesn't is listed.</exception>
    public StoredSlices(ITensorSource checkpoint, ModelDescription model) =>
        readers = WeightMatch.Find(checkpoint, model, _ => ScalarType.F32).ToDictionary(r => (r.Slice.Path, r.Slice.Offset));

    public ScalarType TypeOf(WeightSlice slice) => Of(slice).StoredType.ScalarType();

    public void Read(WeightSlice slice, long start, ScalarType type, Span<byte> into) => Of(slice).Read(start, type, into);

    private SliceReader Of(WeightSlice slice) => readers[(slice.Path, slice.Offset)];
}
