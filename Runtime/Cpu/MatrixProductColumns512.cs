using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Up to 8 rows of A times 16 columns of B whose elements are contiguous along k (weights stored [N,K]), in AVX-512, straight
/// from memory. Four steps of k of 16 columns are loaded as 16 quarters of vectors and turned by two rounds of unpacking, so
/// that a vector holds one k of all columns and the sum over k keeps its order, element by element.
/// </summary>
internal static unsafe class MatrixProductColumns512
{
    public const int MaxRows = 8;
    public const int Columns = 16;

    /// <summary>
    /// The next 16 columns are fetched while these are read, into the L2 cache: a stream for every two columns, two lines of each
    /// stream a step. Several long streams keep more of memory busy than one, or than sixteen short ones.
    /// </summary>
    private const int StreamColumns = 2;

    public static delegate*<nint, float*, nint, byte*, nint, float*, nint, bool, void>[] Kernels<TElement>() where TElement : struct, IColumnSteps =>
    [
        &Product<TElement, Height1>, &Product<TElement, Height2>, &Product<TElement, Height3>, &Product<TElement, Height4>,
        &Product<TElement, Height5>, &Product<TElement, Height6>, &Product<TElement, Height7>, &Product<TElement, Height8>,
    ];

    /// <param name="depth">All of K, which is summed block by block.</param>
    /// <param name="b">The first column at the first k; the others follow every <paramref name="bStride"/> bytes.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Product<TElement, T>(nint depth, float* a, nint aStride, byte* b, nint bStride, float* c, nint cStride, bool add)
        where TElement : struct, IColumnSteps where T : struct, ITileHeight
    {
        byte* next = b + Columns * bStride;
        for (; depth > 0; depth -= MatrixProduct.DepthBlock, add = true)
        {
            nint steps = Math.Min(depth, MatrixProduct.DepthBlock);
            Vector512<float> c0 = Vector512<float>.Zero, c1 = Vector512<float>.Zero;
            Vector512<float> c2 = Vector512<float>.Zero, c3 = Vector512<float>.Zero;
            Vector512<float> c4 = Vector512<float>.Zero, c5 = Vector512<float>.Zero;
            Vector512<float> c6 = Vector512<float>.Zero, c7 = Vector512<float>.Zero;
            for (; steps >= TElement.LineSteps; steps -= TElement.LineSteps, next += StreamColumns * 64)
            {
                for (int quarter = 0; quarter < 4; quarter++, b += 16, a += TElement.QuarterSteps)
                {
                    Prefetch(next, quarter, StreamColumns * bStride);
                    Turn(b, bStride, out Vector512<float> q0, out Vector512<float> q1, out Vector512<float> q2, out Vector512<float> q3);
                    c0 = TElement.Add(c0, q0, q1, q2, q3, a);
                    if (T.Rows > 1) c1 = TElement.Add(c1, q0, q1, q2, q3, a + aStride);
                    if (T.Rows > 2) c2 = TElement.Add(c2, q0, q1, q2, q3, a + 2 * aStride);
                    if (T.Rows > 3) c3 = TElement.Add(c3, q0, q1, q2, q3, a + 3 * aStride);
                    if (T.Rows > 4) c4 = TElement.Add(c4, q0, q1, q2, q3, a + 4 * aStride);
                    if (T.Rows > 5) c5 = TElement.Add(c5, q0, q1, q2, q3, a + 5 * aStride);
                    if (T.Rows > 6) c6 = TElement.Add(c6, q0, q1, q2, q3, a + 6 * aStride);
                    if (T.Rows > 7) c7 = TElement.Add(c7, q0, q1, q2, q3, a + 7 * aStride);
                }
            }
            for (; steps > 0; steps--, b += TElement.Size, a++)
            {
                Vector512<float> q = Gather<TElement>(b, bStride);
                c0 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[0]), c0);
                if (T.Rows > 1) c1 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[aStride]), c1);
                if (T.Rows > 2) c2 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[2 * aStride]), c2);
                if (T.Rows > 3) c3 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[3 * aStride]), c3);
                if (T.Rows > 4) c4 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[4 * aStride]), c4);
                if (T.Rows > 5) c5 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[5 * aStride]), c5);
                if (T.Rows > 6) c6 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[6 * aStride]), c6);
                if (T.Rows > 7) c7 = Avx512F.FusedMultiplyAdd(q, Vector512.Create(a[7 * aStride]), c7);
            }
            float* row = c;
            Store(row, c0, add);
            if (T.Rows > 1) Store(row += cStride, c1, add);
            if (T.Rows > 2) Store(row += cStride, c2, add);
            if (T.Rows > 3) Store(row += cStride, c3, add);
            if (T.Rows > 4) Store(row += cStride, c4, add);
            if (T.Rows > 5) Store(row += cStride, c5, add);
            if (T.Rows > 6) Store(row += cStride, c6, add);
            if (T.Rows > 7) Store(row += cStride, c7, add);
        }
    }

    /// <summary>One k of all columns, where less than a line is left.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static Vector512<float> Gather<TElement>(byte* b, nint stride) where TElement : struct, IColumnSteps
    {
        Vector512<float> column = default;
        for (int lane = 0; lane < Columns; lane++) column = column.WithElement(lane, TElement.Load(b + lane * stride));
        return column;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* c, Vector512<float> sum, bool add) => (add ? Vector512.Load(c) + sum : sum).Store(c);

    /// <summary>Fetches a line of each of four streams, a few at a time lest they hold up the loads.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* next, int quarter, nint stream)
    {
        byte* from = next + quarter % StreamColumns * 64 + quarter / StreamColumns * 4 * stream;
        Sse.Prefetch1(from);
        Sse.Prefetch1(from + stream);
        Sse.Prefetch1(from + 2 * stream);
        Sse.Prefetch1(from + 3 * stream);
    }

    /// <summary>Four 32-bit words of each of 16 columns: vector i receives word i of all columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Turn(byte* b, nint stride, out Vector512<float> q0, out Vector512<float> q1, out Vector512<float> q2, out Vector512<float> q3)
    {
        Vector512<float> v0 = Quarters(b, stride), v1 = Quarters(b + stride, stride);
        Vector512<float> v2 = Quarters(b + 2 * stride, stride), v3 = Quarters(b + 3 * stride, stride);
        Vector512<double> low01 = Avx512F.UnpackLow(v0, v1).AsDouble(), low23 = Avx512F.UnpackLow(v2, v3).AsDouble();
        Vector512<double> high01 = Avx512F.UnpackHigh(v0, v1).AsDouble(), high23 = Avx512F.UnpackHigh(v2, v3).AsDouble();
        q0 = Avx512F.UnpackLow(low01, low23).AsSingle();
        q1 = Avx512F.UnpackHigh(low01, low23).AsSingle();
        q2 = Avx512F.UnpackLow(high01, high23).AsSingle();
        q3 = Avx512F.UnpackHigh(high01, high23).AsSingle();
    }

    /// <summary>Every fourth column's 16 bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Quarters(byte* b, nint stride)
    {
        Vector512<float> v = Vector128.Load((float*)b).ToVector256Unsafe().ToVector512Unsafe();
        v = Avx512F.InsertVector128(v, Vector128.Load((float*)(b + 4 * stride)), 1);
        v = Avx512F.InsertVector128(v, Vector128.Load((float*)(b + 8 * stride)), 2);
        return Avx512F.InsertVector128(v, Vector128.Load((float*)(b + 12 * stride)), 3);
    }
}

