using System.Numerics;
using System.Runtime.InteropServices;

namespace Legato.Runtime.Checkpoints;

/// <summary>
/// Elements that share a scale, as GGUF files hold them (the structs block_q4_0, block_q8_0, block_q4_K, block_q6_K and
/// block_mxfp4 of ggml). A block starts on no particular boundary; its scales are float16, those of MXFP4 a byte.
/// </summary>
internal static class QuantisedBlocks
{
    /// <summary>Widens whole blocks to float32.</summary>
    public static void ToSingle(TensorType type, ReadOnlySpan<byte> blocks, Span<float> target)
    {
        int bytes = type.BlockBytes(), elements = type.BlockElements();
        for (int i = 0; i < blocks.Length / bytes; i++)
        {
            ReadOnlySpan<byte> block = blocks.Slice(i * bytes, bytes);
            Span<float> values = target.Slice(i * elements, elements);
            switch (type)
            {
                case TensorType.Q4_0: WidenQ4_0(block, values); break;
                case TensorType.Q8_0: WidenQ8_0(block, values); break;
                case TensorType.Q4_K: WidenQ4_K(block, values); break;
                case TensorType.Q6_K: WidenQ6_K(block, values); break;
                case TensorType.MXFP4: Microscaling.WidenHalves(block[0], block[1..], values); break;
                default: throw new ArgumentException($"{type} has no blocks", nameof(type));
            }
        }
    }

    /// <summary>
    /// Rounds to blocks of Q8_0: the largest magnitude becomes 127, the others the nearest steps, halves away from zero.
    /// </summary>
    public static void ToQ8_0(ReadOnlySpan<float> source, Span<byte> blocks)
    {
        int bytes = TensorType.Q8_0.BlockBytes(), elements = TensorType.Q8_0.BlockElements();
        for (int i = 0; i < source.Length / elements; i++)
        {
            ReadOnlySpan<float> values = source.Slice(i * elements, elements);
            Span<byte> block = blocks.Slice(i * bytes, bytes);
            float largest = 0;
            foreach (float value in values)
                largest = MathF.Max(largest, MathF.Abs(value));
            float step = largest / 127;
            float inverse = step == 0 ? 0 : 1 / step;
            MemoryMarshal.Write(block, (Half)step);
            for (int j = 0; j < elements; j++)
                block[2 + j] = (byte)(sbyte)MathF.Round(values[j] * inverse, MidpointRounding.AwayFromZero);
        }
    }

    private static float Scale(ReadOnlySpan<byte> block, int at) => (float)MemoryMarshal.Read<Half>(block[at..]);

    // scale, 16 bytes: the low halves are elements 0 to 15, the high halves 16 to 31; eight stands for zero.
    private static void WidenQ4_0(ReadOnlySpan<byte> block, Span<float> values)
    {
        float scale = Scale(block, 0);
        for (int i = 0; i < 16; i++)
        {
            values[i] = scale * ((block[2 + i] & 15) - 8);
            values[16 + i] = scale * ((block[2 + i] >> 4) - 8);
        }
    }

    // scale, 32 signed bytes.
    private static void WidenQ8_0(ReadOnlySpan<byte> block, Span<float> values)
    {
        float scale = Scale(block, 0);
        ReadOnlySpan<sbyte> steps = MemoryMarshal.Cast<byte, sbyte>(block[2..]);
        int i = 0;
        for (; i <= values.Length - Vector<sbyte>.Count; i += Vector<sbyte>.Count)
        {
            Vector.Widen(new Vector<sbyte>(steps[i..]), out Vector<short> low, out Vector<short> high);
            WidenSteps(low, scale, values[i..]);
            WidenSteps(high, scale, values[(i + Vector<short>.Count)..]);
        }
        for (; i < values.Length; i++)
            values[i] = scale * steps[i];
    }

    private static void WidenSteps(Vector<short> steps, float scale, Span<float> values)
    {
        Vector.Widen(steps, out Vector<int> low, out Vector<int> high);
        (Vector.ConvertToSingle(low) * scale).CopyTo(values);
        (Vector.ConvertToSingle(high) * scale).CopyTo(values[Vector<int>.Count..]);
    }

    // Scale of scales, scale of minima, twelve bytes of six-bit scales and minima, 128 bytes: of each 32, the low halves
    // are one run of 32 elements, the high halves the next. A value is its run's scale times its step, less the minimum.
    private static void WidenQ4_K(ReadOnlySpan<byte> block, Span<float> values)
    {
        float scales = Scale(block, 0), minima = Scale(block, 2);
        ReadOnlySpan<byte> packed = block.Slice(4, 12), steps = block[16..];
        for (int run = 0; run < 8; run++)
        {
            (int scale, int minimum) = SixBits(packed, run);
            float factor = scales * scale, offset = minima * minimum;
            int shift = 4 * (run % 2);
            for (int i = 0; i < 32; i++)
                values[32 * run + i] = factor * (steps[32 * (run / 2) + i] >> shift & 15) - offset;
        }
    }

    // The first four scales, then the first four minima, are the low six bits of a byte each; the other four of both have
    // their low halves in the last four bytes and their high bits atop the first eight.
    private static (int Scale, int Minimum) SixBits(ReadOnlySpan<byte> packed, int run) => run < 4
        ? (packed[run] & 63, packed[run + 4] & 63)
        : (packed[run + 4] & 15 | packed[run - 4] >> 6 << 4, packed[run + 4] >> 4 | packed[run] >> 6 << 4);

    // 128 bytes of low halves, 64 of two high bits, 16 signed scales of 16 elements each, scale of scales; of each half
    // of the block, four runs of 32 elements share the bytes; 32 stands for zero.
    private static void WidenQ6_K(ReadOnlySpan<byte> block, Span<float> values)
    {
        float scale = Scale(block, 208);
        ReadOnlySpan<sbyte> scales = MemoryMarshal.Cast<byte, sbyte>(block.Slice(192, 16));
        for (int run = 0; run < 8; run++)
        {
            (int half, int quarter) = (run / 4, run % 4);
            ReadOnlySpan<byte> low = block.Slice(64 * half + 32 * (quarter % 2), 32), high = block.Slice(128 + 32 * half, 32);
            for (int i = 0; i < 32; i++)
            {
                int step = low[i] >> 4 * (quarter / 2) & 15 | (high[i] >> 2 * quarter & 3) << 4;
                values[32 * run + i] = scale * scales[2 * run + i / 16] * (step - 32);
            }
        }
    }
}
