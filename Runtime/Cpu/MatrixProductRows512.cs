using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Up to 4 rows of A times four rows of B (weights stored [K,N]), in AVX-512, straight from memory: for a stretch of columns,
/// sums[m] += a[m][k..k+4]·B[k..k+4]. The sums, which the L1 cache holds, are read and written once for four rows of B.
/// </summary>
internal static unsafe class MatrixProductRows512
{
    public const int MaxRows = 4;

    /// <summary>How far ahead in each row memory is fetched; past the stretch's end, in the next four rows.</summary>
    private const int PrefetchBytes = 2048;

    public static delegate*<int, float*, nint, byte*, nint, int, float*, nint, void>[] Kernels<TElement>() where TElement : struct, IStoredElement =>
        [&Product<TElement, Height1>, &Product<TElement, Height2>, &Product<TElement, Height3>, &Product<TElement, Height4>];

    /// <param name="steps">How many rows of B.</param>
    /// <param name="width">How many columns; a multiple of 16.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Product<TElement, T>(int steps, float* a, nint aStride, byte* b, nint bStride, int width, float* sums, nint sumStride)
        where TElement : struct, IStoredElement where T : struct, ITileHeight
    {
        for (; steps >= 4; steps -= 4, a += 4, b += 4 * bStride) FourSteps<TElement, T>(a, aStride, b, bStride, width, sums, sumStride);
        for (; steps > 0; steps--, a++, b += bStride) Step<TElement, T>(a, aStride, b, width, sums, sumStride);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FourSteps<TElement, T>(float* a, nint aStride, byte* b, nint bStride, int width, float* sums, nint sumStride)
        where TElement : struct, IStoredElement where T : struct, ITileHeight
    {
        Vector512<float> a00 = Vector512.Create(a[0]), a01 = Vector512.Create(a[1]), a02 = Vector512.Create(a[2]), a03 = Vector512.Create(a[3]);
        Vector512<float> a10 = default, a11 = default, a12 = default, a13 = default;
        if (T.Rows > 1)
        {
            a10 = Vector512.Create(a[1 * aStride + 0]);
            a11 = Vector512.Create(a[1 * aStride + 1]);
            a12 = Vector512.Create(a[1 * aStride + 2]);
            a13 = Vector512.Create(a[1 * aStride + 3]);
        }
        Vector512<float> a20 = default, a21 = default, a22 = default, a23 = default;
        if (T.Rows > 2)
        {
            a20 = Vector512.Create(a[2 * aStride + 0]);
            a21 = Vector512.Create(a[2 * aStride + 1]);
            a22 = Vector512.Create(a[2 * aStride + 2]);
            a23 = Vector512.Create(a[2 * aStride + 3]);
        }
        Vector512<float> a30 = default, a31 = default, a32 = default, a33 = default;
        if (T.Rows > 3)
        {
            a30 = Vector512.Create(a[3 * aStride + 0]);
            a31 = Vector512.Create(a[3 * aStride + 1]);
            a32 = Vector512.Create(a[3 * aStride + 2]);
            a33 = Vector512.Create(a[3 * aStride + 3]);
        }
        byte* b1 = b + bStride, b2 = b1 + bStride, b3 = b2 + bStride;
        nint vector = 16 * TElement.Size, rest = (nint)width * TElement.Size, jump = 4 * bStride - rest;
        for (float* end = sums + width; sums < end; sums += 16, rest -= vector)
        {
            nint ahead = rest > PrefetchBytes ? PrefetchBytes : PrefetchBytes + jump;
            Sse.Prefetch0(b + ahead);
            Sse.Prefetch0(b1 + ahead);
            Sse.Prefetch0(b2 + ahead);
            Sse.Prefetch0(b3 + ahead);
            Vector512<float> x0 = TElement.Load16(b), x1 = TElement.Load16(b1), x2 = TElement.Load16(b2), x3 = TElement.Load16(b3);
            Chain(sums, x0, a00, x1, a01, x2, a02, x3, a03);
            if (T.Rows > 1) Chain(sums + 1 * sumStride, x0, a10, x1, a11, x2, a12, x3, a13);
            if (T.Rows > 2) Chain(sums + 2 * sumStride, x0, a20, x1, a21, x2, a22, x3, a23);
            if (T.Rows > 3) Chain(sums + 3 * sumStride, x0, a30, x1, a31, x2, a32, x3, a33);
            b += vector;
            b1 += vector;
            b2 += vector;
            b3 += vector;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Chain(float* target, Vector512<float> x0, Vector512<float> a0, Vector512<float> x1, Vector512<float> a1,
        Vector512<float> x2, Vector512<float> a2, Vector512<float> x3, Vector512<float> a3)
    {
        Vector512<float> sum = Avx512F.FusedMultiplyAdd(x0, a0, Vector512.Load(target));
        sum = Avx512F.FusedMultiplyAdd(x1, a1, sum);
        sum = Avx512F.FusedMultiplyAdd(x2, a2, sum);
        Avx512F.FusedMultiplyAdd(x3, a3, sum).Store(target);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step<TElement, T>(float* a, nint aStride, byte* b, int width, float* sums, nint sumStride)
        where TElement : struct, IStoredElement where T : struct, ITileHeight
    {
        for (int row = 0; row < T.Rows; row++)
        {
            Vector512<float> x = Vector512.Create(a[row * aStride]);
            float* target = sums + row * sumStride;
            for (int n = 0; n < width; n += 16)
                Avx512F.FusedMultiplyAdd(TElement.Load16(b + n * TElement.Size), x, Vector512.Load(target + n)).Store(target + n);
        }
    }
}
