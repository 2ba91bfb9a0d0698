using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Up to 8 rows of A times 16 columns of B whose elements are contiguous along k (weights stored [N,K]), in AVX-512, straight
/// from memory. A cache line of each column is loaded once, whole (columns of a power of two share a few sets of the L1 cache),
/// and the 16 lines are turned, so that a vector holds one word of all columns and the sum over k keeps its order, element by element.
/// One row alone is <see cref="MatrixProductRowColumns512"/>'s.
/// </summary>
internal static unsafe class MatrixProductColumns512
{
    public const int MaxRows = 8;
    public const int Columns = 16;
    internal const int Line = 64;

    /// <summary>For 2 rows and more.</summary>
    public static delegate*<nint, float*, nint, byte*, nint, in ColumnFetch, float*, nint, bool, void>[] Kernels<TElement>() where TElement : struct, IColumnWords =>
    [
        &Product<TElement, Height2>, &Product<TElement, Height3>, &Product<TElement, Height4>,
        &Product<TElement, Height5>, &Product<TElement, Height6>, &Product<TElement, Height7>, &Product<TElement, Height8>,
    ];

    /// <param name="depth">All of K, which is summed block by block.</param>
    /// <param name="b">The first column at the first k; the others follow every <paramref name="bStride"/> bytes.</param>
    /// <param name="fetch">What is fetched into the L2 cache meanwhile, from each address on.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Product<TElement, T>(
        nint depth, float* a, nint aStride, byte* b, nint bStride, in ColumnFetch fetch, float* c, nint cStride, bool add)
        where TElement : struct, IColumnWords where T : struct, ITileHeight
    {
        nint step = fetch.Step;
        byte* first = fetch.First, second = fetch.Second, third = fetch.Third, fourth = fetch.Fourth;
        for (; depth > 0; depth -= MatrixProduct.DepthBlock, add = true)
        {
            nint steps = Math.Min(depth, MatrixProduct.DepthBlock);
            Vector512<float> c0 = Vector512<float>.Zero, c1 = Vector512<float>.Zero;
            Vector512<float> c2 = Vector512<float>.Zero, c3 = Vector512<float>.Zero;
            Vector512<float> c4 = Vector512<float>.Zero, c5 = Vector512<float>.Zero;
            Vector512<float> c6 = Vector512<float>.Zero, c7 = Vector512<float>.Zero;
            for (; steps >= TElement.LineSteps; steps -= TElement.LineSteps, b += Line, a += TElement.LineSteps)
            {
                Quads<TElement>(b, bStride, first, second, third, 0, out Vector512<float> w0, out Vector512<float> w1, out Vector512<float> w2, out Vector512<float> w3);
                Quads<TElement>(b + 4 * bStride, bStride, first, second, third, 1, out Vector512<float> w4, out Vector512<float> w5, out Vector512<float> w6, out Vector512<float> w7);
                Quads<TElement>(b + 8 * bStride, bStride, first, second, third, 2, out Vector512<float> w8, out Vector512<float> w9, out Vector512<float> w10, out Vector512<float> w11);
                Quads<TElement>(b + 12 * bStride, bStride, first, second, third, 3, out Vector512<float> w12, out Vector512<float> w13, out Vector512<float> w14, out Vector512<float> w15);
                Cross(ref w0, ref w4, ref w8, ref w12);
                Cross(ref w1, ref w5, ref w9, ref w13);
                Cross(ref w2, ref w6, ref w10, ref w14);
                Cross(ref w3, ref w7, ref w11, ref w15);
                c0 = Add<TElement, FetchBetween<TElement>>(c0, a, first, second, third, fourth, w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15);
                c1 = Add<TElement, NoFetch>(c1, a + aStride, null, null, null, null, w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15);
                if (T.Rows > 2) c2 = Add<TElement, NoFetch>(c2, a + 2 * aStride, null, null, null, null, w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15);
                if (T.Rows > 3) c3 = Add<TElement, NoFetch>(c3, a + 3 * aStride, null, null, null, null, w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15);
                if (T.Rows > 4) c4 = Add<TElement, NoFetch>(c4, a + 4 * aStride, null, null, null, null, w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15);
                if (T.Rows > 5) c5 = Add<TElement, NoFetch>(c5, a + 5 * aStride, null, null, null, null, w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15);
                if (T.Rows > 6) c6 = Add<TElement, NoFetch>(c6, a + 6 * aStride, null, null, null, null, w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15);
                if (T.Rows > 7) c7 = Add<TElement, NoFetch>(c7, a + 7 * aStride, null, null, null, null, w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15);
                first += step;
                second += step;
                third += step;
                fourth += step;
            }
            for (; steps > 0; steps--, b += TElement.Size, a++)
            {
                Vector512<float> q = Gather<TElement>(b, bStride);
                c0 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[0]), c0);
                c1 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[aStride]), c1);
                if (T.Rows > 2) c2 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[2 * aStride]), c2);
                if (T.Rows > 3) c3 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[3 * aStride]), c3);
                if (T.Rows > 4) c4 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[4 * aStride]), c4);
                if (T.Rows > 5) c5 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[5 * aStride]), c5);
                if (T.Rows > 6) c6 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[6 * aStride]), c6);
                if (T.Rows > 7) c7 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[7 * aStride]), c7);
            }
            float* row = c;
            Store(row, c0, add);
            Store(row += cStride, c1, add);
            if (T.Rows > 2) Store(row += cStride, c2, add);
            if (T.Rows > 3) Store(row += cStride, c3, add);
            if (T.Rows > 4) Store(row += cStride, c4, add);
            if (T.Rows > 5) Store(row += cStride, c5, add);
            if (T.Rows > 6) Store(row += cStride, c6, add);
            if (T.Rows > 7) Store(row += cStride, c7, add);
        }
    }

    /// <summary>One k of all columns, where less than a line is left. No call: around one the sums would lie in memory.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<float> Gather<TElement>(byte* b, nint stride) where TElement : struct, IColumnWords => Vector512.Create(
        TElement.Load(b), TElement.Load(b + stride), TElement.Load(b + 2 * stride), TElement.Load(b + 3 * stride),
        TElement.Load(b + 4 * stride), TElement.Load(b + 5 * stride), TElement.Load(b + 6 * stride), TElement.Load(b + 7 * stride),
        TElement.Load(b + 8 * stride), TElement.Load(b + 9 * stride), TElement.Load(b + 10 * stride), TElement.Load(b + 11 * stride),
        TElement.Load(b + 12 * stride), TElement.Load(b + 13 * stride), TElement.Load(b + 14 * stride), TElement.Load(b + 15 * stride));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* c, Vector512<float> sum, bool add) => (add ? Vector512.Load(c) + sum : sum).Store(c);

    /// <summary>The same as below, and fetches lines before where that isn't done between the sums.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Quads<TElement>(
        byte* b, nint stride, byte* first, byte* second, byte* third, int quad, out Vector512<float> w0, out Vector512<float> w1, out Vector512<float> w2, out Vector512<float> w3)
        where TElement : struct, IColumnWords
    {
        if (!TElement.FetchesBetweenSums)
        {
            FetchFour(first + quad * 4 * Line);
            FetchFour(second + quad * 4 * Line);
            FetchFour(third + quad * 4 * Line);
        }
        Quads(b, stride, out w0, out w1, out w2, out w3);
    }

    /// <summary>Lines of four columns, turned within each quarter: vector i receives words i, 4 + i, 8 + i and 12 + i, of four columns each.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Quads(byte* b, nint stride, out Vector512<float> w0, out Vector512<float> w1, out Vector512<float> w2, out Vector512<float> w3)
    {
        Vector512<float> v0 = Vector512.Load((float*)b), v1 = Vector512.Load((float*)(b + stride));
        Vector512<float> v2 = Vector512.Load((float*)(b + 2 * stride)), v3 = Vector512.Load((float*)(b + 3 * stride));
        Vector512<double> low01 = Avx512F.UnpackLow(v0, v1).AsDouble(), low23 = Avx512F.UnpackLow(v2, v3).AsDouble();
        Vector512<double> high01 = Avx512F.UnpackHigh(v0, v1).AsDouble(), high23 = Avx512F.UnpackHigh(v2, v3).AsDouble();
        w0 = Avx512F.UnpackLow(low01, low23).AsSingle();
        w1 = Avx512F.UnpackHigh(low01, low23).AsSingle();
        w2 = Avx512F.UnpackLow(high01, high23).AsSingle();
        w3 = Avx512F.UnpackHigh(high01, high23).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FetchFour(byte* lines)
    {
        Sse.Prefetch1(lines);
        Sse.Prefetch1(lines + Line);
        Sse.Prefetch1(lines + 2 * Line);
        Sse.Prefetch1(lines + 3 * Line);
    }

    /// <summary>Turns four vectors of four quarters: each receives one quarter of all, which is a word of all columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Cross(ref Vector512<float> w0, ref Vector512<float> w1, ref Vector512<float> w2, ref Vector512<float> w3)
    {
        Vector512<float> low01 = Avx512F.Shuffle4x128(w0, w1, 0x44), low23 = Avx512F.Shuffle4x128(w2, w3, 0x44);
        Vector512<float> high01 = Avx512F.Shuffle4x128(w0, w1, 0xEE), high23 = Avx512F.Shuffle4x128(w2, w3, 0xEE);
        w0 = Avx512F.Shuffle4x128(low01, low23, 0x88);
        w1 = Avx512F.Shuffle4x128(low01, low23, 0xDD);
        w2 = Avx512F.Shuffle4x128(high01, high23, 0x88);
        w3 = Avx512F.Shuffle4x128(high01, high23, 0xDD);
    }

    /// <summary>
    /// Adds a line's words in ascending order, and may fetch lines between them: of many at once the processor drops those that it
    /// can't have open.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<float> Add<TElement, TFetch>(
        Vector512<float> sum, float* a, byte* first, byte* second, byte* third, byte* fourth, Vector512<float> w0, Vector512<float> w1, Vector512<float> w2, Vector512<float> w3,
        Vector512<float> w4, Vector512<float> w5, Vector512<float> w6, Vector512<float> w7, Vector512<float> w8, Vector512<float> w9,
        Vector512<float> w10, Vector512<float> w11, Vector512<float> w12, Vector512<float> w13, Vector512<float> w14, Vector512<float> w15)
        where TElement : struct, IColumnWords where TFetch : struct, ILineFetch
    {
        int word = TElement.LineSteps / 16;
        TFetch.Fetch(first, second, third, fourth, 0);
        sum = TElement.Add(sum, w0, a);
        TFetch.Fetch(first, second, third, fourth, 1 * Line);
        sum = TElement.Add(sum, w1, a + word);
        TFetch.Fetch(first, second, third, fourth, 2 * Line);
        sum = TElement.Add(sum, w2, a + 2 * word);
        TFetch.Fetch(first, second, third, fourth, 3 * Line);
        sum = TElement.Add(sum, w3, a + 3 * word);
        TFetch.Fetch(first, second, third, fourth, 4 * Line);
        sum = TElement.Add(sum, w4, a + 4 * word);
        TFetch.Fetch(first, second, third, fourth, 5 * Line);
        sum = TElement.Add(sum, w5, a + 5 * word);
        TFetch.Fetch(first, second, third, fourth, 6 * Line);
        sum = TElement.Add(sum, w6, a + 6 * word);
        TFetch.Fetch(first, second, third, fourth, 7 * Line);
        sum = TElement.Add(sum, w7, a + 7 * word);
        TFetch.Fetch(first, second, third, fourth, 8 * Line);
        sum = TElement.Add(sum, w8, a + 8 * word);
        TFetch.Fetch(first, second, third, fourth, 9 * Line);
        sum = TElement.Add(sum, w9, a + 9 * word);
        TFetch.Fetch(first, second, third, fourth, 10 * Line);
        sum = TElement.Add(sum, w10, a + 10 * word);
        TFetch.Fetch(first, second, third, fourth, 11 * Line);
        sum = TElement.Add(sum, w11, a + 11 * word);
        TFetch.Fetch(first, second, third, fourth, 12 * Line);
        sum = TElement.Add(sum, w12, a + 12 * word);
        TFetch.Fetch(first, second, third, fourth, 13 * Line);
        sum = TElement.Add(sum, w13, a + 13 * word);
        TFetch.Fetch(first, second, third, fourth, 14 * Line);
        sum = TElement.Add(sum, w14, a + 14 * word);
        TFetch.Fetch(first, second, third, fourth, 15 * Line);
        return TElement.Add(sum, w15, a + 15 * word);
    }
}

