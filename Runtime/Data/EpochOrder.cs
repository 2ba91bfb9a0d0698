using System.Numerics;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Data;

/// <summary>
/// The order of one epoch: a random permutation computed one place at a time, by a Feistel network whose values beyond
/// the range are sent through it again (Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains", cycle walking).
/// </summary>
internal readonly struct EpochOrder
{
    private const int Rounds = 6;

    private readonly uint key;
    private readonly ulong epoch;
    private readonly ulong count;
    private readonly int halfBits;

    public EpochOrder(long seed, long epoch, long count)
    {
        key = (uint)CounterRandom.Mix((ulong)seed + 0x9E3779B97F4A7C15);
        this.epoch = (ulong)epoch;
        this.count = (ulong)count;
        halfBits = Math.Max(1, (65 - BitOperations.LeadingZeroCount(this.count - 1)) / 2);
    }

    /// <summary>Where the epoch's first window starts: below <paramref name="slack"/>.</summary>
    public long Offset(int slack) => (long)(((ulong)Philox.Word(key, epoch << 32 | uint.MaxValue) * (ulong)slack) >> 32);

    /// <summary>The window at a place of the order.</summary>
    public long Window(long place)
    {
        ulong value = (ulong)place;
        do
            value = Permute(value);
        while (value >= count);
        return (long)value;
    }

    private ulong Permute(ulong value)
    {
        uint mask = (uint)((1ul << halfBits) - 1);
        uint left = (uint)(value >> halfBits), right = (uint)value & mask;
        for (uint round = 0; round < Rounds; round++)
            (left, right) = (right, left ^ (Philox.Word(key + round, epoch << 32 | right) & mask));
        return (ulong)left << halfBits | right;
    }
}
