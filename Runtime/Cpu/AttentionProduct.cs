using System.Runtime.CompilerServices;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Products of tiles that lie in scratch. Each element's sum runs over the depth in order in one accumulator, so splitting
/// the depth over several accumulating calls changes no bit. The tiles are compiled at their best at once: a first prefill
/// would be over before their loops had been found hot.
/// </summary>
internal static unsafe class AttentionProduct<F, I, L>
    where F : struct
    where I : struct
    where L : struct, ILanes<F, I>
{
    /// <summary>Rows of a register tile.</summary>
    public const int Rows = 6;

    /// <summary>Vectors of a register tile's rows: four where there are 32 registers, which takes fewer loads.</summary>
    private static bool HasQuads => L.Count == 16;

    /// <summary>
    /// C[m, n] (+)= Σ_d A[m, d] · B[d, n]. A has any two strides. Rows are computed in groups of <see cref="Rows"/>: A must
    /// be readable and C writable up to the next multiple. <paramref name="columns"/> is a multiple of the vector width.
    /// </summary>
    public static void Multiply(
        float* a, nint aRow, nint aDepth, float* b, nint bDepth, float* c, nint cRow, int rows, int columns, int depth, bool accumulate)
    {
        int n = 0;
        for (; HasQuads && n + 4 * L.Count <= columns; n += 4 * L.Count)
            for (int m = 0; m < rows; m += Rows)
                Quad(a + m * aRow, aRow, aDepth, b + n, bDepth, c + m * cRow + n, cRow, depth, accumulate);
        for (; n + 2 * L.Count <= columns; n += 2 * L.Count)
            for (int m = 0; m < rows; m += Rows)
                Pair(a + m * aRow, aRow, aDepth, b + n, bDepth, c + m * cRow + n, cRow, depth, accumulate);
        for (; n < columns; n += L.Count)
            for (int m = 0; m < rows; m += Rows)
                Single(a + m * aRow, aRow, aDepth, b + n, bDepth, c + m * cRow + n, cRow, depth, accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Quad(float* a, nint aRow, nint aDepth, float* b, nint bDepth, float* c, nint cRow, int depth, bool accumulate)
    {
        int w = L.Count;
        F c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23;
        F c30, c31, c32, c33, c40, c41, c42, c43, c50, c51, c52, c53;
        float* lower = c + 3 * cRow;
        if (accumulate)
        {
            (c00, c01, c02, c03) = (Load(c), Load(c + w), Load(c + 2 * w), Load(c + 3 * w));
            (c10, c11, c12, c13) = (Load(c + cRow), Load(c + cRow + w), Load(c + cRow + 2 * w), Load(c + cRow + 3 * w));
            (c20, c21, c22, c23) = (Load(c + 2 * cRow), Load(c + 2 * cRow + w), Load(c + 2 * cRow + 2 * w), Load(c + 2 * cRow + 3 * w));
            (c30, c31, c32, c33) = (Load(lower), Load(lower + w), Load(lower + 2 * w), Load(lower + 3 * w));
            (c40, c41, c42, c43) = (Load(lower + cRow), Load(lower + cRow + w), Load(lower + cRow + 2 * w), Load(lower + cRow + 3 * w));
            (c50, c51, c52, c53) = (Load(lower + 2 * cRow), Load(lower + 2 * cRow + w), Load(lower + 2 * cRow + 2 * w), Load(lower + 2 * cRow + 3 * w));
        }
        else
        {
            c00 = c01 = c02 = c03 = c10 = c11 = c12 = c13 = c20 = c21 = c22 = c23 = default;
            c30 = c31 = c32 = c33 = c40 = c41 = c42 = c43 = c50 = c51 = c52 = c53 = default;
        }
        float* a3 = a + 3 * aRow;
        for (int d = 0; d < depth; d++)
        {
            F b0 = Load(b), b1 = Load(b + w), b2 = Load(b + 2 * w), b3 = Load(b + 3 * w);
            F x = L.Of(a[0]);
            (c00, c01) = (L.MultiplyAdd(x, b0, c00), L.MultiplyAdd(x, b1, c01));
            (c02, c03) = (L.MultiplyAdd(x, b2, c02), L.MultiplyAdd(x, b3, c03));
            x = L.Of(a[aRow]);
            (c10, c11) = (L.MultiplyAdd(x, b0, c10), L.MultiplyAdd(x, b1, c11));
            (c12, c13) = (L.MultiplyAdd(x, b2, c12), L.MultiplyAdd(x, b3, c13));
            x = L.Of(a[2 * aRow]);
            (c20, c21) = (L.MultiplyAdd(x, b0, c20), L.MultiplyAdd(x, b1, c21));
            (c22, c23) = (L.MultiplyAdd(x, b2, c22), L.MultiplyAdd(x, b3, c23));
            x = L.Of(a3[0]);
            (c30, c31) = (L.MultiplyAdd(x, b0, c30), L.MultiplyAdd(x, b1, c31));
            (c32, c33) = (L.MultiplyAdd(x, b2, c32), L.MultiplyAdd(x, b3, c33));
            x = L.Of(a3[aRow]);
            (c40, c41) = (L.MultiplyAdd(x, b0, c40), L.MultiplyAdd(x, b1, c41));
            (c42, c43) = (L.MultiplyAdd(x, b2, c42), L.MultiplyAdd(x, b3, c43));
            x = L.Of(a3[2 * aRow]);
            (c50, c51) = (L.MultiplyAdd(x, b0, c50), L.MultiplyAdd(x, b1, c51));
            (c52, c53) = (L.MultiplyAdd(x, b2, c52), L.MultiplyAdd(x, b3, c53));
            a += aDepth;
            a3 += aDepth;
            b += bDepth;
        }
        Store(c, c00, c01, c02, c03);
        Store(c + cRow, c10, c11, c12, c13);
        Store(c + 2 * cRow, c20, c21, c22, c23);
        Store(lower, c30, c31, c32, c33);
        Store(lower + cRow, c40, c41, c42, c43);
        Store(lower + 2 * cRow, c50, c51, c52, c53);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Pair(float* a, nint aRow, nint aDepth, float* b, nint bDepth, float* c, nint cRow, int depth, bool accumulate)
    {
        int w = L.Count;
        F c00, c01, c10, c11, c20, c21, c30, c31, c40, c41, c50, c51;
        float* c3 = c + 3 * cRow;
        if (accumulate)
        {
            (c00, c01) = (Load(c), Load(c + w));
            (c10, c11) = (Load(c + cRow), Load(c + cRow + w));
            (c20, c21) = (Load(c + 2 * cRow), Load(c + 2 * cRow + w));
            (c30, c31) = (Load(c3), Load(c3 + w));
            (c40, c41) = (Load(c3 + cRow), Load(c3 + cRow + w));
            (c50, c51) = (Load(c3 + 2 * cRow), Load(c3 + 2 * cRow + w));
        }
        else
        {
            c00 = c01 = c10 = c11 = c20 = c21 = c30 = c31 = c40 = c41 = c50 = c51 = default;
        }
        float* a3 = a + 3 * aRow;
        for (int d = 0; d < depth; d++)
        {
            F b0 = Load(b), b1 = Load(b + w);
            F x = L.Of(a[0]);
            c00 = L.MultiplyAdd(x, b0, c00);
            c01 = L.MultiplyAdd(x, b1, c01);
            x = L.Of(a[aRow]);
            c10 = L.MultiplyAdd(x, b0, c10);
            c11 = L.MultiplyAdd(x, b1, c11);
            x = L.Of(a[2 * aRow]);
            c20 = L.MultiplyAdd(x, b0, c20);
            c21 = L.MultiplyAdd(x, b1, c21);
            x = L.Of(a3[0]);
            c30 = L.MultiplyAdd(x, b0, c30);
            c31 = L.MultiplyAdd(x, b1, c31);
            x = L.Of(a3[aRow]);
            c40 = L.MultiplyAdd(x, b0, c40);
            c41 = L.MultiplyAdd(x, b1, c41);
            x = L.Of(a3[2 * aRow]);
            c50 = L.MultiplyAdd(x, b0, c50);
            c51 = L.MultiplyAdd(x, b1, c51);
            a += aDepth;
            a3 += aDepth;
            b += bDepth;
        }
        Store(c, c00);
        Store(c + w, c01);
        Store(c + cRow, c10);
        Store(c + cRow + w, c11);
        Store(c + 2 * cRow, c20);
        Store(c + 2 * cRow + w, c21);
        Store(c3, c30);
        Store(c3 + w, c31);
        Store(c3 + cRow, c40);
        Store(c3 + cRow + w, c41);
        Store(c3 + 2 * cRow, c50);
        Store(c3 + 2 * cRow + w, c51);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Single(float* a, nint aRow, nint aDepth, float* b, nint bDepth, float* c, nint cRow, int depth, bool accumulate)
    {
        F c0, c1, c2, c3, c4, c5;
        float* lower = c + 3 * cRow;
        if (accumulate)
        {
            (c0, c1, c2) = (Load(c), Load(c + cRow), Load(c + 2 * cRow));
            (c3, c4, c5) = (Load(lower), Load(lower + cRow), Load(lower + 2 * cRow));
        }
        else
        {
            c0 = c1 = c2 = c3 = c4 = c5 = default;
        }
        float* a3 = a + 3 * aRow;
        for (int d = 0; d < depth; d++)
        {
            F x = Load(b);
            c0 = L.MultiplyAdd(L.Of(a[0]), x, c0);
            c1 = L.MultiplyAdd(L.Of(a[aRow]), x, c1);
            c2 = L.MultiplyAdd(L.Of(a[2 * aRow]), x, c2);
            c3 = L.MultiplyAdd(L.Of(a3[0]), x, c3);
            c4 = L.MultiplyAdd(L.Of(a3[aRow]), x, c4);
            c5 = L.MultiplyAdd(L.Of(a3[2 * aRow]), x, c5);
            a += aDepth;
            a3 += aDepth;
            b += bDepth;
        }
        Store(c, c0);
        Store(c + cRow, c1);
        Store(c + 2 * cRow, c2);
        Store(lower, c3);
        Store(lower + cRow, c4);
        Store(lower + 2 * cRow, c5);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static F Load(float* source) => L.Load((long)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* target, F value) => L.Store((long)target, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* target, F value0, F value1, F value2, F value3)
    {
        Store(target, value0);
        Store(target + L.Count, value1);
        Store(target + 2 * L.Count, value2);
        Store(target + 3 * L.Count, value3);
    }
}
