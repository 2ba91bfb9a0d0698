using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Legato.Runtime.Cpu;

/// <summary>Four lanes, of whatever the machine offers; in software where it has no vectors.</summary>
internal readonly unsafe struct Lanes128 : ILanes<Vector128<float>, Vector128<int>>
{
    public static int Count => 4;

    public static Vector128<int> Iota => Vector128<int>.Indices;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Of(float value) => Vector128.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Of(int value) => Vector128.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Load(long address) => Vector128.Load((float*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> LoadIntegers(long address) => Vector128.Load((int*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> LoadShorts(long address) => Vector128.WidenLower(Vector64.Load((ushort*)address).ToVector128Unsafe()).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadWhere(long address, Vector128<int> mask) => VectorMemory<Vector128<float>, Vector128<int>, Lanes128>.LoadEach<Float32Element>(address, mask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(long address, Vector128<float> value) => value.Store((float*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreIntegers(long address, Vector128<int> value) => value.Store((int*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreShorts(long address, Vector128<int> value) => Vector64.Narrow(value.GetLower(), value.GetUpper()).Store((short*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreWhere(long address, Vector128<float> value, Vector128<int> mask) => VectorMemory<Vector128<float>, Vector128<int>, Lanes128>.StoreEach<Float32Element>(address, value, mask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Add(Vector128<float> x, Vector128<float> y) => x + y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Subtract(Vector128<float> x, Vector128<float> y) => x - y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Multiply(Vector128<float> x, Vector128<float> y) => x * y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Divide(Vector128<float> x, Vector128<float> y) => x / y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MultiplyAdd(Vector128<float> x, Vector128<float> y, Vector128<float> z) => Vector128.MultiplyAddEstimate(x, y, z);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Minimum(Vector128<float> x, Vector128<float> y) => Vector128.Min(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Maximum(Vector128<float> x, Vector128<float> y) => Vector128.Max(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Absolute(Vector128<float> x) => Vector128.Abs(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sqrt(Vector128<float> x) => Vector128.Sqrt(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Floor(Vector128<float> x) => Vector128.Floor(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Round(Vector128<float> x) => Vector128.Round(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sin(Vector128<float> x) => Vector128.Sin(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Cos(Vector128<float> x) => Vector128.Cos(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Scale(Vector128<float> x, Vector128<int> n)
    {
        // In two steps, since 2ⁿ alone may be no float where x · 2ⁿ is one.
        Vector128<int> half = n >> 1;
        return x * PowerOfTwo(half) * PowerOfTwo(n - half);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector128<float> x) => Vector128.Sum(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Add(Vector128<int> x, Vector128<int> y) => x + y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Subtract(Vector128<int> x, Vector128<int> y) => x - y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Multiply(Vector128<int> x, Vector128<int> y) => x * y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Minimum(Vector128<int> x, Vector128<int> y) => Vector128.Min(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Maximum(Vector128<int> x, Vector128<int> y) => Vector128.Max(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Absolute(Vector128<int> x) => Vector128.Abs(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> And(Vector128<int> x, Vector128<int> y) => x & y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Or(Vector128<int> x, Vector128<int> y) => x | y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Xor(Vector128<int> x, Vector128<int> y) => x ^ y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> ShiftLeft(Vector128<int> x, int bits) => x << bits;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> ShiftRight(Vector128<int> x, int bits) => x >> bits;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> ShiftRightLogical(Vector128<int> x, int bits) => x >>> bits;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Less(Vector128<float> x, Vector128<float> y) => Vector128.LessThan(x, y).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> LessOrEqual(Vector128<float> x, Vector128<float> y) => Vector128.LessThanOrEqual(x, y).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Equal(Vector128<float> x, Vector128<float> y) => Vector128.Equals(x, y).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Less(Vector128<int> x, Vector128<int> y) => Vector128.LessThan(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> LessOrEqual(Vector128<int> x, Vector128<int> y) => Vector128.LessThanOrEqual(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Equal(Vector128<int> x, Vector128<int> y) => Vector128.Equals(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Select(Vector128<int> mask, Vector128<float> then, Vector128<float> otherwise) => Vector128.ConditionalSelect(mask.AsSingle(), then, otherwise);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Select(Vector128<int> mask, Vector128<int> then, Vector128<int> otherwise) => Vector128.ConditionalSelect(mask, then, otherwise);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Any(Vector128<int> mask) => mask != Vector128<int>.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> AsIntegers(Vector128<float> x) => x.AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> AsFloats(Vector128<int> x) => x.AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> ToFloat(Vector128<int> x) => Vector128.ConvertToSingle(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> ToInteger(Vector128<float> x) => Vector128.ConvertToInt32(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> PowerOfTwo(Vector128<int> n) => ((n + Vector128.Create(127)) << 23).AsSingle();
}
