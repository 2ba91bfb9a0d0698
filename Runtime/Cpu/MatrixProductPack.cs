using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Copies a strip of a matrix into a panel that a tile kernel reads front to back: for each k, <c>width</c> float32 side by
/// side. A strip is rows of A or columns of B; <c>laneStride</c> leads from one to the next, <c>depthStride</c> along k,
/// both in bytes.
/// </summary>
internal static unsafe class MatrixProductPack
{
    /// <summary>Depth that the lanes of several panels are copied for in turn, so that rows of the source are read far.</summary>
    private const int DepthStep = 32;

    /// <summary>How many bytes ahead each lane is fetched: so many streams at once are more than the processor foresees.</summary>
    private const int FetchAhead = 128;

    /// <summary>
    /// Packs <paramref name="lanes"/> lanes into panels of <paramref name="step"/> lanes, each panel <paramref name="width"/>
    /// wide and <paramref name="panelStride"/> floats after the one before.
    /// </summary>
    public static void Panels(MatrixElement element, byte* source, nint laneStride, nint depthStride, int lanes, int depth,
        float* target, int step, int width, nint panelStride)
    {
        switch (element)
        {
            case MatrixElement.Float32: Panels<StoredFloat32>(source, laneStride, depthStride, lanes, depth, target, step, width, panelStride); break;
            case MatrixElement.BFloat16: Panels<StoredBFloat16>(source, laneStride, depthStride, lanes, depth, target, step, width, panelStride); break;
            case MatrixElement.Float16: Panels<StoredFloat16>(source, laneStride, depthStride, lanes, depth, target, step, width, panelStride); break;
            default: throw new ArgumentOutOfRangeException(nameof(element));
        }
    }

    /// <summary>Widens panels of weights (<see cref="WeightPanels"/>), from the depth k on, to those of a tile as wide.</summary>
    /// <param name="source">The first panel at k = 0.</param>
    /// <param name="rowBytes">Bytes of all K of one lane.</param>
    public static void FromWeightPanels(MatrixElement element, byte* source, nint rowBytes, int lanes, int k, int depth, float* target, nint panelStride)
    {
        for (int lane = 0; lane < lanes; lane += WeightPanels.Rows, source += WeightPanels.Rows * rowBytes, target += panelStride)
            if (element == MatrixElement.Float32)
                new Span<float>((float*)source + k * WeightPanels.Rows, depth * WeightPanels.Rows).CopyTo(new Span<float>(target, depth * WeightPanels.Rows));
            else
                Widened((uint*)source + k / 2 * WeightPanels.Rows, depth / 2, target);
    }

    /// <summary>Words of two elements of bf16 each.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Widened(uint* source, int words, float* target)
    {
        for (uint* end = source + words * WeightPanels.Rows; source < end; source += WeightPanels.Rows, target += 2 * WeightPanels.Rows)
            for (int lane = 0; lane < WeightPanels.Rows; lane += Vector512<uint>.Count)
            {
                Vector512<uint> word = Vector512.Load(source + lane);
                Vector512.ShiftLeft(word, 16).AsSingle().Store(target + lane);
                (word & Vector512.Create(0xFFFF_0000u)).AsSingle().Store(target + WeightPanels.Rows + lane);
            }
    }

    private static void Panels<T>(byte* source, nint laneStride, nint depthStride, int lanes, int depth,
        float* target, int step, int width, nint panelStride) where T : struct, IStoredElement
    {
        // Lanes side by side in memory: short depth steps over all panels. Otherwise each lane is read to its end.
        int depthStep = laneStride == T.Size ? DepthStep : depth;
        for (int k = 0; k < depth; k += depthStep)
        {
            int steps = Math.Min(depthStep, depth - k);
            float* panel = target + (nint)k * width;
            for (int lane = 0; lane < lanes; lane += step, panel += panelStride)
                Panel<T>(source + lane * laneStride + k * depthStride, laneStride, depthStride, Math.Min(step, lanes - lane), steps, panel, step, width);
        }
    }

