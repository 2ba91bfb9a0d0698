using Legato.Runtime.Plans;

namespace Legato.Runtime.Data;

/// <summary>
/// Random numbers as a pure function of (seed, stream's name, counter), on <see cref="Philox"/>: nothing to carry along
/// but the counter, and streams of different names are independent.
/// </summary>
public readonly struct CounterRandom
{
    /// <summary>Of <see cref="Philox"/>.</summary>
    internal uint Key { get; }

    /// <summary>The block of counter 0, a multiple of 2³².</summary>
    internal ulong Block { get; }

    public CounterRandom(long seed, string stream)
    {
        ulong hash = Mix((ulong)seed + 0x9E3779B97F4A7C15);
        foreach (char c in stream)
            hash = Mix(hash ^ c);
        Key = (uint)hash;
        Block = hash & 0xFFFFFFFF00000000;
    }

    /// <summary>32 random bits. Counters up to 2³² of one stream are distinct from those of others.</summary>
    public uint Word(ulong counter) => Philox.Word(Key, Block + counter);

    /// <summary>Uniform in [0, 1) with 24 bits.</summary>
    public float Uniform(ulong counter) => (Word(counter) >> 8) * (1f / (1 << 24));

    /// <summary>Uniform in [0, <paramref name="bound"/>).</summary>
    public int Below(ulong counter, int bound) => (int)(((ulong)Word(counter) * (ulong)bound) >> 32);

    /// <summary>
    /// Two standard normals, by the transform of Box and Muller (1958), from the words 2·counter and 2·counter + 1.
    /// </summary>
    public (float First, float Second) NormalPair(ulong counter)
    {
        double radius = Math.Sqrt(-2 * Math.Log((Word(2 * counter) + 0.5) * (1.0 / 4294967296)));
        (double sine, double cosine) = Math.SinCos(2 * Math.PI * (Word(2 * counter + 1) * (1.0 / 4294967296)));
        return ((float)(radius * cosine), (float)(radius * sine));
    }

    // The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
    internal static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }
}
