using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

using OneLane = VectorMath<Vector128<float>, Vector128<int>, Lanes128>;

/// <summary>
/// The operations on single values. Elementary functions are those of <see cref="VectorMath{F,I,L}"/>, so that a value
/// doesn't depend on the loop that computes it.
/// </summary>
internal static unsafe class ScalarMath
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Exp(float x) => OneLane.Exp(Vector128.Create(x)).ToScalar();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Log(float x) => OneLane.Log(Vector128.Create(x)).ToScalar();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Tanh(float x) => OneLane.Tanh(Vector128.Create(x)).ToScalar();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Erf(float x) => OneLane.Erf(Vector128.Create(x)).ToScalar();

    public static float Sin(float x) => Vector128.Sin(Vector128.Create(x)).ToScalar();

    public static float Cos(float x) => Vector128.Cos(Vector128.Create(x)).ToScalar();

    public static float Sqrt(float x) => MathF.Sqrt(x);

    public static float Rsqrt(float x) => 1 / MathF.Sqrt(x);

    public static float Floor(float x) => MathF.Floor(x);

    public static float Absolute(float x) => MathF.Abs(x);

    public static float Minimum(float x, float y) => MathF.Min(x, y);

    public static float Maximum(float x, float y) => MathF.Max(x, y);

    public static float Power(float x, float y) => (float)Math.Pow(x, y);

    public static bool IsFinite(float x) => float.IsFinite(x);

    public static float Random(long seed, long counter) => Philox.Uniform(seed, counter);

    public static float ToFloat(long x) => x;

    public static long ToInteger(float x) => (long)x;

    public static long Absolute(long x) => Math.Abs(x);

    public static long Minimum(long x, long y) => Math.Min(x, y);

    public static long Maximum(long x, long y) => Math.Max(x, y);

    /// <summary>The floor of the quotient.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long Divide(long x, long y)
    {
        long quotient = x / y;
        return x - quotient * y < 0 ? quotient - 1 : quotient;
    }

    /// <summary>Of a division by a positive number; never negative.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long Remainder(long x, long y)
    {
        long remainder = x % y;
        return remainder < 0 ? remainder + y : remainder;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long LoadInteger(long address) => *(int*)address;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreInteger(long address, long value) => *(int*)address = (int)value;

    /// <summary>Element <paramref name="index"/> of an array of 64-bit values: an operand's address, an argument.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long Element(long address, int index) => ((long*)address)[index];
}