    private static void Panel<T>(byte* source, nint laneStride, nint depthStride, int lanes, int depth, float* target, int step, int width)
        where T : struct, IStoredElement
    {
        if (laneStride == T.Size) CopyLanes<T>(source, depthStride, lanes, depth, target, width);
        else if (depthStride == T.Size && Avx.IsSupported) TransposeLanes<T>(source, laneStride, lanes, depth, target, width);
        else Gather<T>(source, laneStride, depthStride, 0, lanes, 0, depth, target, width);
        if (lanes < step) ClearLanes(target, lanes, step, width, depth);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void CopyLanes<T>(byte* source, nint depthStride, int lanes, int depth, float* target, int width)
        where T : struct, IStoredElement
    {
        if (lanes < 8)
        {
            Gather<T>(source, T.Size, depthStride, 0, lanes, 0, depth, target, width);
            return;
        }
        int last = lanes - 8;
        for (int k = 0; k < depth; k++, source += depthStride, target += width)
        {
            for (int lane = 0; lane < last; lane += 8) T.Load8(source + lane * T.Size).Store(target + lane);
            T.Load8(source + last * T.Size).Store(target + last);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TransposeLanes<T>(byte* source, nint laneStride, int lanes, int depth, float* target, int width)
        where T : struct, IStoredElement
    {
        int wholeDepth = lanes < 8 ? 0 : depth & ~15;
        for (int k = 0; k < wholeDepth; k += 16)
            for (int lane = 0; lane < lanes; lane += 8)
            {
                // The last eight lanes overlap those before them if need be.
                int first = Math.Min(lane, lanes - 8);
                byte* block = source + first * laneStride + k * T.Size;
                float* blockTarget = target + (nint)k * width + first;
                FetchLanes(block + FetchAhead, laneStride);
                Transpose8x8<T>(block, laneStride, blockTarget, width);
                Transpose8x8<T>(block + 8 * T.Size, laneStride, blockTarget + 8 * width, width);
            }
        Gather<T>(source, laneStride, T.Size, 0, lanes, wholeDepth, depth, target, width);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FetchLanes(byte* source, nint laneStride)
    {
        byte* upper = source + 4 * laneStride;
        Sse.Prefetch0(source);
        Sse.Prefetch0(source + laneStride);
        Sse.Prefetch0(source + 2 * laneStride);
        Sse.Prefetch0(source + 3 * laneStride);
        Sse.Prefetch0(upper);
        Sse.Prefetch0(upper + laneStride);
        Sse.Prefetch0(upper + 2 * laneStride);
        Sse.Prefetch0(upper + 3 * laneStride);
    }

    /// <summary>Turns 8 lanes of depth 8 into 8 depths of 8 lanes: by pairs, by fours, by halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose8x8<T>(byte* source, nint laneStride, float* target, int width) where T : struct, IStoredElement
    {
        byte* upper = source + 4 * laneStride;
        Vector256<float> r0 = T.Load8(source), r1 = T.Load8(source + laneStride);
        Vector256<float> r2 = T.Load8(source + 2 * laneStride), r3 = T.Load8(source + 3 * laneStride);
        Vector256<float> r4 = T.Load8(upper), r5 = T.Load8(upper + laneStride);
        Vector256<float> r6 = T.Load8(upper + 2 * laneStride), r7 = T.Load8(upper + 3 * laneStride);

        Vector256<double> a0 = Avx.UnpackLow(r0, r1).AsDouble(), a1 = Avx.UnpackHigh(r0, r1).AsDouble();
        Vector256<double> a2 = Avx.UnpackLow(r2, r3).AsDouble(), a3 = Avx.UnpackHigh(r2, r3).AsDouble();
        Vector256<double> a4 = Avx.UnpackLow(r4, r5).AsDouble(), a5 = Avx.UnpackHigh(r4, r5).AsDouble();
        Vector256<double> a6 = Avx.UnpackLow(r6, r7).AsDouble(), a7 = Avx.UnpackHigh(r6, r7).AsDouble();

        Vector256<float> b0 = Avx.UnpackLow(a0, a2).AsSingle(), b1 = Avx.UnpackHigh(a0, a2).AsSingle();
        Vector256<float> b2 = Avx.UnpackLow(a1, a3).AsSingle(), b3 = Avx.UnpackHigh(a1, a3).AsSingle();
        Vector256<float> b4 = Avx.UnpackLow(a4, a6).AsSingle(), b5 = Avx.UnpackHigh(a4, a6).AsSingle();
        Vector256<float> b6 = Avx.UnpackLow(a5, a7).AsSingle(), b7 = Avx.UnpackHigh(a5, a7).AsSingle();

        Avx.Permute2x128(b0, b4, 0x20).Store(target);
        Avx.Permute2x128(b1, b5, 0x20).Store(target + width);
        Avx.Permute2x128(b2, b6, 0x20).Store(target + 2 * width);
        Avx.Permute2x128(b3, b7, 0x20).Store(target + 3 * width);
        target += 4 * width;
        Avx.Permute2x128(b0, b4, 0x31).Store(target);
        Avx.Permute2x128(b1, b5, 0x31).Store(target + width);
        Avx.Permute2x128(b2, b6, 0x31).Store(target + 2 * width);
        Avx.Permute2x128(b3, b7, 0x31).Store(target + 3 * width);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Gather<T>(byte* source, nint laneStride, nint depthStride, int lane0, int lane1, int k0, int k1, float* target, int width)
        where T : struct, IStoredElement
    {
        for (int lane = lane0; lane < lane1; lane++)
        {
            byte* from = source + lane * laneStride + k0 * depthStride;
            for (int k = k0; k < k1; k++, from += depthStride) target[(nint)k * width + lane] = T.Load(from);
        }
    }

    /// <summary>Unused lanes are zero: kernels multiply them, and stray NaNs or subnormals would be slow.</summary>
    private static void ClearLanes(float* target, int lane0, int lane1, int width, int depth)
    {
        for (int k = 0; k < depth; k++)
            for (int lane = lane0; lane < lane1; lane++)
                target[(nint)k * width + lane] = 0;
    }
}
