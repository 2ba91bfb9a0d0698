namespace Legato.Runtime.Plans;

/// <summary>
/// Philox 2x32-10 (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3"): the meaning of
/// <see cref="Operation.Random"/>, bit by bit the same on every device.
/// </summary>
public static class Philox
{
    internal const uint Multiplier = 0xD256D193;
    internal const uint Weyl = 0x9E3779B9;
    internal const int Rounds = 10;

    /// <summary>2⁻²⁴: the 24 upper bits of the first word are the uniform number.</summary>
    internal const float Unit = 1f / (1 << 24);

    /// <summary>
    /// A uniform number in [0, 1). The key is the lower 32 bits of <paramref name="seed"/>;
    /// the 64 bits of <paramref name="counter"/> are the block.
    /// </summary>
    public static float Uniform(long seed, long counter) => (Word((uint)seed, (ulong)counter) >> 8) * Unit;

    /// <summary>The first word of the block.</summary>
    public static uint Word(uint key, ulong counter)
    {
        uint left = (uint)counter, right = (uint)(counter >> 32);
        for (int round = 0; round < Rounds; round++)
        {
            ulong product = (ulong)Multiplier * left;
            left = (uint)(product >> 32) ^ key ^ right;
            right = (uint)product;
            key += Weyl;
        }
        return left;
    }
}
