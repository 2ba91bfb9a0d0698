using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Tiles of up to 4×8 in 128-bit vectors, for any processor. Where there is no fused multiply-add (it would be emulated, at
/// a great cost), product and sum round separately.
/// </summary>
internal static unsafe class MatrixProductPortable
{
    public const int Columns = 8;
    public const int AWidth = 4;
    private const int Lanes = 4;

    public static delegate*<nint, float*, float*, float*, nint, float*, nint, byte*, nint, void>[] Kernels() =>
    [
        &Tile<Height1>, &Tile<Height2>, &Tile<Height3>, &Tile<Height4>,
    ];

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile<T>(nint depth, float* a, float* b, float* addend, nint addendStride, float* c, nint cStride,
        byte* next, nint nextStep) where T : struct, ITileHeight
    {
        Vector128<float> l0 = Vector128<float>.Zero, r0 = Vector128<float>.Zero;
        Vector128<float> l1 = Vector128<float>.Zero, r1 = Vector128<float>.Zero;
        Vector128<float> l2 = Vector128<float>.Zero, r2 = Vector128<float>.Zero;
        Vector128<float> l3 = Vector128<float>.Zero, r3 = Vector128<float>.Zero;
        for (; depth > 0; depth--, a += AWidth, b += Columns)
        {
            Vector128<float> bL = Vector128.LoadAligned(b), bR = Vector128.LoadAligned(b + Lanes);
            Vector128<float> x = Vector128.Create(a[0]);
            l0 = Vector128.MultiplyAddEstimate(x, bL, l0); r0 = Vector128.MultiplyAddEstimate(x, bR, r0);
            if (T.Rows > 1) { x = Vector128.Create(a[1]); l1 = Vector128.MultiplyAddEstimate(x, bL, l1); r1 = Vector128.MultiplyAddEstimate(x, bR, r1); }
            if (T.Rows > 2) { x = Vector128.Create(a[2]); l2 = Vector128.MultiplyAddEstimate(x, bL, l2); r2 = Vector128.MultiplyAddEstimate(x, bR, r2); }
            if (T.Rows > 3) { x = Vector128.Create(a[3]); l3 = Vector128.MultiplyAddEstimate(x, bL, l3); r3 = Vector128.MultiplyAddEstimate(x, bR, r3); }
        }
        if (addend != null)
        {
            l0 += Vector128.Load(addend); r0 += Vector128.Load(addend + Lanes);
            if (T.Rows > 1) { addend += addendStride; l1 += Vector128.Load(addend); r1 += Vector128.Load(addend + Lanes); }
            if (T.Rows > 2) { addend += addendStride; l2 += Vector128.Load(addend); r2 += Vector128.Load(addend + Lanes); }
            if (T.Rows > 3) { addend += addendStride; l3 += Vector128.Load(addend); r3 += Vector128.Load(addend + Lanes); }
        }
        Store(c, l0, r0);
        if (T.Rows > 1) Store(c += cStride, l1, r1);
        if (T.Rows > 2) Store(c += cStride, l2, r2);
        if (T.Rows > 3) Store(c += cStride, l3, r3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* c, Vector128<float> l, Vector128<float> r)
    {
        l.Store(c);
        r.Store(c + Lanes);
    }
}
