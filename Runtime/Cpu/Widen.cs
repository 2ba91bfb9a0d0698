using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>How a matrix's elements are stored; they are multiplied and summed in float32 whatever this says.</summary>
public enum MatrixElement
{
    Float32,
    BFloat16,
    Float16,
}

/// <summary>A storage type that kernels read as float32.</summary>
internal unsafe interface IStoredElement
{
    /// <summary>Bytes an element.</summary>
    static abstract int Size { get; }

    static abstract float Load(byte* source);

    static abstract Vector256<float> Load8(byte* source);

    /// <summary>Only for code that has AVX-512.</summary>
    static abstract Vector512<float> Load16(byte* source);
}

internal readonly unsafe struct StoredFloat32 : IStoredElement
{
    public static int Size => sizeof(float);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Load(byte* source) => *(float*)source;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load8(byte* source) => Vector256.Load((float*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load16(byte* source) => Vector512.Load((float*)source);
}

/// <summary>bfloat16 is the upper half of a float32, so widening is a shift.</summary>
internal readonly unsafe struct StoredBFloat16 : IStoredElement
{
    public static int Size => sizeof(ushort);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Load(byte* source) => BitConverter.UInt32BitsToSingle((uint)*(ushort*)source << 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load8(byte* source) =>
        Vector256.ShiftLeft(Widen.ToUInt32(source), 16).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load16(byte* source) =>
        Vector512.ShiftLeft(Avx512F.ConvertToVector512UInt32(Vector256.Load((ushort*)source)), 16).AsSingle();
}

internal readonly unsafe struct StoredFloat16 : IStoredElement
{
    public static int Size => sizeof(ushort);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Load(byte* source) => (float)*(Half*)source;

    /// <summary>
    /// .NET has no F16C intrinsics. Moved into place, a half's exponent is 112 too small, which a multiplication by 2^112
    /// mends for normal and subnormal numbers alike; infinities and NaNs get the full exponent.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load8(byte* source)
    {
        Vector256<uint> bits = Widen.ToUInt32(source);
        Vector256<uint> magnitude = bits & Vector256.Create(0x7FFFu);
        Vector256<uint> sign = Vector256.ShiftLeft(bits ^ magnitude, 16);
        Vector256<uint> special = Vector256.GreaterThan(magnitude, Vector256.Create(0x7BFFu)) & Vector256.Create(0x7F80_0000u);
        Vector256<float> finite = Vector256.ShiftLeft(magnitude, 13).AsSingle() * Vector256.Create(5.192296858534828e33f);
        return (finite.AsUInt32() | special | sign).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load16(byte* source) => Vector512.Create(Load8(source), Load8(source + 8 * Size));
}

internal static unsafe class Widen
{
    /// <summary>Eight 16-bit integers as 32-bit ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> ToUInt32(byte* source)
    {
        Vector128<ushort> narrow = Vector128.Load((ushort*)source);
        return Vector256.Create(Vector128.WidenLower(narrow), Vector128.WidenUpper(narrow));
    }
}
