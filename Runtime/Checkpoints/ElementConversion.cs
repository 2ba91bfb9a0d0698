using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>
/// Converts elements between types, through float32. Narrowing rounds to nearest, ties to even; float64 is rounded to
/// float32 first.
/// </summary>
public static class ElementConversion
{
    private const int Block = 1024;

    /// <summary>2 to the 127 - 15: between the exponent biases of float32 and float16.</summary>
    private const float HalfExponentGap = 5.192296858534828e33f;

    /// <summary>The safetensors type with the same bytes as a buffer's type.</summary>
    public static TensorType TensorType(this ScalarType type) => type switch
    {
        Plans.ScalarType.F32 => Checkpoints.TensorType.F32,
        Plans.ScalarType.BF16 => Checkpoints.TensorType.BF16,
        Plans.ScalarType.F16 => Checkpoints.TensorType.F16,
        _ => Checkpoints.TensorType.I32,
    };

    /// <summary>The type that a device holds elements of a file's type in without loss: the same, or a wider one.</summary>
    public static ScalarType ScalarType(this TensorType type) => type switch
    {
        Checkpoints.TensorType.BF16 or Checkpoints.TensorType.F8E4M3 or Checkpoints.TensorType.F8E5M2
            or Checkpoints.TensorType.MXFP4 or Checkpoints.TensorType.F4 => Plans.ScalarType.BF16,
        Checkpoints.TensorType.F16 => Plans.ScalarType.F16,
        _ => Plans.ScalarType.F32,
    };

    /// <summary>Whether elements of one type can be had from the other: any float as any float, any type as itself.</summary>
    public static bool IsPossible(TensorType from, ScalarType to) =>
        from == to.TensorType() || (from.IsFloat() && to != Plans.ScalarType.I32);

    /// <summary>Converts source.Length / size(from) elements of a type without blocks.</summary>
    public static void Convert(TensorType from, ReadOnlySpan<byte> source, ScalarType to, Span<byte> target)
    {
        if (from == to.TensorType())
        {
            source.CopyTo(target);
            return;
        }
        if (to == Plans.ScalarType.F32)
        {
            ToSingle(from, source, MemoryMarshal.Cast<byte, float>(target));
            return;
        }
        Span<float> block = stackalloc float[Block];
        int size = from.BlockBytes();
        int count = source.Length / size;
        for (int start = 0; start < count; start += Block)
        {
            Span<float> part = block[..Math.Min(Block, count - start)];
            ToSingle(from, source.Slice(start * size, part.Length * size), part);
            Span<ushort> narrow = MemoryMarshal.Cast<byte, ushort>(target.Slice(start * 2, part.Length * 2));
            if (to == Plans.ScalarType.BF16)
                ToBFloat16(part, narrow);
            else
                ToHalf(part, narrow);
        }
    }

    /// <summary>Whether none of these elements is NaN or infinite.</summary>
    public static bool AreFinite(ScalarType type, ReadOnlySpan<byte> elements) => type switch
    {
        Plans.ScalarType.F32 => !AnyHasAll(MemoryMarshal.Cast<byte, uint>(elements), 0x7F800000u),
        Plans.ScalarType.BF16 => !AnyHasAll(MemoryMarshal.Cast<byte, ushort>(elements), (ushort)0x7F80),
        Plans.ScalarType.F16 => !AnyHasAll(MemoryMarshal.Cast<byte, ushort>(elements), (ushort)0x7C00),
        _ => true,
    };

    // NaNs and infinities have all bits of the exponent set.
    private static bool AnyHasAll<T>(ReadOnlySpan<T> elements, T exponent)
        where T : unmanaged, IBinaryInteger<T>
    {
        var mask = new Vector<T>(exponent);
        int i = 0;
        for (; i <= elements.Length - Vector<T>.Count; i += Vector<T>.Count)
            if (Vector.EqualsAny(new Vector<T>(elements[i..]) & mask, mask))
                return true;
        for (; i < elements.Length; i++)
            if ((elements[i] & exponent) == exponent)
                return true;
        return false;
    }

    /// <summary>Widens (or, from float64, rounds) elements of any float type to float32.</summary>
    public static void ToSingle(TensorType from, ReadOnlySpan<byte> source, Span<float> target)
    {
        switch (from)
        {
            case Checkpoints.TensorType.F32:
                MemoryMarshal.Cast<byte, float>(source).CopyTo(target);
                break;
            case Checkpoints.TensorType.F64:
                ReadOnlySpan<double> doubles = MemoryMarshal.Cast<byte, double>(source);
                for (int i = 0; i < doubles.Length; i++)
                    target[i] = (float)doubles[i];
                break;
            case Checkpoints.TensorType.BF16:
                FromBFloat16(MemoryMarshal.Cast<byte, ushort>(source), target);
                break;
            case Checkpoints.TensorType.F16:
                FromHalf(MemoryMarshal.Cast<byte, ushort>(source), target);
                break;
            case Checkpoints.TensorType.F8E4M3:
                Look(source, EightBits.E4M3, target);
                break;
            case Checkpoints.TensorType.F8E5M2:
                Look(source, EightBits.E5M2, target);
                break;
            default:
                throw new ArgumentException($"{from} is no float type", nameof(from));
        }
    }

