namespace Legato.Runtime.Plans;

/// <summary>
/// What <see cref="Step.Choose"/> weighs a token by: whole numbers, whose sums don't depend on their order, so that every device
/// draws the same token. A token stands behind the likeliest by its <see cref="Distance"/>, a fixed-point number.
/// </summary>
internal static class TokenWeight
{
    /// <summary>Bits of a distance behind its point, and of the likeliest token's weight.</summary>
    internal const int Point = 26, Largest = 40;

    /// <summary>The distance of a token that is never drawn: its probability is below 2⁻⁴⁰ of the likeliest's.</summary>
    internal const uint Never = uint.MaxValue;

    private const float Log2E = 1.44269504f, RootOfHalf = 0.70710678f;

    /// <summary>log₂ of how many times likelier the likeliest token is; 26 bits are behind the point.</summary>
    public static uint Distance(float logit, float largest, float temperature)
    {
        float powers = (largest - logit) / temperature * Log2E;
        return powers < Largest ? (uint)(powers * (1 << Point)) : Never;
    }

    /// <summary>2⁴⁰ · 2^(-distance).</summary>
    public static ulong Of(uint distance)
    {
        // 2^x for x within a half of 0, by the polynomial of Cephes' exp2f (Moshier 1992); each device has this one.
        float x = 0.5f - (distance & (1u << Point) - 1) * (1f / (1 << Point)), y = 1.535336188e-4f;
        y = MathF.FusedMultiplyAdd(y, x, 1.339887440e-3f);
        y = MathF.FusedMultiplyAdd(y, x, 9.618437357e-3f);
        y = MathF.FusedMultiplyAdd(y, x, 5.550332471e-2f);
        y = MathF.FusedMultiplyAdd(y, x, 2.402264791e-1f);
        y = MathF.FusedMultiplyAdd(y, x, 6.931472028e-1f);
        y = MathF.FusedMultiplyAdd(y, x, 1f);
        return (ulong)(uint)(y * RootOfHalf * (1 << 24)) << (Largest - 24) >> (int)(distance >> Point);
    }

    /// <summary>The part of a sum of weights that a fixed-point number of 32 bits, all behind the point, is.</summary>
    public static ulong Part(ulong sum, uint share) => Math.BigMul(sum, (ulong)share << 32, out _);

    /// <summary>Where, in the weights' sum, the fewest tokens that reach a share of it end: within the last one's weight.</summary>
    /// <param name="share">Above 0 and below 1.</param>
    public static ulong Reaching(ulong sum, float share) => Math.Max(Part(sum, (uint)(share * 4294967296f)), 1) - 1;
}
