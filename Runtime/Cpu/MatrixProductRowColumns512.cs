using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>
/// One row of A times 16 columns of B whose elements are contiguous along k, as <see cref="MatrixProductColumns512"/> and with the same
/// bits. With only one row each sum waits for the one before; so two blocks of depth, whose sums don't depend on each other, are
/// computed side by side.
/// </summary>
internal static unsafe class MatrixProductRowColumns512
{
    private const int Line = MatrixProductColumns512.Line;

    /// <summary>
    /// Several times 16 columns, one after the other, as is what is fetched meanwhile: between two calls memory would have nothing to
    /// do for a while.
    /// </summary>
    /// <param name="depth">All of K, which is summed block by block.</param>
    /// <param name="b">The first column at the first k; the others follow every <paramref name="bStride"/> bytes.</param>
    /// <param name="fetch">What is fetched meanwhile, from the first two addresses on, in the order of <typeparamref name="TFetch"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Products<TElement, TFetch>(
        int times, nint depth, float* a, byte* b, nint bStride, in ColumnFetch fetch, float* c, bool add)
        where TElement : struct, IColumnWords where TFetch : struct, IStretchFetch
    {
        nint step = TFetch.Move(fetch.Step), stretch = MatrixProductColumns512.Columns * bStride;
        byte* first = fetch.First, second = fetch.Second;
        nint move = TFetch.Move(stretch), turn = fetch.Stretches * (stretch - move);
        for (int fetched = 1; times > 0; times--, fetched++, b += stretch, c += MatrixProductColumns512.Columns)
        {
            Product<TElement, TFetch>(depth, a, b, bStride, first, second, step, c, add);
            bool isWhole = fetched % fetch.Stretches == 0;
            first += isWhole ? move + turn : move;
            second += isWhole ? move + turn : move;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Product<TElement, TFetch>(
        nint depth, float* a, byte* b, nint bStride, byte* first, byte* second, nint step, float* c, bool add)
        where TElement : struct, IColumnWords where TFetch : struct, IStretchFetch
    {
        for (; depth > 0; depth -= 2 * MatrixProduct.DepthBlock, add = true)
        {
            nint steps = Math.Min(depth, MatrixProduct.DepthBlock), laterSteps = Math.Min(depth - steps, MatrixProduct.DepthBlock);
            byte* laterB = b + steps * TElement.Size;
            float* laterA = a + steps;
            Vector512<float> sum = Vector512<float>.Zero, later = Vector512<float>.Zero;
            bool two = laterSteps > 0;
            for (; laterSteps >= TElement.LineSteps; laterSteps -= TElement.LineSteps, steps -= TElement.LineSteps)
            {
                sum = AddLines<TElement, TFetch>(sum, a, b, bStride, first, second);
                first += step;
                second += step;
                later = AddLines<TElement, TFetch>(later, laterA, laterB, bStride, first, second);
                first += step;
                second += step;
                a += TElement.LineSteps;
                b += Line;
                laterA += TElement.LineSteps;
                laterB += Line;
            }
            for (; steps >= TElement.LineSteps; steps -= TElement.LineSteps, b += Line, a += TElement.LineSteps)
            {
                sum = AddLines<TElement, TFetch>(sum, a, b, bStride, first, second);
                first += step;
                second += step;
            }
            for (; steps > 0; steps--, b += TElement.Size, a++)
                sum = Avx512F.FusedMultiplyAdd(MatrixProductColumns512.Gather<TElement>(b, bStride), Vector512.Create(*a), sum);
            for (; laterSteps > 0; laterSteps--, laterB += TElement.Size, laterA++)
                later = Avx512F.FusedMultiplyAdd(MatrixProductColumns512.Gather<TElement>(laterB, bStride), Vector512.Create(*laterA), later);
            if (add)
                sum = Vector512.Load(c) + sum;
            (two ? sum + later : sum).Store(c);
            a = laterA;
            b = laterB;
        }
    }

    /// <summary>A line of each column, in ascending k.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> AddLines<TElement, TFetch>(Vector512<float> sum, float* a, byte* b, nint stride, byte* first, byte* second)
        where TElement : struct, IColumnWords where TFetch : struct, IStretchFetch
    {
        TFetch.Fetch(first, second, 0);
        MatrixProductColumns512.Quads(b, stride, out Vector512<float> w0, out Vector512<float> w1, out Vector512<float> w2, out Vector512<float> w3);
        TFetch.Fetch(first, second, 1);
        MatrixProductColumns512.Quads(b + 4 * stride, stride, out Vector512<float> w4, out Vector512<float> w5, out Vector512<float> w6, out Vector512<float> w7);
        TFetch.Fetch(first, second, 2);
        MatrixProductColumns512.Quads(b + 8 * stride, stride, out Vector512<float> w8, out Vector512<float> w9, out Vector512<float> w10, out Vector512<float> w11);
        TFetch.Fetch(first, second, 3);
        MatrixProductColumns512.Quads(b + 12 * stride, stride, out Vector512<float> w12, out Vector512<float> w13, out Vector512<float> w14, out Vector512<float> w15);
        MatrixProductColumns512.Cross(ref w0, ref w4, ref w8, ref w12);
        MatrixProductColumns512.Cross(ref w1, ref w5, ref w9, ref w13);
        MatrixProductColumns512.Cross(ref w2, ref w6, ref w10, ref w14);
        MatrixProductColumns512.Cross(ref w3, ref w7, ref w11, ref w15);
        return MatrixProductColumns512.Add<TElement, NoFetch>(
            sum, a, null, null, null, null, w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15);
    }
}
