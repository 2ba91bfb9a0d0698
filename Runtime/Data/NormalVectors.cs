using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Data;

/// <summary>
/// The numbers of <see cref="CounterRandom.NormalPair"/>, a vector of pairs at a time; the same bits. Logarithms, sines and
/// cosines may differ in their last bits from the system's: where that could round to another float, the system's decide.
/// All is one method to the compiler, which makes its best of it at once: a start fills a model's parameters before it would look again.
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
            Vector512<double> radius = Vector512.Sqrt(-2.0 * Logarithm(chance));
            (Vector512<double> sine, Vector512<double> cosine) = SineAndCosine(Words(random.Key, counters + Vector512<ulong>.One));
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

    /// <summary>Of numbers between 0 and 1: twice the series of artanh at (m − 1) / (m + 1), m between √½ and √2, and the exponent's part.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> Logarithm(Vector512<double> x)
    {
        const double TwoTo52 = 4503599627370496;
        Vector512<ulong> bits = x.AsUInt64();
        Vector512<double> m = ((bits & Vector512.Create(0x000FFFFFFFFFFFFFul)) | Vector512.Create(0x3FF0000000000000ul)).AsDouble();
        Vector512<double> exponent = ((bits >>> 52) | Vector512.Create(0x4330000000000000ul)).AsDouble() - Vector512.Create(TwoTo52 + 1023);
        Vector512<double> isLarge = Vector512.GreaterThan(m, Vector512.Create(Math.Sqrt(2)));
        m = Vector512.ConditionalSelect(isLarge, m * 0.5, m);
        exponent += Vector512.ConditionalSelect(isLarge, Vector512<double>.One, Vector512<double>.Zero);
        Vector512<double> s = (m - Vector512<double>.One) / (m + Vector512<double>.One), z = s * s;
        Vector512<double> sum = Vector512.Create(1.0 / 19);
        sum = Next(sum, z, 1.0 / 17);
        sum = Next(sum, z, 1.0 / 15);
        sum = Next(sum, z, 1.0 / 13);
        sum = Next(sum, z, 1.0 / 11);
        sum = Next(sum, z, 1.0 / 9);
        sum = Next(sum, z, 1.0 / 7);
        sum = Next(sum, z, 1.0 / 5);
        sum = Next(sum, z, 1.0 / 3);
        sum = Next(sum, z, 1);
        return exponent * Math.Log(2) + (s + s) * sum;
    }

    /// <summary>Of so many 2³²ths of a whole turn: their series at what lies beyond the nearest quarter.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector512<double> Sine, Vector512<double> Cosine) SineAndCosine(Vector512<ulong> parts)
    {
        // Added to it, an integer stands in a double's lowest bits.
        const double Integer = 6755399441055744;
        Vector512<ulong> quarter = (parts + Vector512.Create(1ul << 29)) >>> 30;
        Vector512<long> rest = (parts - (quarter << 30)).AsInt64() + Vector512.Create(BitConverter.DoubleToInt64Bits(Integer));
        Vector512<double> angle = (rest.AsDouble() - Vector512.Create(Integer)) * (Math.PI / (1L << 31)), z = angle * angle;
        Vector512<double> sine = Vector512.Create(-1.0 / 1307674368000);
        sine = Next(sine, z, 1.0 / 6227020800);
        sine = Next(sine, z, -1.0 / 39916800);
        sine = Next(sine, z, 1.0 / 362880);
        sine = Next(sine, z, -1.0 / 5040);
        sine = Next(sine, z, 1.0 / 120);
        sine = Next(sine, z, -1.0 / 6);
        sine = Next(sine, z, 1) * angle;
        Vector512<double> cosine = Vector512.Create(1.0 / 20922789888000);
        cosine = Next(cosine, z, -1.0 / 87178291200);
        cosine = Next(cosine, z, 1.0 / 479001600);
        cosine = Next(cosine, z, -1.0 / 3628800);
        cosine = Next(cosine, z, 1.0 / 40320);
        cosine = Next(cosine, z, -1.0 / 720);
        cosine = Next(cosine, z, 1.0 / 24);
        cosine = Next(cosine, z, -1.0 / 2);
        cosine = Next(cosine, z, 1);
        Vector512<ulong> one = Vector512<ulong>.One, two = one + one;
        Vector512<double> isOdd = Vector512.Equals(quarter & one, one).AsDouble();
        Vector512<ulong> ofSine = Vector512.ConditionalSelect(isOdd, cosine, sine).AsUInt64(), ofCosine = Vector512.ConditionalSelect(isOdd, sine, cosine).AsUInt64();
        return ((ofSine ^ ((quarter & two) << 62)).AsDouble(), (ofCosine ^ (((quarter + one) & two) << 62)).AsDouble());
    }

    /// <summary>A polynomial's sum, one coefficient further.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> Next(Vector512<double> sum, Vector512<double> z, double coefficient) => sum * z + Vector512.Create(coefficient);

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
