using System.Runtime.CompilerServices;

namespace Legato.Runtime.Cpu;

/// <summary>A storage type of floats: how one element and how a vector of them is read as float32 and written, rounded to nearest even.</summary>
internal interface IFloatElement
{
    static abstract long Size { get; }

    static abstract float Read(long address);

    static abstract void Write(long address, float value);

    static abstract F Read<F, I, L>(long address)
        where F : struct
        where I : struct
        where L : ILanes<F, I>;

    static abstract void Write<F, I, L>(long address, F value)
        where F : struct
        where I : struct
        where L : ILanes<F, I>;
}

internal readonly unsafe struct Float32Element : IFloatElement
{
    public static long Size => sizeof(float);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Read(long address) => *(float*)address;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write(long address, float value) => *(float*)address = value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Read<F, I, L>(long address)
        where F : struct
        where I : struct
        where L : ILanes<F, I> => L.Load(address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write<F, I, L>(long address, F value)
        where F : struct
        where I : struct
        where L : ILanes<F, I> => L.Store(address, value);
}

internal readonly unsafe struct BFloat16Element : IFloatElement
{
    private const int Infinity = 0x7F800000;

    public static long Size => sizeof(ushort);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Read(long address) => BitConverter.Int32BitsToSingle(*(ushort*)address << 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write(long address, float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        *(ushort*)address = float.IsNaN(value) ? (ushort)((bits >> 16) | 0x40) : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Read<F, I, L>(long address)
        where F : struct
        where I : struct
        where L : ILanes<F, I> => L.AsFloats(L.ShiftLeft(L.LoadShorts(address), 16));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write<F, I, L>(long address, F value)
        where F : struct
        where I : struct
        where L : ILanes<F, I>
    {
        I bits = L.AsIntegers(value);
        I upper = L.ShiftRightLogical(bits, 16);
        I rounded = L.ShiftRightLogical(L.Add(bits, L.Add(L.Of(0x7FFF), L.And(upper, L.Of(1)))), 16);
        I isNaN = L.Less(L.Of(Infinity), L.And(bits, L.Of(int.MaxValue)));
        L.StoreShorts(address, L.Select(isNaN, L.Or(upper, L.Of(0x40)), rounded));
    }
}

internal readonly unsafe struct Float16Element : IFloatElement
{
    private const int SignBit = 0x8000;
    private const int Infinity = 0x7C00;
    private const int SingleInfinity = 0x7F800000;

    /// <summary>The bits of 2⁻¹⁴, the smallest normal float16, as a float32.</summary>
    private const int SmallestNormal = 0x38800000;

    /// <summary>The bits of 65520, from which on a float32 rounds to infinity.</summary>
    private const int Overflow = 0x477FF000;

    /// <summary>2¹¹².</summary>
    private const float ExponentShift = 5192296858534827628530496329220096f;

    public static long Size => sizeof(ushort);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Read(long address) => (float)*(Half*)address;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write(long address, float value) => *(Half*)address = (Half)value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Read<F, I, L>(long address)
        where F : struct
        where I : struct
        where L : ILanes<F, I>
    {
        I half = L.LoadShorts(address);
        I magnitude = L.And(half, L.Of(SignBit - 1));

        // A product with 2^(127 - 15) moves the exponent's bias, of denormals too.
        I bits = L.AsIntegers(L.Multiply(L.AsFloats(L.ShiftLeft(magnitude, 13)), L.Of(ExponentShift)));
        I special = L.And(L.Less(L.Of(Infinity - 1), magnitude), L.Of(SingleInfinity));
        I sign = L.ShiftLeft(L.And(half, L.Of(SignBit)), 16);
        return L.AsFloats(L.Or(L.Or(bits, special), sign));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write<F, I, L>(long address, F value)
        where F : struct
        where I : struct
        where L : ILanes<F, I>
    {
        I bits = L.AsIntegers(value);
        I magnitude = L.And(bits, L.Of(int.MaxValue));
        I odd = L.And(L.ShiftRightLogical(magnitude, 13), L.Of(1));
        I normal = L.ShiftRightLogical(L.Add(magnitude, L.Add(L.Of(0xFFF - (112 << 23)), odd)), 13);

        // The unit in the last place of numbers in [0.5, 1) is that of float16's denormals: the sum rounds as they do.
        I denormal = L.Subtract(L.AsIntegers(L.Add(L.AsFloats(magnitude), L.Of(0.5f))), L.AsIntegers(L.Of(0.5f)));
        I half = L.Select(L.Less(magnitude, L.Of(SmallestNormal)), denormal, normal);
        half = L.Select(L.Less(magnitude, L.Of(Overflow)), half, L.Of(Infinity));
        half = L.Select(L.Less(L.Of(SingleInfinity), magnitude), L.Of(Infinity | 0x200), half);
        L.StoreShorts(address, L.Or(half, L.And(L.ShiftRightLogical(bits, 16), L.Of(SignBit))));
    }
}