/// <summary>How the 32-bit words of columns turn into steps of k.</summary>
internal unsafe interface IColumnSteps
{
    static abstract int Size { get; }

    /// <summary>Steps of k in 16 bytes, and in a cache line.</summary>
    static abstract int QuarterSteps { get; }
    static abstract int LineSteps { get; }

    static abstract float Load(byte* source);

    /// <summary>Adds, in ascending k, the steps in four vectors of words times those elements of A.</summary>
    static abstract Vector512<float> Add(Vector512<float> sum, Vector512<float> q0, Vector512<float> q1, Vector512<float> q2, Vector512<float> q3, float* a);
}

internal readonly unsafe struct ColumnStepsFloat32 : IColumnSteps
{
    public static int Size => sizeof(float);
    public static int QuarterSteps => 4;
    public static int LineSteps => 16;
    public static float Load(byte* source) => *(float*)source;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Add(Vector512<float> sum, Vector512<float> q0, Vector512<float> q1, Vector512<float> q2, Vector512<float> q3, float* a)
    {
        sum = Avx512F.FusedMultiplyAdd(q0, Vector512.Create(a[0]), sum);
        sum = Avx512F.FusedMultiplyAdd(q1, Vector512.Create(a[1]), sum);
        sum = Avx512F.FusedMultiplyAdd(q2, Vector512.Create(a[2]), sum);
        return Avx512F.FusedMultiplyAdd(q3, Vector512.Create(a[3]), sum);
    }
}

/// <summary>A word holds two steps: the lower half is shifted up, of the upper the lower half is cleared.</summary>
internal readonly unsafe struct ColumnStepsBFloat16 : IColumnSteps
{
    public static int Size => sizeof(ushort);
    public static int QuarterSteps => 8;
    public static int LineSteps => 32;
    public static float Load(byte* source) => StoredBFloat16.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Add(Vector512<float> sum, Vector512<float> q0, Vector512<float> q1, Vector512<float> q2, Vector512<float> q3, float* a)
    {
        sum = AddPair(sum, q0, a);
        sum = AddPair(sum, q1, a + 2);
        sum = AddPair(sum, q2, a + 4);
        return AddPair(sum, q3, a + 6);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> AddPair(Vector512<float> sum, Vector512<float> pair, float* a)
    {
        Vector512<float> first = Vector512.ShiftLeft(pair.AsUInt32(), 16).AsSingle();
        Vector512<float> second = (pair.AsUInt32() & Vector512.Create(0xFFFF_0000u)).AsSingle();
        sum = Avx512F.FusedMultiplyAdd(first, Vector512.Create(a[0]), sum);
        return Avx512F.FusedMultiplyAdd(second, Vector512.Create(a[1]), sum);
    }
}
