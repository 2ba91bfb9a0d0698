using System.Runtime.CompilerServices;

namespace Legato.Runtime.Cpu;

/// <summary>
/// e^x for the softmax: 2^n · e^r with |r| ≤ ln 2 / 2 and a polynomial for e^r (relative error 1e-8 before rounding).
/// Arguments are at most a little above 0, which saves what <see cref="VectorMath{F, I, L}.Exp"/> does for larger ones.
/// Below ln of the smallest normal float, -inf included, it is 0; NaN stays NaN.
/// </summary>
internal static class AttentionExponential<F, I, L>
    where F : struct
    where I : struct
    where L : struct, ILanes<F, I>
{
    private const float Smallest = -87.336544f;
    private const float Log2E = 1.44269504f;

    /// <summary>1.5 · 2^23: floats around it are the integers.</summary>
    private const float Rounder = 12582912f;

    /// <summary>ln 2 in two parts; the first has few enough bits that n times it is exact.</summary>
    private const float Ln2Upper = 0.693145752f, Ln2Lower = 1.42860682e-6f;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Of(F x)
    {
        // Added to Rounder, n stands in the lowest bits of the sum, from where it is shifted into the exponent's place.
        F rounded = L.MultiplyAdd(x, L.Of(Log2E), L.Of(Rounder));
        F n = L.Subtract(rounded, L.Of(Rounder));
        F r = L.MultiplyAdd(n, L.Of(-Ln2Upper), x);
        r = L.MultiplyAdd(n, L.Of(-Ln2Lower), r);
        // (e^r - 1 - r) / r², interpolated at Chebyshev nodes.
        F p = L.Of(0.00139262131f);
        p = L.MultiplyAdd(p, r, L.Of(0.00836320315f));
        p = L.MultiplyAdd(p, r, L.Of(0.0416665561f));
        p = L.MultiplyAdd(p, r, L.Of(0.166665763f));
        p = L.MultiplyAdd(p, r, L.Of(0.5f));
        p = L.Add(L.MultiplyAdd(p, L.Multiply(r, r), r), L.Of(1f));
        return L.Select(L.Less(x, L.Of(Smallest)), L.Of(0f), L.AsFloats(L.Add(L.AsIntegers(p), L.ShiftLeft(L.AsIntegers(rounded), 23))));
    }
}
