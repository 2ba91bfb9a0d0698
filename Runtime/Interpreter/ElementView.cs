using System.Buffers.Binary;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>Elements of a buffer from an offset on, whatever their type.</summary>
internal readonly struct ElementView(InterpreterMemory memory, ScalarType type, long offset, string name)
{
    public ScalarType Type => type;

    /// <summary>The float at an index, widened.</summary>
    public double Float(long index)
    {
        ReadOnlySpan<byte> bytes = Bytes(index);
        return type switch
        {
            ScalarType.F32 => BinaryPrimitives.ReadSingleLittleEndian(bytes),
            ScalarType.F16 => (double)BinaryPrimitives.ReadHalfLittleEndian(bytes),
            ScalarType.BF16 => BitConverter.UInt32BitsToSingle((uint)BinaryPrimitives.ReadUInt16LittleEndian(bytes) << 16),
            _ => throw new InvalidOperationException($"{name} holds no floats"),
        };
    }

    /// <summary>So many floats, the first at an index and each so far behind the one before.</summary>
    public double[] Floats(long first, long stride, long count)
    {
        var floats = new double[count];
        for (long i = 0; i < count; i++)
            floats[i] = Float(first + i * stride);
        return floats;
    }

    /// <summary>The integer at an index.</summary>
    public long Integer(long index) => type == ScalarType.I32
        ? BinaryPrimitives.ReadInt32LittleEndian(Bytes(index))
        : throw new InvalidOperationException($"{name} holds no integers");

    /// <summary>Stores a float, rounded to the nearest (ties to even) of the element type.</summary>
    public void Store(long index, double value)
    {
        Span<byte> bytes = Bytes(index);
        switch (type)
        {
            case ScalarType.F32:
                BinaryPrimitives.WriteSingleLittleEndian(bytes, (float)value);
                break;
            case ScalarType.F16:
                BinaryPrimitives.WriteHalfLittleEndian(bytes, (Half)(float)value);
                break;
            case ScalarType.BF16:
                BinaryPrimitives.WriteUInt16LittleEndian(bytes, RoundToBFloat16((float)value));
                break;
            default:
                throw new InvalidOperationException($"{name} holds no floats");
        }
    }

    public void Store(long index, long value)
    {
        if (type != ScalarType.I32)
            throw new InvalidOperationException($"{name} holds no integers");
        BinaryPrimitives.WriteInt32LittleEndian(Bytes(index), checked((int)value));
    }

    private static ushort RoundToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? (ushort)((bits >> 16) | 0x40) : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    private Span<byte> Bytes(long index)
    {
        long at = (offset + index) * type.Size();
        return at >= 0 && at + type.Size() <= memory.Bytes
            ? memory.Span(at, type.Size())
            : throw new InvalidOperationException($"element {offset + index} is outside of {name}, which has {memory.Bytes / type.Size()}");
    }
}
