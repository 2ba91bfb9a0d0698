using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>AVX-512's sixteen lanes.</summary>
internal readonly unsafe struct Lanes512 : ILanes<Vector512<float>, Vector512<int>>
{
    public static int Count => 16;

    public static Vector512<int> Iota => Vector512<int>.Indices;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Of(float value) => Vector512.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Of(int value) => Vector512.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(long address) => Vector512.Load((float*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> LoadIntegers(long address) => Vector512.Load((int*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> LoadShorts(long address) => Vector512.WidenLower(Vector256.Load((ushort*)address).ToVector512Unsafe()).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadWhere(long address, Vector512<int> mask) => Avx512F.MaskLoad((float*)address, mask.AsSingle(), Vector512<float>.Zero);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(long address, Vector512<float> value) => value.Store((float*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreIntegers(long address, Vector512<int> value) => value.Store((int*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreShorts(long address, Vector512<int> value) => Avx512F.ConvertToVector256Int16(value).Store((short*)address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreWhere(long address, Vector512<float> value, Vector512<int> mask) => Avx512F.MaskStore((float*)address, mask.AsSingle(), value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Add(Vector512<float> x, Vector512<float> y) => x + y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Subtract(Vector512<float> x, Vector512<float> y) => x - y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Multiply(Vector512<float> x, Vector512<float> y) => x * y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Divide(Vector512<float> x, Vector512<float> y) => x / y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> MultiplyAdd(Vector512<float> x, Vector512<float> y, Vector512<float> z) => Vector512.MultiplyAddEstimate(x, y, z);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Minimum(Vector512<float> x, Vector512<float> y) => Vector512.Min(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Maximum(Vector512<float> x, Vector512<float> y) => Vector512.Max(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Absolute(Vector512<float> x) => Vector512.Abs(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Sqrt(Vector512<float> x) => Vector512.Sqrt(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Floor(Vector512<float> x) => Vector512.Floor(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Round(Vector512<float> x) => Vector512.Round(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Sin(Vector512<float> x) => Vector512.Sin(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Cos(Vector512<float> x) => Vector512.Cos(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Scale(Vector512<float> x, Vector512<int> n) => Avx512F.Scale(x, Vector512.ConvertToSingle(n));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector512<float> x) => Vector512.Sum(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Add(Vector512<int> x, Vector512<int> y) => x + y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Subtract(Vector512<int> x, Vector512<int> y) => x - y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Multiply(Vector512<int> x, Vector512<int> y) => x * y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Minimum(Vector512<int> x, Vector512<int> y) => Vector512.Min(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Maximum(Vector512<int> x, Vector512<int> y) => Vector512.Max(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Absolute(Vector512<int> x) => Vector512.Abs(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> And(Vector512<int> x, Vector512<int> y) => x & y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Or(Vector512<int> x, Vector512<int> y) => x | y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Xor(Vector512<int> x, Vector512<int> y) => x ^ y;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> ShiftLeft(Vector512<int> x, int bits) => x << bits;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> ShiftRight(Vector512<int> x, int bits) => x >> bits;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> ShiftRightLogical(Vector512<int> x, int bits) => x >>> bits;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Less(Vector512<float> x, Vector512<float> y) => Vector512.LessThan(x, y).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> LessOrEqual(Vector512<float> x, Vector512<float> y) => Vector512.LessThanOrEqual(x, y).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Equal(Vector512<float> x, Vector512<float> y) => Vector512.Equals(x, y).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Less(Vector512<int> x, Vector512<int> y) => Vector512.LessThan(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> LessOrEqual(Vector512<int> x, Vector512<int> y) => Vector512.LessThanOrEqual(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Equal(Vector512<int> x, Vector512<int> y) => Vector512.Equals(x, y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Select(Vector512<int> mask, Vector512<float> then, Vector512<float> otherwise) => Vector512.ConditionalSelect(mask.AsSingle(), then, otherwise);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Select(Vector512<int> mask, Vector512<int> then, Vector512<int> otherwise) => Vector512.ConditionalSelect(mask, then, otherwise);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Any(Vector512<int> mask) => mask != Vector512<int>.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> AsIntegers(Vector512<float> x) => x.AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> AsFloats(Vector512<int> x) => x.AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> ToFloat(Vector512<int> x) => Vector512.ConvertToSingle(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> ToInteger(Vector512<float> x) => Vector512.ConvertToInt32(x);
}
