using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>Moves rows between operands and tiles in scratch, whose rows are padded with zeros.</summary>
internal static unsafe class AttentionRows
{
    /// <summary>Sizes in scratch are multiples of this many floats: a cache line, and the widest vector.</summary>
    public const int Padding = 16;

    public static int Pad(int size) => (size + Padding - 1) / Padding * Padding;

    /// <summary>
    /// Elements between rows in scratch: padded, and an odd number of cache lines, so that a column of rows doesn't
    /// fall into few cache sets.
    /// </summary>
    public static int Stride(int size) => Pad(size) | Padding;

    /// <summary>Copies positions [first, first + count) of one head, widened to float32, to rows of <paramref name="stride"/> floats.</summary>
    public static void Load(in HeadMemory source, long batch, long first, long head, int count, int size, float* target, int stride)
    {
        byte* row = source.Row(batch, first, head);
        nint step = (nint)source.PositionStride * source.Type.Size();
        switch (source.Type)
        {
            case ScalarType.F32:
                Load<StoredFloat32>(row, step, count, size, target, stride);
                break;
            case ScalarType.BF16:
                Load<StoredBFloat16>(row, step, count, size, target, stride);
                break;
            case ScalarType.F16:
                Load<StoredFloat16>(row, step, count, size, target, stride);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(source), source.Type, "attention reads floats");
        }
    }

    /// <summary>Asks for rows that will be read soon: those of one head lie apart, which the processor doesn't foresee.</summary>
    public static void Prefetch(in HeadMemory source, long batch, long first, long head, int count, int size)
    {
        if (!Sse.IsSupported)
            return;
        byte* row = source.Row(batch, first, head);
        nint step = (nint)source.PositionStride * source.Type.Size(), bytes = (nint)size * source.Type.Size();
        for (int i = 0; i < count; i++, row += step)
            for (nint at = 0; at < bytes; at += 64)
                Sse.Prefetch1(row + at);
    }

    /// <summary>
    /// Reads a word of each cache line of rows that are all wanted at once: of so many software prefetches the processor drops most.
    /// The result is of no use, but no load is left out.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static int ReadAhead(in HeadMemory source, long batch, long first, long head, int count, int size)
    {
        byte* row = source.Row(batch, first, head);
        nint step = (nint)source.PositionStride * source.Type.Size(), bytes = (nint)size * source.Type.Size();
        int read = 0;
        for (int i = 0; i < count; i++, row += step)
            for (nint at = 0; at < bytes; at += 64)
                read |= row[at];
        return read;
    }

    /// <summary>target[d, r] = scale · source[r, d] for d below size; rows are a multiple of 4.</summary>
    public static void Transpose(float* source, int sourceStride, int rows, int size, float scale, float* target, int targetStride)
    {
        for (int r = 0; r < rows; r += 4)
        {
            float* row0 = source + (nint)r * sourceStride, row1 = row0 + sourceStride, row2 = row1 + sourceStride, row3 = row2 + sourceStride;
            float* column = target + r;
            for (int d = 0; d < size; d++, column += targetStride)
                (Vector128.Create(row0[d], row1[d], row2[d], row3[d]) * scale).Store(column);
        }
    }

    /// <summary>target[d] = scale · source[d].</summary>
    public static void Scale(float* source, float scale, int size, float* target)
    {
        int d = 0;
        for (Vector256<float> factor = Vector256.Create(scale); d + 8 <= size; d += 8)
            (Vector256.Load(source + d) * factor).Store(target + d);
        for (; d < size; d++)
            target[d] = source[d] * scale;
    }

    /// <summary>target[d] += scale · source[d].</summary>
    public static void AddScaled(float* source, float scale, int size, float* target)
    {
        int d = 0;
        for (Vector256<float> factor = Vector256.Create(scale); d + 8 <= size; d += 8)
            (Vector256.Load(target + d) + Vector256.Load(source + d) * factor).Store(target + d);
        for (; d < size; d++)
            target[d] += source[d] * scale;
    }

    /// <summary>Whether rows can be read as they lie: float32, and as long as they are in scratch.</summary>
    public static bool LieReady(in HeadMemory source, int size) => source.Type == ScalarType.F32 && size % Padding == 0;

    public static float Dot(float* a, float* b, int size)
    {
        Vector256<float> sums = Vector256<float>.Zero;
        int d = 0;
        for (; d + 8 <= size; d += 8)
            sums += Vector256.Load(a + d) * Vector256.Load(b + d);
        float sum = Vector256.Sum(sums);
        for (; d < size; d++)
            sum += a[d] * b[d];
        return sum;
    }

    public static void Clear(float* target, long count) => new Span<float>(target, checked((int)count)).Clear();

    private static void Load<TStored>(byte* source, nint step, int count, int size, float* target, int stride)
        where TStored : IStoredElement
    {
        for (int i = 0; i < count; i++, source += step, target += stride)
        {
            int d = 0;
            for (; d + 16 <= size; d += 16)
            {
                TStored.Load8(source + (nint)d * TStored.Size).Store(target + d);
                TStored.Load8(source + (nint)(d + 8) * TStored.Size).Store(target + d + 8);
            }
            for (; d < size; d++)
                target[d] = TStored.Load(source + (nint)d * TStored.Size);
            for (int end = Pad(size); d < end; d++)
                target[d] = 0;
        }
    }
}