    private static void FromBFloat16(ReadOnlySpan<ushort> source, Span<float> target)
    {
        Span<uint> bits = MemoryMarshal.Cast<float, uint>(target);
        int i = 0;
        for (; i <= source.Length - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            Vector.Widen(new Vector<ushort>(source[i..]), out Vector<uint> low, out Vector<uint> high);
            (low << 16).CopyTo(bits[i..]);
            (high << 16).CopyTo(bits[(i + Vector<uint>.Count)..]);
        }
        for (; i < source.Length; i++)
            bits[i] = (uint)source[i] << 16;
    }

    private static void FromHalf(ReadOnlySpan<ushort> source, Span<float> target)
    {
        Span<uint> bits = MemoryMarshal.Cast<float, uint>(target);
        int i = 0;
        for (; i <= source.Length - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            Vector.Widen(new Vector<ushort>(source[i..]), out Vector<uint> low, out Vector<uint> high);
            WidenHalf(low).CopyTo(bits[i..]);
            WidenHalf(high).CopyTo(bits[(i + Vector<uint>.Count)..]);
        }
        for (; i < source.Length; i++)
            target[i] = (float)BitConverter.UInt16BitsToHalf(source[i]);
    }

    // The half's exponent and fraction, shifted into a float's place, read 2^112 too small; the product mends that and
    // makes subnormals normal. Infinities and NaNs need their exponent filled up.
    private static Vector<uint> WidenHalf(Vector<uint> half)
    {
        Vector<uint> magnitude = (half & new Vector<uint>(0x7FFF)) << 13;
        Vector<uint> scaled = Vector.AsVectorUInt32(Vector.AsVectorSingle(magnitude) * new Vector<float>(HalfExponentGap));
        Vector<uint> special = Vector.GreaterThanOrEqual(magnitude, new Vector<uint>(0x7C00u << 13));
        return scaled | (special & new Vector<uint>(0x7F800000)) | ((half & new Vector<uint>(0x8000)) << 16);
    }

    // A start rounds a model's parameters before the compiler would look at this again.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ToBFloat16(ReadOnlySpan<float> source, Span<ushort> target)
    {
        ReadOnlySpan<uint> bits = MemoryMarshal.Cast<float, uint>(source);
        int i = 0;
        for (; i <= source.Length - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            Vector<uint> low = RoundToBFloat16(new Vector<uint>(bits[i..]));
            Vector<uint> high = RoundToBFloat16(new Vector<uint>(bits[(i + Vector<uint>.Count)..]));
            Vector.Narrow(low, high).CopyTo(target[i..]);
        }
        for (; i < source.Length; i++)
        {
            uint value = bits[i];
            target[i] = float.IsNaN(source[i])
                ? (ushort)((value >> 16) | 0x40)
                : (ushort)((value + 0x7FFF + ((value >> 16) & 1)) >> 16);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector<uint> RoundToBFloat16(Vector<uint> bits)
    {
        Vector<uint> rounded = (bits + new Vector<uint>(0x7FFF) + ((bits >> 16) & Vector<uint>.One)) >> 16;
        Vector<uint> isNaN = Vector.GreaterThan(bits & new Vector<uint>(0x7FFFFFFF), new Vector<uint>(0x7F800000));
        return Vector.ConditionalSelect(isNaN, (bits >> 16) | new Vector<uint>(0x40), rounded);
    }

    private static void ToHalf(ReadOnlySpan<float> source, Span<ushort> target)
    {
        for (int i = 0; i < source.Length; i++)
            target[i] = BitConverter.HalfToUInt16Bits((Half)source[i]);
    }

    private static void Look(ReadOnlySpan<byte> source, float[] table, Span<float> target)
    {
        for (int i = 0; i < source.Length; i++)
            target[i] = table[source[i]];
    }

    /// <summary>The 256 values of the two eight-bit formats (Micikevicius et al. 2022, FP8 Formats for Deep Learning, table 1).</summary>
    private static class EightBits
    {
        /// <summary>Bias 7, no infinities: all ones is NaN.</summary>
        public static readonly float[] E4M3 = Table(3, 7, (exponent, fraction) => exponent == 15 && fraction == 7 ? float.NaN : null);

        /// <summary>Bias 15, infinities and NaNs as in IEEE 754.</summary>
        public static readonly float[] E5M2 = Table(2, 15, (exponent, fraction) =>
            exponent != 31 ? null : fraction == 0 ? float.PositiveInfinity : float.NaN);

        private static float[] Table(int fractionBits, int bias, Func<int, int, float?> special)
        {
            var table = new float[256];
            for (int code = 0; code < 128; code++)
            {
                int exponent = code >> fractionBits;
                int fraction = code & ((1 << fractionBits) - 1);
                float value = special(exponent, fraction)
                    ?? (exponent == 0
                        ? MathF.ScaleB(fraction, 1 - bias - fractionBits)
                        : MathF.ScaleB(fraction + (1 << fractionBits), exponent - bias - fractionBits));
                table[code] = value;
                table[code + 128] = -value;
            }
            return table;
        }
    }
}