/// <summary>Fetches a line from each of four addresses into the L2 cache, or none.</summary>
internal unsafe interface ILineFetch
{
    static abstract void Fetch(byte* first, byte* second, byte* third, byte* fourth, nint offset);
}

internal readonly unsafe struct NoFetch : ILineFetch
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Fetch(byte* first, byte* second, byte* third, byte* fourth, nint offset)
    {
    }
}

/// <summary>Of words that want it so.</summary>
internal readonly unsafe struct FetchBetween<TElement> : ILineFetch where TElement : struct, IColumnWords
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Fetch(byte* first, byte* second, byte* third, byte* fourth, nint offset)
    {
        if (!TElement.FetchesBetweenSums)
            return;
        Sse.Prefetch1(first + offset);
        Sse.Prefetch1(second + offset);
        Sse.Prefetch1(third + offset);
        Sse.Prefetch1(fourth + offset);
    }
}

/// <summary>
/// Addresses of what is read one stretch later, and a little after that. The processor drops what it can't fetch at once; so a
/// line is asked for several times, and what was dropped comes at a later try.
/// </summary>
/// <param name="step">How far each moves while a line of 16 columns is read: so many bytes, or less where much has been fetched before.</param>
/// <param name="stretches">How many stretches are fetched as one.</param>
internal readonly unsafe struct ColumnFetch(byte* first, byte* second, byte* third, byte* fourth, nint step, int stretches = 1)
{
    public readonly byte* First = first, Second = second, Third = third, Fourth = fourth;

    public readonly nint Step = step;

    public readonly int Stretches = stretches;
}

