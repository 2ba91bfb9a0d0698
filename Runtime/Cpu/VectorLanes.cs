namespace Legato.Runtime.Cpu;

/// <summary>
/// One width of vectors: <typeparamref name="F"/> holds float32 lanes, <typeparamref name="I"/> as many int32 lanes.
/// Comparisons give all ones or all zeros in a lane of <typeparamref name="I"/>. Addresses are bytes in native memory.
/// Functions written over this interface are compiled for each width without a cost.
/// </summary>
internal interface ILanes<F, I>
    where F : struct
    where I : struct
{
    static abstract int Count { get; }

    /// <summary>0, 1, 2, …</summary>
    static abstract I Iota { get; }

    static abstract F Of(float value);
    static abstract I Of(int value);

    static abstract F Load(long address);
    static abstract I LoadIntegers(long address);

    /// <summary>16-bit elements, zero-extended.</summary>
    static abstract I LoadShorts(long address);

    /// <summary>Touches memory only where the mask is set; zero elsewhere.</summary>
    static abstract F LoadWhere(long address, I mask);
    static abstract void Store(long address, F value);
    static abstract void StoreIntegers(long address, I value);

    /// <summary>The lower halves of the lanes.</summary>
    static abstract void StoreShorts(long address, I value);
    static abstract void StoreWhere(long address, F value, I mask);

    static abstract F Add(F x, F y);
    static abstract F Subtract(F x, F y);
    static abstract F Multiply(F x, F y);
    static abstract F Divide(F x, F y);

    /// <summary>x · y + z, in one rounding where the machine can.</summary>
    static abstract F MultiplyAdd(F x, F y, F z);

    /// <summary>NaN if either is.</summary>
    static abstract F Minimum(F x, F y);
    static abstract F Maximum(F x, F y);
    static abstract F Absolute(F x);
    static abstract F Sqrt(F x);
    static abstract F Floor(F x);

    /// <summary>To the nearest integer.</summary>
    static abstract F Round(F x);
    static abstract F Sin(F x);
    static abstract F Cos(F x);

    /// <summary>x · 2ⁿ for |n| ≤ 252.</summary>
    static abstract F Scale(F x, I n);
    static abstract float Sum(F x);

    static abstract I Add(I x, I y);
    static abstract I Subtract(I x, I y);
    static abstract I Multiply(I x, I y);
    static abstract I Minimum(I x, I y);
    static abstract I Maximum(I x, I y);
    static abstract I Absolute(I x);
    static abstract I And(I x, I y);
    static abstract I Or(I x, I y);
    static abstract I Xor(I x, I y);
    static abstract I ShiftLeft(I x, int bits);

    /// <summary>Keeps the sign.</summary>
    static abstract I ShiftRight(I x, int bits);
    static abstract I ShiftRightLogical(I x, int bits);

    static abstract I Less(F x, F y);
    static abstract I LessOrEqual(F x, F y);
    static abstract I Equal(F x, F y);
    static abstract I Less(I x, I y);
    static abstract I LessOrEqual(I x, I y);
    static abstract I Equal(I x, I y);
    static abstract F Select(I mask, F then, F otherwise);
    static abstract I Select(I mask, I then, I otherwise);

    /// <summary>Whether any lane of the mask is set.</summary>
    static abstract bool Any(I mask);

    static abstract I AsIntegers(F x);
    static abstract F AsFloats(I x);
    static abstract F ToFloat(I x);

    /// <summary>Towards zero.</summary>
    static abstract I ToInteger(F x);
}
