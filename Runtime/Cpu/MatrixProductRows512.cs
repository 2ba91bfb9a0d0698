using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Up to 4 rows of A times four rows of B (weights stored [K,N]), in AVX-512, straight from memory: for a stretch of columns,
/// sums[m] += a[m][k..k+4]·B[k..k+4]. The sums, which the L1 cache holds, are read and written once for four rows of B.
/// Two bf16 of a 32-bit word cost one operation each to widen if the sums of a line's even columns stand before those of its
/// odd ones: <see cref="AddSums"/> puts them right.
/// </summary>
internal static unsafe class MatrixProductRows512
{
    public const int MaxRows = 4;

    /// <summary>Columns that stay together: a line of bf16.</summary>
    public const int ColumnGroup = 32;

    /// <summary>
    /// While one window of rows is multiplied the next is fetched into the L2 cache, in four streams, each of a quarter of its
    /// rows. Rows fetched one by one, as they are needed, are streams too short for the full speed of memory.
    /// </summary>
    private const int WindowBytes = 24 << 10;

    public static delegate*<int, float*, nint, byte*, nint, int, float*, nint, void>[] Kernels<TElement>() where TElement : struct, IStoredLine =>
        [&Product<TElement, Height1>, &Product<TElement, Height2>, &Product<TElement, Height3>, &Product<TElement, Height4>];

    /// <param name="steps">How many rows of B.</param>
    /// <param name="width">How many columns; a multiple of <see cref="ColumnGroup"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Product<TElement, T>(int steps, float* a, nint aStride, byte* b, nint bStride, int width, float* sums, nint sumStride)
        where TElement : struct, IStoredLine where T : struct, ITileHeight
    {
        nint window = Math.Max(1, WindowBytes / (4 * width * TElement.Size)), set = 0;
        for (; steps >= 4; steps -= 4, a += 4, b += 4 * bStride)
        {
            byte* next = b + (4 * window - 3 * set) * bStride;
            FourSteps<TElement, T>(a, aStride, b, bStride, next, window * bStride, width, sums, sumStride);
            if (++set == window) set = 0;
        }
        for (; steps > 0; steps--, a++, b += bStride) Step<TElement, T>(a, aStride, b, width, sums, sumStride);
    }

    /// <param name="next">What to fetch: a line here, and in each of three streams more, for every line of a row that is read.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FourSteps<TElement, T>(
        float* a, nint aStride, byte* b, nint bStride, byte* next, nint stream, int width, float* sums, nint sumStride)
        where TElement : struct, IStoredLine where T : struct, ITileHeight
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
        for (float* end = sums + width; sums < end; next += 64)
        {
            Sse.Prefetch1(next);
            Sse.Prefetch1(next + stream);
            Sse.Prefetch1(next + 2 * stream);
            Sse.Prefetch1(next + 3 * stream);
            TElement.LoadLine(b, out Vector512<float> x0, out Vector512<float> y0);
            TElement.LoadLine(b1, out Vector512<float> x1, out Vector512<float> y1);
            TElement.LoadLine(b2, out Vector512<float> x2, out Vector512<float> y2);
            TElement.LoadLine(b3, out Vector512<float> x3, out Vector512<float> y3);
            Chain(sums, x0, a00, x1, a01, x2, a02, x3, a03);
            if (T.Rows > 1) Chain(sums + 1 * sumStride, x0, a10, x1, a11, x2, a12, x3, a13);
            if (T.Rows > 2) Chain(sums + 2 * sumStride, x0, a20, x1, a21, x2, a22, x3, a23);
            if (T.Rows > 3) Chain(sums + 3 * sumStride, x0, a30, x1, a31, x2, a32, x3, a33);
            sums += 16;
            if (TElement.Size < sizeof(float))
            {
                Chain(sums, y0, a00, y1, a01, y2, a02, y3, a03);
                if (T.Rows > 1) Chain(sums + 1 * sumStride, y0, a10, y1, a11, y2, a12, y3, a13);
                if (T.Rows > 2) Chain(sums + 2 * sumStride, y0, a20, y1, a21, y2, a22, y3, a23);
                if (T.Rows > 3) Chain(sums + 3 * sumStride, y0, a30, y1, a31, y2, a32, y3, a33);
                sums += 16;
            }
            b += 64;
            b1 += 64;
            b2 += 64;
            b3 += 64;
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
        where TElement : struct, IStoredLine where T : struct, ITileHeight
    {
        for (float* end = sums + width; sums < end; b += 64)
        {
            TElement.LoadLine(b, out Vector512<float> x, out Vector512<float> y);
            for (int row = 0; row < T.Rows; row++) Fold(sums + row * sumStride, x, a[row * aStride]);
            sums += 16;
            if (TElement.Size == sizeof(float)) continue;
            for (int row = 0; row < T.Rows; row++) Fold(sums + row * sumStride, y, a[row * aStride]);
            sums += 16;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Fold(float* target, Vector512<float> x, float a) =>
        Avx512F.FusedMultiplyAdd(x, Vector512.Create(a), Vector512.Load(target)).Store(target);

    /// <summary>target = sums, or target += sums, for <paramref name="width"/> columns (a multiple of <see cref="ColumnGroup"/>), each in its place.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AddSums(MatrixElement element, float* target, float* sums, int width, bool add)
    {
        Vector512<int> low = Vector512.Create(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), high = low + Vector512.Create(8);
        for (int n = 0; n < width; n += ColumnGroup)
        {
            Vector512<float> x = Vector512.Load(sums + n), y = Vector512.Load(sums + n + 16);
            if (element == MatrixElement.BFloat16)
                (x, y) = (Avx512F.PermuteVar16x32x2(x, low, y), Avx512F.PermuteVar16x32x2(x, high, y));
            if (add)
                (x, y) = (Vector512.Load(target + n) + x, Vector512.Load(target + n + 16) + y);
            x.Store(target + n);
            y.Store(target + n + 16);
        }
    }
}

/// <summary>A line of weights as float32 vectors.</summary>
internal unsafe interface IStoredLine
{
    static abstract int Size { get; }

    /// <summary>A line of 16 elements in one vector; or of 32 in two, of which <see cref="MatrixProductRows512.AddSums"/> knows the order.</summary>
    static abstract void LoadLine(byte* source, out Vector512<float> x, out Vector512<float> y);
}

internal readonly unsafe struct LineFloat32 : IStoredLine
{
    public static int Size => sizeof(float);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LoadLine(byte* source, out Vector512<float> x, out Vector512<float> y) => x = y = Vector512.Load((float*)source);
}

/// <summary>Even columns, then odd ones.</summary>
internal readonly unsafe struct LineBFloat16 : IStoredLine
{
    public static int Size => sizeof(ushort);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LoadLine(byte* source, out Vector512<float> x, out Vector512<float> y)
    {
        Vector512<uint> words = Vector512.Load((uint*)source);
        x = Vector512.ShiftLeft(words, 16).AsSingle();
        y = (words & Vector512.Create(0xFFFF_0000u)).AsSingle();
    }
}

internal readonly unsafe struct LineFloat16 : IStoredLine
{
    public static int Size => sizeof(ushort);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LoadLine(byte* source, out Vector512<float> x, out Vector512<float> y) =>
        (x, y) = (StoredFloat16.Load16(source), StoredFloat16.Load16(source + 32));
}
