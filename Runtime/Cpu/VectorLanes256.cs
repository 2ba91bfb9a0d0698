using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>AVX2's eight lanes.</summary>
internal readonly unsafe struct Lanes256 : ILanes<Vector256<float>, Vector256<int>>
{
    public static int Count => 8;

    public static Vector256<int> Iota => Vector256<int>.Indices;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Of(float value) => Vector256.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Of(int value) => Vector256.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load(long address) => Vector256.Load((float*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> LoadIntegers(long address) => Vector256.Load((int*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> LoadShorts(long address) => Vector256.WidenLower(Vector128.Load((ushort*)address).ToVector256Unsafe()).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadWhere(long address, Vector256<int> mask) => Avx.MaskLoad((float*)address, mask.AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(long address, Vector256<float> value) => value.Store((float*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreIntegers(long address, Vector256<int> value) => value.Store((int*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreShorts(long address, Vector256<int> value) => Vector128.Narrow(value.GetLower(), value.GetUpper()).Store((short*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreWhere(long address, Vector256<float> value, Vector256<int> mask) => Avx.MaskStore((float*)address, mask.AsSingle(), value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Add(Vector256<float> x, Vector256<float> y) => x + y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Subtract(Vector256<float> x, Vector256<float> y) => x - y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Multiply(Vector256<float> x, Vector256<float> y) => x * y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Divide(Vector256<float> x, Vector256<float> y) => x / y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> MultiplyAdd(Vector256<float> x, Vector256<float> y, Vector256<float> z) => Vector256.MultiplyAddEstimate(x, y, z);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Minimum(Vector256<float> x, Vector256<float> y) => Vector256.Min(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Maximum(Vector256<float> x, Vector256<float> y) => Vector256.Max(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Absolute(Vector256<float> x) => Vector256.Abs(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Sqrt(Vector256<float> x) => Vector256.Sqrt(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Floor(Vector256<float> x) => Vector256.Floor(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Round(Vector256<float> x) => Vector256.Round(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Sin(Vector256<float> x) => Vector256.Sin(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Cos(Vector256<float> x) => Vector256.Cos(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Scale(Vector256<float> x, Vector256<int> n)
    {
        // In two steps, since 2ⁿ alone may be no float where x · 2ⁿ is one.
        Vector256<int> half = n >> 1;
        return x * PowerOfTwo(half) * PowerOfTwo(n - half);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector256<float> x) => Vector256.Sum(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Add(Vector256<int> x, Vector256<int> y) => x + y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Subtract(Vector256<int> x, Vector256<int> y) => x - y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Multiply(Vector256<int> x, Vector256<int> y) => x * y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Minimum(Vector256<int> x, Vector256<int> y) => Vector256.Min(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Maximum(Vector256<int> x, Vector256<int> y) => Vector256.Max(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Absolute(Vector256<int> x) => Vector256.Abs(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> And(Vector256<int> x, Vector256<int> y) => x & y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Or(Vector256<int> x, Vector256<int> y) => x | y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Xor(Vector256<int> x, Vector256<int> y) => x ^ y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> ShiftLeft(Vector256<int> x, int bits) => x << bits;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> ShiftRight(Vector256<int> x, int bits) => x >> bits;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> ShiftRightLogical(Vector256<int> x, int bits) => x >>> bits;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Less(Vector256<float> x, Vector256<float> y) => Vector256.LessThan(x, y).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> LessOrEqual(Vector256<float> x, Vector256<float> y) => Vector256.LessThanOrEqual(x, y).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Equal(Vector256<float> x, Vector256<float> y) => Vector256.Equals(x, y).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Less(Vector256<int> x, Vector256<int> y) => Vector256.LessThan(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> LessOrEqual(Vector256<int> x, Vector256<int> y) => Vector256.LessThanOrEqual(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Equal(Vector256<int> x, Vector256<int> y) => Vector256.Equals(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Select(Vector256<int> mask, Vector256<float> then, Vector256<float> otherwise) => Vector256.ConditionalSelect(mask.AsSingle(), then, otherwise);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Select(Vector256<int> mask, Vector256<int> then, Vector256<int> otherwise) => Vector256.ConditionalSelect(mask, then, otherwise);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Any(Vector256<int> mask) => mask != Vector256<int>.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> AsIntegers(Vector256<float> x) => x.AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> AsFloats(Vector256<int> x) => x.AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> ToFloat(Vector256<int> x) => Vector256.ConvertToSingle(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> ToInteger(Vector256<float> x) => Vector256.ConvertToInt32(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> PowerOfTwo(Vector256<int> n) => ((n + Vector256.Create(127)) << 23).AsSingle();
}