/// <summary>How the 32-bit words of columns turn into steps of k.</summary>
internal unsafe interface IColumnWords
{
    static abstract int Size { get; }

    /// <summary>Steps of k in a cache line.</summary>
    static abstract int LineSteps { get; }

    /// <summary>
    /// Whether lines are asked for one by one between the sums, four times each. Where a line's sums take as long as memory, which
    /// leaves no room for that, three times and four at once, before the sums.
    /// </summary>
    static abstract bool FetchesBetweenSums { get; }

    static abstract float Load(byte* source);

    /// <summary>Adds, in ascending k, the steps in one word of all columns times those elements of A.</summary>
    static abstract Vector512<float> Add(Vector512<float> sum, Vector512<float> word, float* a);
}

internal readonly unsafe struct ColumnWordsFloat32 : IColumnWords
{
    public static int Size => sizeof(float);
    public static int LineSteps => 16;
    public static bool FetchesBetweenSums => true;
    public static float Load(byte* source) => *(float*)source;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Add(Vector512<float> sum, Vector512<float> word, float* a) => Avx512F.FusedMultiplyAdd(word, Vector512.Create(a[0]), sum);
}

/// <summary>A word holds two steps: the lower half is shifted up, of the upper the lower half is cleared.</summary>
internal readonly unsafe struct ColumnWordsBFloat16 : IColumnWords
{
    public static int Size => sizeof(ushort);
    public static int LineSteps => 32;
    public static bool FetchesBetweenSums => false;
    public static float Load(byte* source) => StoredBFloat16.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Add(Vector512<float> sum, Vector512<float> word, float* a)
    {
        Vector512<float> first = Vector512.ShiftLeft(word.AsUInt32(), 16).AsSingle();
        Vector512<float> second = (word.AsUInt32() & Vector512.Create(0xFFFF_0000u)).AsSingle();
        sum = Avx512F.FusedMultiplyAdd(first, Vector512.Create(a[0]), sum);
        return Avx512F.FusedMultiplyAdd(second, Vector512.Create(a[1]), sum);
    }
}
