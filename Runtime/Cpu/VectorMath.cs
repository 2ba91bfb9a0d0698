using System.Runtime.CompilerServices;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Elementary functions on vectors of any width, to about 2 units in the last place (Erf: 1e-6 absolute) over their
/// whole domain; NaN gives NaN. The polynomials are Chebyshev interpolants of the quoted remainders.
/// </summary>
internal static class VectorMath<F, I, L>
    where F : struct
    where I : struct
    where L : struct, ILanes<F, I>
{
    // ln 2 in two parts, the first with few enough bits that its product with an exponent is exact.
    private const float LogTwoUpper = 6.931457520e-01f;
    private const float LogTwoLower = 1.428606765e-06f;
    private const float ExpOverflow = 88.8f;
    private const float ExpUnderflow = -104f;

    /// <summary>eˣ = 2ⁿ eʳ with n = round(x / ln 2), |r| ≤ ln 2 / 2.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Exp(F x)
    {
        F clamped = L.Maximum(L.Minimum(x, L.Of(ExpOverflow)), L.Of(ExpUnderflow));
        F n = L.Round(L.Multiply(clamped, L.Of(1.44269504f)));
        F r = L.MultiplyAdd(n, L.Of(-LogTwoUpper), clamped);
        r = L.MultiplyAdd(n, L.Of(-LogTwoLower), r);
        F p = L.Of(1.989126904e-04f);
        p = L.MultiplyAdd(p, r, L.Of(1.393390005e-03f));
        p = L.MultiplyAdd(p, r, L.Of(8.333310485e-03f));
        p = L.MultiplyAdd(p, r, L.Of(4.166646302e-02f));
        p = L.MultiplyAdd(p, r, L.Of(1.666666716e-01f));
        p = L.MultiplyAdd(p, r, L.Of(0.5f));
        p = L.Add(L.MultiplyAdd(L.Multiply(r, r), p, r), L.Of(1f));
        return L.Scale(p, L.ToInteger(n));
    }

    /// <summary>ln x = e ln 2 + ln(1 + f) with x = 2ᵉ (1 + f), √½ ≤ 1 + f &lt; √2.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Log(F x)
    {
        const int RootHalf = 0x3F3504F3;
        I denormal = L.Less(x, L.Of(1.17549435e-38f));
        I bits = L.AsIntegers(L.Select(denormal, L.Multiply(x, L.Of(8388608f)), x));
        I above = L.Subtract(bits, L.Of(RootHalf));
        I exponent = L.Subtract(L.ShiftRight(above, 23), L.And(denormal, L.Of(23)));
        F f = L.Subtract(L.AsFloats(L.Add(L.And(above, L.Of(0x7FFFFF)), L.Of(RootHalf))), L.Of(1f));
        F square = L.Multiply(f, f);
        F p = L.Of(6.971611828e-02f);
        p = L.MultiplyAdd(p, f, L.Of(-1.147973388e-01f));
        p = L.MultiplyAdd(p, f, L.Of(1.168541983e-01f));
        p = L.MultiplyAdd(p, f, L.Of(-1.242568716e-01f));
        p = L.MultiplyAdd(p, f, L.Of(1.424905807e-01f));
        p = L.MultiplyAdd(p, f, L.Of(-1.666780263e-01f));
        p = L.MultiplyAdd(p, f, L.Of(2.000071555e-01f));
        p = L.MultiplyAdd(p, f, L.Of(-2.499999702e-01f));
        p = L.MultiplyAdd(p, f, L.Of(3.333333135e-01f));
        F e = L.ToFloat(exponent);
        F low = L.MultiplyAdd(L.Multiply(square, f), p, L.Multiply(e, L.Of(LogTwoLower)));
        low = L.MultiplyAdd(square, L.Of(-0.5f), low);
        F result = L.MultiplyAdd(e, L.Of(LogTwoUpper), L.Add(f, low));
        result = L.Select(L.Less(x, L.Of(float.PositiveInfinity)), result, x);
        result = L.Select(L.Equal(x, L.Of(0f)), L.Of(float.NegativeInfinity), result);
        return L.Select(L.Less(x, L.Of(0f)), L.Of(float.NaN), result);
    }

    /// <summary>x + x³ P(x²) near 0, else ±(1 - 2 / (e^{2|x|} + 1)).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Tanh(F x)
    {
        F magnitude = L.Absolute(x);
        F square = L.Multiply(x, x);
        F p = L.Of(2.292744815e-03f);
        p = L.MultiplyAdd(p, square, L.Of(-8.343945257e-03f));
        p = L.MultiplyAdd(p, square, L.Of(2.176891826e-02f));
        p = L.MultiplyAdd(p, square, L.Of(-5.395925790e-02f));
        p = L.MultiplyAdd(p, square, L.Of(1.333330423e-01f));
        p = L.MultiplyAdd(p, square, L.Of(-3.333333433e-01f));
        F near = L.MultiplyAdd(L.Multiply(p, square), x, x);
        F far = L.Subtract(L.Of(1f), L.Divide(L.Of(2f), L.Add(Exp(L.Add(magnitude, magnitude)), L.Of(1f))));
        return L.Select(L.Less(magnitude, L.Of(0.625f)), near, WithSignOf(far, x));
    }

    /// <summary>x P(x²) up to 1, else ±(1 - e^{Q(|x|)}), Q near ln erfc.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Erf(F x)
    {
        F square = L.Multiply(x, x);
        F p = L.Of(7.875874871e-05f);
        p = L.MultiplyAdd(p, square, L.Of(-8.016864303e-04f));
        p = L.MultiplyAdd(p, square, L.Of(5.189087242e-03f));
        p = L.MultiplyAdd(p, square, L.Of(-2.685421146e-02f));
        p = L.MultiplyAdd(p, square, L.Of(1.128359437e-01f));
        p = L.MultiplyAdd(p, square, L.Of(-3.761262596e-01f));
        F near = L.Multiply(L.MultiplyAdd(p, square, L.Of(1.128379107e+00f)), x);

        F magnitude = L.Minimum(L.Absolute(x), L.Of(4f));
        F q = L.Of(1.637151399e-06f);
        q = L.MultiplyAdd(q, magnitude, L.Of(-4.605804133e-05f));
        q = L.MultiplyAdd(q, magnitude, L.Of(5.968056503e-04f));
        q = L.MultiplyAdd(q, magnitude, L.Of(-4.759596195e-03f));
        q = L.MultiplyAdd(q, magnitude, L.Of(2.642113529e-02f));
        q = L.MultiplyAdd(q, magnitude, L.Of(-1.100800857e-01f));
        q = L.MultiplyAdd(q, magnitude, L.Of(-6.318260431e-01f));
        q = L.MultiplyAdd(q, magnitude, L.Of(-1.130233407e+00f));
        q = L.MultiplyAdd(q, magnitude, L.Of(3.201380605e-04f));
        F far = L.Subtract(L.Of(1f), Exp(q));
        return L.Select(L.Less(magnitude, L.Of(1f)), near, WithSignOf(far, x));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Rsqrt(F x) => L.Divide(L.Of(1f), L.Sqrt(x));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static I IsFinite(F x) => L.Less(L.Absolute(x), L.Of(float.PositiveInfinity));

    /// <summary>Lane by lane through float64: an exact enough product y · ln x needs more than float32, and powers are rare.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static F Power(F x, F y)
    {
        for (int lane = 0; lane < L.Count; lane++)
        {
            ref float target = ref Unsafe.Add(ref Unsafe.As<F, float>(ref x), lane);
            target = ScalarMath.Power(target, Unsafe.Add(ref Unsafe.As<F, float>(ref y), lane));
        }
        return x;
    }

    /// <summary>The floor of the quotient, lane by lane: no vector unit divides integers. 0 where the divisor is 0.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static I Divide(I x, I y)
    {
        for (int lane = 0; lane < L.Count; lane++)
        {
            ref int target = ref Unsafe.Add(ref Unsafe.As<I, int>(ref x), lane);
            int divisor = Unsafe.Add(ref Unsafe.As<I, int>(ref y), lane);
            target = divisor == 0 ? 0 : (int)ScalarMath.Divide(target, (long)divisor);
        }
        return x;
    }

    /// <summary>x - y · floor(x / y).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static I Remainder(I x, I y) => L.Subtract(x, L.Multiply(y, Divide(x, y)));

    /// <summary>The largest lane; NaN if any is.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static float Largest(F x)
    {
        float largest = Unsafe.As<F, float>(ref x);
        for (int lane = 1; lane < L.Count; lane++)
            largest = MathF.Max(largest, Unsafe.Add(ref Unsafe.As<F, float>(ref x), lane));
        return largest;
    }

    /// <summary>A mask of the first <paramref name="count"/> lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static I First(long count) => L.Less(L.Iota, L.Of((int)count));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static F WithSignOf(F magnitude, F sign) =>
        L.AsFloats(L.Or(L.AsIntegers(magnitude), L.And(L.AsIntegers(sign), L.Of(int.MinValue))));
}
