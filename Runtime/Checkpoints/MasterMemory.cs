using System.Buffers;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>
/// A parameter that training keeps twice (<see cref="MasterWeights"/>), as one memory of float32: what is written goes to
/// the master, and rounded to what the model reads; what is read is the master.
/// </summary>
internal sealed class MasterMemory(IDeviceMemory master, ParameterMemory rounded) : IDeviceMemory
{
    private const int Block = 1 << 18;

    public long Bytes => master.Bytes;

    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        master.Write(offset, source);
        int size = rounded.Type.Size();
        byte[] narrow = ArrayPool<byte>.Shared.Rent(Math.Min(Block, source.Length / sizeof(float)) * size);
        for (int at = 0; at < source.Length; at += Block * sizeof(float))
        {
            ReadOnlySpan<byte> part = source.Slice(at, Math.Min(Block * sizeof(float), source.Length - at));
            Span<byte> target = narrow.AsSpan(0, part.Length / sizeof(float) * size);
            ElementConversion.Convert(TensorType.F32, part, rounded.Type, target);
            rounded.Memory.Write((offset + at) / sizeof(float) * size, target);
        }
        ArrayPool<byte>.Shared.Return(narrow);
    }

    public void Read(long offset, Span<byte> target) => master.Read(offset, target);

    /// <summary>Both belong to the model's memory.</summary>
    public void Dispose()
    {
    }
}
