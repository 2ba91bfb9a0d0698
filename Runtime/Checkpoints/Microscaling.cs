namespace Legato.Runtime.Checkpoints;

/// <summary>
/// MXFP4 (OCP Microscaling Formats 1.0, sections 5.2 and 6.3): 32 values of e2m1, two a byte, times a power of two whose
/// exponent is a byte (e8m0).
/// </summary>
internal static class Microscaling
{
    /// <summary>The magnitudes of e2m1 by their three bits; the fourth is the sign.</summary>
    private static ReadOnlySpan<float> Magnitudes => [0, 0.5f, 1, 1.5f, 2, 3, 4, 6];

    /// <summary>The low halves of the bytes are the first 16 values, the high halves the others.</summary>
    public static void WidenHalves(byte exponent, ReadOnlySpan<byte> halves, Span<float> values)
    {
        float scale = Scale(exponent);
        for (int i = 0; i < halves.Length; i++)
        {
            values[i] = scale * Value(halves[i] & 15);
            values[halves.Length + i] = scale * Value(halves[i] >> 4);
        }
    }

    /// <summary>Each byte's low half, then its high one.</summary>
    public static void WidenPairs(byte exponent, ReadOnlySpan<byte> pairs, Span<float> values)
    {
        float scale = Scale(exponent);
        for (int i = 0; i < pairs.Length; i++)
        {
            values[2 * i] = scale * Value(pairs[i] & 15);
            values[2 * i + 1] = scale * Value(pairs[i] >> 4);
        }
    }

    private static float Scale(byte exponent) => exponent == byte.MaxValue ? float.NaN : MathF.ScaleB(1, exponent - 127);

    private static float Value(int bits) => (bits & 8) == 0 ? Magnitudes[bits] : -Magnitudes[bits & 7];
}
