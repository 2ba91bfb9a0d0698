using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Up to 8 rows of A times panels of weights (<see cref="WeightPanels"/>), in AVX-512, straight from memory: front to back, 32 columns at
/// a time, with the order of sums that all products have.
/// </summary>
internal static unsafe class MatrixProductPanels512
{
    public const int MaxRows = 8;

    /// <summary>What is read between two fetches, of as many lines.</summary>
    public const int StepLines = 4, StepBytes = StepLines * Line;

    private const int Line = 64, Lanes = 16;

    public static delegate*<nint, nint, float*, nint, byte*, in PanelFetch, float*, nint, bool, void>[] Kernels<TElement, TFetch>()
        where TElement : struct, IColumnWords where TFetch : struct, IWeightFetch =>
    [
        &Products<TElement, TFetch, Height1>, &Products<TElement, TFetch, Height2>, &Products<TElement, TFetch, Height3>, &Products<TElement, TFetch, Height4>,
        &Products<TElement, TFetch, Height5>, &Products<TElement, TFetch, Height6>, &Products<TElement, TFetch, Height7>, &Products<TElement, TFetch, Height8>,
    ];

    /// <param name="panels">How many, one after the other: between two calls memory would have nothing to do for a while.</param>
    /// <param name="depth">All of K, which is summed block by block.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Products<TElement, TFetch, T>(nint panels, nint depth, float* a, nint aStride, byte* b, in PanelFetch fetch, float* c, nint cStride, bool add)
        where TElement : struct, IColumnWords where TFetch : struct, IWeightFetch where T : struct, ITileHeight
    {
        byte* ahead = fetch.First, end = fetch.End;
        nint move = fetch.Move;
        WeightPiece* next = fetch.Next, last = fetch.Last;
        int word = TElement.LineSteps / Lanes;
        for (; panels > 0; panels--, c += WeightPanels.Rows)
        {
            bool adds = add;
            float* at = a;
            for (nint left = depth; left > 0; left -= MatrixProduct.DepthBlock, adds = true)
            {
                nint steps = Math.Min(left, MatrixProduct.DepthBlock);
                Vector512<float> l0 = default, l1 = default, l2 = default, l3 = default, l4 = default, l5 = default, l6 = default, l7 = default;
                Vector512<float> r0 = default, r1 = default, r2 = default, r3 = default, r4 = default, r5 = default, r6 = default, r7 = default;
                for (; steps >= 2 * word; steps -= 2 * word, b += StepBytes, at += 2 * word)
                {
                    TFetch.Fetch(ahead);
                    TFetch.Fetch(ahead + Line);
                    TFetch.Fetch(ahead + 2 * Line);
                    TFetch.Fetch(ahead + 3 * Line);
                    ahead += move;
                    if (ahead >= end)
                    {
                        ahead = (byte*)next->Start;
                        end = ahead + next->Bytes;
                        next = next == last ? fetch.Begin : next + 1;
                    }
                    Add<TElement, T>(b, at, aStride, ref l0, ref l1, ref l2, ref l3, ref l4, ref l5, ref l6, ref l7, ref r0, ref r1, ref r2, ref r3, ref r4, ref r5, ref r6, ref r7);
                    Add<TElement, T>(b + 2 * Line, at + word, aStride, ref l0, ref l1, ref l2, ref l3, ref l4, ref l5, ref l6, ref l7, ref r0, ref r1, ref r2, ref r3, ref r4, ref r5, ref r6, ref r7);
                }
                for (; steps > 0; steps -= word, b += 2 * Line, at += word)
                    Add<TElement, T>(b, at, aStride, ref l0, ref l1, ref l2, ref l3, ref l4, ref l5, ref l6, ref l7, ref r0, ref r1, ref r2, ref r3, ref r4, ref r5, ref r6, ref r7);
                float* row = c;
                Store(row, l0, r0, adds);
                if (T.Rows > 1) Store(row += cStride, l1, r1, adds);
                if (T.Rows > 2) Store(row += cStride, l2, r2, adds);
                if (T.Rows > 3) Store(row += cStride, l3, r3, adds);
                if (T.Rows > 4) Store(row += cStride, l4, r4, adds);
                if (T.Rows > 5) Store(row += cStride, l5, r5, adds);
                if (T.Rows > 6) Store(row += cStride, l6, r6, adds);
                if (T.Rows > 7) Store(row += cStride, l7, r7, adds);
            }
        }
    }

