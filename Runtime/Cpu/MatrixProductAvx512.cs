using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Tiles of up to 14×32 in AVX-512: 28 of the 32 registers hold the tile, two a row of B, one an element of A. Broadcasting
/// each element of A once for two multiply-adds keeps the loads (16 for each k) below the two a cycle that the processor can do
/// while 28 multiply-adds take 14 cycles.
/// </summary>
internal static unsafe class MatrixProductAvx512
{
    public const int Columns = 32;
    public const int AWidth = 16;
    private const int Lanes = 16;

    /// <summary>How far ahead A is fetched, in floats: 16 steps of k, longer than the L2 cache takes.</summary>
    private const int PrefetchA = 16 * AWidth;

    public static delegate*<nint, float*, float*, float*, nint, float*, nint, byte*, nint, void>[] Kernels() =>
    [
        &Tile<Height1>, &Tile<Height2>, &Tile<Height3>, &Tile<Height4>, &Tile<Height5>, &Tile<Height6>, &Tile<Height7>,
        &Tile<Height8>, &Tile<Height9>, &Tile<Height10>, &Tile<Height11>, &Tile<Height12>, &Tile<Height13>, &Tile<Height14>,
    ];

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile<T>(nint depth, float* a, float* b, float* addend, nint addendStride, float* c, nint cStride,
        byte* next, nint nextStep) where T : struct, ITileHeight
    {
        Vector512<float> l0 = Vector512<float>.Zero, r0 = Vector512<float>.Zero;
        Vector512<float> l1 = Vector512<float>.Zero, r1 = Vector512<float>.Zero;
        Vector512<float> l2 = Vector512<float>.Zero, r2 = Vector512<float>.Zero;
        Vector512<float> l3 = Vector512<float>.Zero, r3 = Vector512<float>.Zero;
        Vector512<float> l4 = Vector512<float>.Zero, r4 = Vector512<float>.Zero;
        Vector512<float> l5 = Vector512<float>.Zero, r5 = Vector512<float>.Zero;
        Vector512<float> l6 = Vector512<float>.Zero, r6 = Vector512<float>.Zero;
        Vector512<float> l7 = Vector512<float>.Zero, r7 = Vector512<float>.Zero;
        Vector512<float> l8 = Vector512<float>.Zero, r8 = Vector512<float>.Zero;
        Vector512<float> l9 = Vector512<float>.Zero, r9 = Vector512<float>.Zero;
        Vector512<float> l10 = Vector512<float>.Zero, r10 = Vector512<float>.Zero;
        Vector512<float> l11 = Vector512<float>.Zero, r11 = Vector512<float>.Zero;
        Vector512<float> l12 = Vector512<float>.Zero, r12 = Vector512<float>.Zero;
        Vector512<float> l13 = Vector512<float>.Zero, r13 = Vector512<float>.Zero;
        // What is only written isn't fetched: 28 lines at once hold up those that the multiply-adds wait for.
        if (addend != null) PrefetchTile<T>(addend, addendStride);
        for (; depth > 0; depth--, a += AWidth, b += Columns, next += nextStep)
        {
            Sse.Prefetch0(a + PrefetchA);
            Sse.Prefetch1(next);
            Vector512<float> bL = Vector512.LoadAligned(b), bR = Vector512.LoadAligned(b + Lanes);
            Vector512<float> x = Vector512.Create(a[0]);
            l0 = Avx512F.FusedMultiplyAdd(x, bL, l0); r0 = Avx512F.FusedMultiplyAdd(x, bR, r0);
            if (T.Rows > 1) { x = Vector512.Create(a[1]); l1 = Avx512F.FusedMultiplyAdd(x, bL, l1); r1 = Avx512F.FusedMultiplyAdd(x, bR, r1); }
            if (T.Rows > 2) { x = Vector512.Create(a[2]); l2 = Avx512F.FusedMultiplyAdd(x, bL, l2); r2 = Avx512F.FusedMultiplyAdd(x, bR, r2); }
            if (T.Rows > 3) { x = Vector512.Create(a[3]); l3 = Avx512F.FusedMultiplyAdd(x, bL, l3); r3 = Avx512F.FusedMultiplyAdd(x, bR, r3); }
            if (T.Rows > 4) { x = Vector512.Create(a[4]); l4 = Avx512F.FusedMultiplyAdd(x, bL, l4); r4 = Avx512F.FusedMultiplyAdd(x, bR, r4); }
            if (T.Rows > 5) { x = Vector512.Create(a[5]); l5 = Avx512F.FusedMultiplyAdd(x, bL, l5); r5 = Avx512F.FusedMultiplyAdd(x, bR, r5); }
            if (T.Rows > 6) { x = Vector512.Create(a[6]); l6 = Avx512F.FusedMultiplyAdd(x, bL, l6); r6 = Avx512F.FusedMultiplyAdd(x, bR, r6); }
            if (T.Rows > 7) { x = Vector512.Create(a[7]); l7 = Avx512F.FusedMultiplyAdd(x, bL, l7); r7 = Avx512F.FusedMultiplyAdd(x, bR, r7); }
            if (T.Rows > 8) { x = Vector512.Create(a[8]); l8 = Avx512F.FusedMultiplyAdd(x, bL, l8); r8 = Avx512F.FusedMultiplyAdd(x, bR, r8); }
            if (T.Rows > 9) { x = Vector512.Create(a[9]); l9 = Avx512F.FusedMultiplyAdd(x, bL, l9); r9 = Avx512F.FusedMultiplyAdd(x, bR, r9); }
            if (T.Rows > 10) { x = Vector512.Create(a[10]); l10 = Avx512F.FusedMultiplyAdd(x, bL, l10); r10 = Avx512F.FusedMultiplyAdd(x, bR, r10); }
            if (T.Rows > 11) { x = Vector512.Create(a[11]); l11 = Avx512F.FusedMultiplyAdd(x, bL, l11); r11 = Avx512F.FusedMultiplyAdd(x, bR, r11); }
            if (T.Rows > 12) { x = Vector512.Create(a[12]); l12 = Avx512F.FusedMultiplyAdd(x, bL, l12); r12 = Avx512F.FusedMultiplyAdd(x, bR, r12); }
            if (T.Rows > 13) { x = Vector512.Create(a[13]); l13 = Avx512F.FusedMultiplyAdd(x, bL, l13); r13 = Avx512F.FusedMultiplyAdd(x, bR, r13); }
        }
        if (addend != null)
        {
            l0 += Vector512.Load(addend); r0 += Vector512.Load(addend + Lanes);
            if (T.Rows > 1) { addend += addendStride; l1 += Vector512.Load(addend); r1 += Vector512.Load(addend + Lanes); }
            if (T.Rows > 2) { addend += addendStride; l2 += Vector512.Load(addend); r2 += Vector512.Load(addend + Lanes); }
            if (T.Rows > 3) { addend += addendStride; l3 += Vector512.Load(addend); r3 += Vector512.Load(addend + Lanes); }
            if (T.Rows > 4) { addend += addendStride; l4 += Vector512.Load(addend); r4 += Vector512.Load(addend + Lanes); }
            if (T.Rows > 5) { addend += addendStride; l5 += Vector512.Load(addend); r5 += Vector512.Load(addend + Lanes); }
            if (T.Rows > 6) { addend += addendStride; l6 += Vector512.Load(addend); r6 += Vector512.Load(addend + Lanes); }
            if (T.Rows > 7) { addend += addendStride; l7 += Vector512.Load(addend); r7 += Vector512.Load(addend + Lanes); }
            if (T.Rows > 8) { addend += addendStride; l8 += Vector512.Load(addend); r8 += Vector512.Load(addend + Lanes); }
            if (T.Rows > 9) { addend += addendStride; l9 += Vector512.Load(addend); r9 += Vector512.Load(addend + Lanes); }
            if (T.Rows > 10) { addend += addendStride; l10 += Vector512.Load(addend); r10 += Vector512.Load(addend + Lanes); }
            if (T.Rows > 11) { addend += addendStride; l11 += Vector512.Load(addend); r11 += Vector512.Load(addend + Lanes); }
            if (T.Rows > 12) { addend += addendStride; l12 += Vector512.Load(addend); r12 += Vector512.Load(addend + Lanes); }
            if (T.Rows > 13) { addend += addendStride; l13 += Vector512.Load(addend); r13 += Vector512.Load(addend + Lanes); }
        }
        Store(c, l0, r0);
        if (T.Rows > 1) Store(c += cStride, l1, r1);
        if (T.Rows > 2) Store(c += cStride, l2, r2);
        if (T.Rows > 3) Store(c += cStride, l3, r3);
        if (T.Rows > 4) Store(c += cStride, l4, r4);
        if (T.Rows > 5) Store(c += cStride, l5, r5);
        if (T.Rows > 6) Store(c += cStride, l6, r6);
        if (T.Rows > 7) Store(c += cStride, l7, r7);
        if (T.Rows > 8) Store(c += cStride, l8, r8);
        if (T.Rows > 9) Store(c += cStride, l9, r9);
        if (T.Rows > 10) Store(c += cStride, l10, r10);
        if (T.Rows > 11) Store(c += cStride, l11, r11);
        if (T.Rows > 12) Store(c += cStride, l12, r12);
        if (T.Rows > 13) Store(c += cStride, l13, r13);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* c, Vector512<float> l, Vector512<float> r)
    {
        l.Store(c);
        r.Store(c + Lanes);
    }

    /// <summary>Fetches a tile, which is needed only after the whole depth.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PrefetchTile<T>(float* tile, nint stride) where T : struct, ITileHeight
    {
        for (int row = 0; row < T.Rows; row++, tile += stride)
        {
            Sse.Prefetch0(tile);
            Sse.Prefetch0(tile + Lanes);
        }
    }
}
