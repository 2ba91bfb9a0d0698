using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Data;

/// <summary>
/// The numbers of <see cref="CounterRandom.NormalPair"/>, a vector of pairs at a time; the same bits. Vectors' logarithms, sines and
/// cosines may differ in their last bits from the system's: where that could round to another float, the system's decide.
/// </summary>
internal static class NormalVectors
{
    private const int Pairs = 8;

    /// <summary>A multiple of what either functions are wrong by, as a part of the radius.</summary>
    private const double Doubt = 1.0 / (1L << 40);

    private const double Unit = 1.0 / 4294967296;

    /// <summary>Fills with pairs from an index on, each number times the deviation; of the last pair, if there's room for half of it, the first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Fill(Span<float> values, CounterRandom random, ulong pair, float deviation)
    {
        int done = 0;
        for (; done + 2 * Pairs <= values.Length; done += 2 * Pairs, pair += Pairs)
        {
            Vector512<ulong> counters = Vector512.Create(random.Block + 2 * pair) + (Vector512<ulong>.Indices << 1);
            Vector512<double> chance = (Vector512.ConvertToDouble(Words(random.Key, counters)) + Vector512.Create(0.5)) * Unit;
            Vector512<double> radius = Vector512.Sqrt(-2.0 * Vector512.Log(chance));
            Vector512<double> angle = 2 * Math.PI * (Vector512.ConvertToDouble(Words(random.Key, counters + Vector512<ulong>.One)) * Unit);
            (Vector512<double> sine, Vector512<double> cosine) = Vector512.SinCos(angle);
            (Vector512<double> first, Vector512<double> second, Vector512<double> doubt) = (radius * cosine, radius * sine, radius * Doubt);
            Vector512<float> least = Vector512.Narrow(first - doubt, second - doubt), most = Vector512.Narrow(first + doubt, second + doubt);
            if (Vector512.EqualsAll(least, most))
                (deviation * Vector512.Shuffle(least, Vector512.Create(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15))).CopyTo(values[done..]);
            else
                FillOneByOne(values.Slice(done, 2 * Pairs), random, pair, deviation);
        }
        FillOneByOne(values[done..], random, pair, deviation);
    }

    private static void FillOneByOne(Span<float> values, CounterRandom random, ulong pair, float deviation)
    {
        for (int i = 0; i < values.Length; i += 2)
        {
            (float first, float second) = random.NormalPair(pair + (ulong)i / 2);
            values[i] = deviation * first;
            if (i + 1 < values.Length)
                values[i + 1] = deviation * second;
        }
    }

    /// <summary>As <see cref="Philox.Word"/>, in the lower halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ulong> Words(uint key, Vector512<ulong> counters)
    {
        Vector512<ulong> half = Vector512.Create((ulong)uint.MaxValue), left = counters & half, right = counters >>> 32;
        for (int round = 0; round < Philox.Rounds; round++)
        {
            Vector512<ulong> product = Product(left);
            left = (product >>> 32) ^ Vector512.Create((ulong)key) ^ right;
            right = product & half;
            key += Philox.Weyl;
        }
        return left;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ulong> Product(Vector512<ulong> left) => Avx512F.IsSupported
        ? Avx512F.Multiply(left.AsUInt32(), Vector512.Create((ulong)Philox.Multiplier).AsUInt32())
        : left * Philox.Multiplier;
}