    /// <summary>Adds a word of all 32 columns times its elements of each row of A.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add<TElement, T>(
        byte* b, float* a, nint aStride,
        ref Vector512<float> l0, ref Vector512<float> l1, ref Vector512<float> l2, ref Vector512<float> l3,
        ref Vector512<float> l4, ref Vector512<float> l5, ref Vector512<float> l6, ref Vector512<float> l7,
        ref Vector512<float> r0, ref Vector512<float> r1, ref Vector512<float> r2, ref Vector512<float> r3,
        ref Vector512<float> r4, ref Vector512<float> r5, ref Vector512<float> r6, ref Vector512<float> r7)
        where TElement : struct, IColumnWords where T : struct, ITileHeight
    {
        Vector512<float> left = Vector512.Load((float*)b), right = Vector512.Load((float*)(b + Line));
        Add<TElement>(left, right, a, ref l0, ref r0);
        if (T.Rows > 1) Add<TElement>(left, right, a + aStride, ref l1, ref r1);
        if (T.Rows > 2) Add<TElement>(left, right, a + 2 * aStride, ref l2, ref r2);
        if (T.Rows > 3) Add<TElement>(left, right, a + 3 * aStride, ref l3, ref r3);
        if (T.Rows > 4) Add<TElement>(left, right, a + 4 * aStride, ref l4, ref r4);
        if (T.Rows > 5) Add<TElement>(left, right, a + 5 * aStride, ref l5, ref r5);
        if (T.Rows > 6) Add<TElement>(left, right, a + 6 * aStride, ref l6, ref r6);
        if (T.Rows > 7) Add<TElement>(left, right, a + 7 * aStride, ref l7, ref r7);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add<TElement>(Vector512<float> left, Vector512<float> right, float* a, ref Vector512<float> leftSum, ref Vector512<float> rightSum)
        where TElement : struct, IColumnWords
    {
        leftSum = TElement.Add(leftSum, left, a);
        rightSum = TElement.Add(rightSum, right, a);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* c, Vector512<float> left, Vector512<float> right, bool adds)
    {
        (adds ? Vector512.Load(c) + left : left).Store(c);
        (adds ? Vector512.Load(c + Lanes) + right : right).Store(c + Lanes);
    }
}

/// <summary>What is fetched while panels are multiplied: from an address on, and then piece by piece, in a circle.</summary>
/// <param name="end">Where the piece of the first address ends.</param>
/// <param name="move">How far the address moves at each step of <see cref="MatrixProductPanels512.StepBytes"/>: as many, or less where weights are read more than once.</param>
/// <param name="begin">The first piece of the circle.</param>
/// <param name="last">The last one.</param>
/// <param name="next">The one after that of the first address.</param>
internal readonly unsafe struct PanelFetch(nint first, nint end, nint move, WeightPiece* begin, WeightPiece* last, WeightPiece* next)
{
    public readonly byte* First = (byte*)first, End = (byte*)end;

    public readonly nint Move = move;

    public readonly WeightPiece* Begin = begin, Last = last, Next = next;
}

/// <summary>How a line of weights is fetched.</summary>
internal unsafe interface IWeightFetch
{
    static abstract void Fetch(byte* line);
}

/// <summary>
/// Past the other caches, where what steps between products need stays, their code too: without that each layer found it in memory alone.
/// As measured on Zen 5: LLaMA 100M decodes 2 to 4 % faster where reads are 48 GB/s, as fast where they are 77.
/// </summary>
internal readonly unsafe struct FetchForOnce : IWeightFetch
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Fetch(byte* line) => Sse.PrefetchNonTemporal(line);
}

/// <summary>Into all caches, for weights that are read several times.</summary>
internal readonly unsafe struct FetchToKeep : IWeightFetch
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Fetch(byte* line) => Sse.Prefetch0(line);
}
