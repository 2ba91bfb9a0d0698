using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>Tiles of up to 6×16 in AVX2: 12 of the 16 registers hold the tile, two a row of B, one an element of A.</summary>
internal static unsafe class MatrixProductAvx2
{
    public const int Columns = 16;
    public const int AWidth = 8;
    private const int Lanes = 8;

    public static delegate*<nint, float*, float*, float*, nint, float*, nint, byte*, nint, void>[] Kernels() =>
    [
        &Tile<Height1>, &Tile<Height2>, &Tile<Height3>, &Tile<Height4>, &Tile<Height5>, &Tile<Height6>,
    ];

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile<T>(nint depth, float* a, float* b, float* addend, nint addendStride, float* c, nint cStride,
        byte* next, nint nextStep) where T : struct, ITileHeight
    {
        Vector256<float> l0 = Vector256<float>.Zero, r0 = Vector256<float>.Zero;
        Vector256<float> l1 = Vector256<float>.Zero, r1 = Vector256<float>.Zero;
        Vector256<float> l2 = Vector256<float>.Zero, r2 = Vector256<float>.Zero;
        Vector256<float> l3 = Vector256<float>.Zero, r3 = Vector256<float>.Zero;
        Vector256<float> l4 = Vector256<float>.Zero, r4 = Vector256<float>.Zero;
        Vector256<float> l5 = Vector256<float>.Zero, r5 = Vector256<float>.Zero;
        for (; depth > 0; depth--, a += AWidth, b += Columns, next += nextStep)
        {
            Sse.Prefetch1(next);
            Vector256<float> bL = Vector256.LoadAligned(b), bR = Vector256.LoadAligned(b + Lanes);
            Vector256<float> x = Vector256.Create(a[0]);
            l0 = Fma.MultiplyAdd(x, bL, l0); r0 = Fma.MultiplyAdd(x, bR, r0);
            if (T.Rows > 1) { x = Vector256.Create(a[1]); l1 = Fma.MultiplyAdd(x, bL, l1); r1 = Fma.MultiplyAdd(x, bR, r1); }
            if (T.Rows > 2) { x = Vector256.Create(a[2]); l2 = Fma.MultiplyAdd(x, bL, l2); r2 = Fma.MultiplyAdd(x, bR, r2); }
            if (T.Rows > 3) { x = Vector256.Create(a[3]); l3 = Fma.MultiplyAdd(x, bL, l3); r3 = Fma.MultiplyAdd(x, bR, r3); }
            if (T.Rows > 4) { x = Vector256.Create(a[4]); l4 = Fma.MultiplyAdd(x, bL, l4); r4 = Fma.MultiplyAdd(x, bR, r4); }
            if (T.Rows > 5) { x = Vector256.Create(a[5]); l5 = Fma.MultiplyAdd(x, bL, l5); r5 = Fma.MultiplyAdd(x, bR, r5); }
        }
        if (addend != null)
        {
            l0 += Vector256.Load(addend); r0 += Vector256.Load(addend + Lanes);
            if (T.Rows > 1) { addend += addendStride; l1 += Vector256.Load(addend); r1 += Vector256.Load(addend + Lanes); }
            if (T.Rows > 2) { addend += addendStride; l2 += Vector256.Load(addend); r2 += Vector256.Load(addend + Lanes); }
            if (T.Rows > 3) { addend += addendStride; l3 += Vector256.Load(addend); r3 += Vector256.Load(addend + Lanes); }
            if (T.Rows > 4) { addend += addendStride; l4 += Vector256.Load(addend); r4 += Vector256.Load(addend + Lanes); }
            if (T.Rows > 5) { addend += addendStride; l5 += Vector256.Load(addend); r5 += Vector256.Load(addend + Lanes); }
        }
        Store(c, l0, r0);
        if (T.Rows > 1) Store(c += cStride, l1, r1);
        if (T.Rows > 2) Store(c += cStride, l2, r2);
        if (T.Rows > 3) Store(c += cStride, l3, r3);
        if (T.Rows > 4) Store(c += cStride, l4, r4);
        if (T.Rows > 5) Store(c += cStride, l5, r5);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* c, Vector256<float> l, Vector256<float> r)
    {
        l.Store(c);
        r.Store(c + Lanes);
    }
}
