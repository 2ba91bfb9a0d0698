using System.Runtime.CompilerServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>The numbers of <see cref="Philox"/>, a vector of them at a time; the same bits.</summary>
internal static class VectorRandom<F, I, L>
    where F : struct
    where I : struct
    where L : struct, ILanes<F, I>
{
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static F Random(I seed, I counter)
    {
        I left = counter, right = L.ShiftRight(counter, 31);
        I key = seed;
        for (int round = 0; round < Philox.Rounds; round++)
        {
            I upper = MultiplyHigh(left);
            I lower = L.Multiply(left, L.Of(unchecked((int)Philox.Multiplier)));
            left = L.Xor(L.Xor(upper, key), right);
            right = lower;
            key = L.Add(key, L.Of(unchecked((int)Philox.Weyl)));
        }
        return L.Multiply(L.ToFloat(L.ShiftRightLogical(left, 8)), L.Of(Philox.Unit));
    }

    /// <summary>The upper 32 bits of x · <see cref="Philox.Multiplier"/>, from products of 16-bit halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static I MultiplyHigh(I x)
    {
        I half = L.Of(0xFFFF);
        I multiplierLow = L.Of((int)(Philox.Multiplier & 0xFFFF)), multiplierHigh = L.Of((int)(Philox.Multiplier >> 16));
        I low = L.And(x, half), high = L.ShiftRightLogical(x, 16);
        I lowHigh = L.Multiply(low, multiplierHigh), highLow = L.Multiply(high, multiplierLow);
        I middle = L.ShiftRightLogical(L.Multiply(low, multiplierLow), 16);
        middle = L.Add(middle, L.Add(L.And(lowHigh, half), L.And(highLow, half)));
        I upper = L.Add(L.Multiply(high, multiplierHigh), L.ShiftRightLogical(middle, 16));
        return L.Add(upper, L.Add(L.ShiftRightLogical(lowHigh, 16), L.ShiftRightLogical(highLow, 16)));
    }
}
