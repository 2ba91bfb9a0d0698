using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// <see cref="Step.Choose"/> for a row. What candidate a number falls on, in their order, is found digit by digit of their distances:
/// nothing is sorted. Allocates nothing after its construction; not for use by two threads at once.
/// </summary>
internal sealed class TokenChoice(int vocabulary)
{
    private const int DigitBits = 11, Digits = 1 << DigitBits, DistanceBits = 32;

    private readonly uint[] distances = new uint[vocabulary];
    private readonly ulong[] weights = new ulong[vocabulary];
    private readonly int[] candidates = new int[vocabulary], among = new int[vocabulary];
    private readonly ulong[] weightOf = new ulong[Digits];
    private readonly int[] countOf = new int[Digits];

    /// <summary>The token of the largest logit, the first of equals; none if a logit is NaN or the largest is not finite.</summary>
    public static int Likeliest(ReadOnlySpan<float> logits)
    {
        ReadOnlySpan<Vector512<float>> vectors = MemoryMarshal.Cast<float, Vector512<float>>(logits);
        ReadOnlySpan<float> rest = logits[(vectors.Length * Vector512<float>.Count)..];
        Vector512<float> largest = Vector512.Create(float.NegativeInfinity), numbers = Vector512<float>.AllBitsSet;
        foreach (Vector512<float> vector in vectors)
        {
            largest = Vector512.MaxNative(largest, vector);
            numbers &= Vector512.Equals(vector, vector);
        }
        float most = float.NegativeInfinity;
        bool isNaN = numbers.ExtractMostSignificantBits() != ushort.MaxValue;
        for (int lane = 0; lane < Vector512<float>.Count; lane++)
            most = Math.Max(most, largest[lane]);
        foreach (float logit in rest)
            most = Math.Max(most, logit);
        return !isNaN && float.IsFinite(most) ? First(most, vectors, rest) : Step.Choose.None;
    }

    private static int First(float logit, ReadOnlySpan<Vector512<float>> vectors, ReadOnlySpan<float> rest)
    {
        for (int i = 0; i < vectors.Length; i++)
            if (Vector512.Equals(vectors[i], Vector512.Create(logit)).ExtractMostSignificantBits() is var equal and not 0)
                return i * Vector512<float>.Count + BitOperations.TrailingZeroCount(equal);
        return vectors.Length * Vector512<float>.Count + rest.IndexOf(logit);
    }

    /// <param name="logits">One for each token of the vocabulary.</param>
    /// <param name="word">The random number.</param>
    public int Choose(ReadOnlySpan<float> logits, float temperature, long top, float share, uint word)
    {
        int best = Likeliest(logits);
        if (best == Step.Choose.None || temperature == 0 || top == 1)
            return best;
        (int count, ulong sum) = Weigh(logits, logits[best], temperature);
        if (top > 0 && top < count)
            sum = Find(count, (ulong)top - 1, counts: true).Through;
        if (share < 1)
            sum = Find(count, TokenWeight.Reaching(sum, share), counts: false).Through;
        return Find(count, TokenWeight.Part(sum, word), counts: false).Token;
    }

    // Fills the candidates, in the order of their numbers.
    private (int Count, ulong Sum) Weigh(ReadOnlySpan<float> logits, float largest, float temperature)
    {
        int count = 0;
        ulong sum = 0;
        for (int i = 0; i < logits.Length; i++)
        {
            uint distance = TokenWeight.Distance(logits[i], largest, temperature);
            if (distance == TokenWeight.Never)
                continue;
            (distances[i], weights[i], candidates[count++]) = (distance, TokenWeight.Of(distance), i);
            sum += weights[i];
        }
        return (count, sum);
    }

    // The first candidate with which the sum of weights, or the number of candidates, exceeds the target; and the weights up to it.
    private (int Token, ulong Through) Find(int count, ulong target, bool counts)
    {
        candidates.AsSpan(0, count).CopyTo(among);
        ulong before = 0, weightBefore = 0;
        for (int shift = DistanceBits; shift > 0;)
        {
            int bits = Math.Min(DigitBits, shift);
            shift -= bits;
            uint mask = (1u << bits) - 1;
            Array.Clear(weightOf);
            Array.Clear(countOf);
            for (int i = 0; i < count; i++)
            {
                uint d = distances[among[i]] >> shift & mask;
                weightOf[d] += weights[among[i]];
                countOf[d]++;
            }
            uint digit = 0;
            for (ulong size; before + (size = counts ? (ulong)countOf[digit] : weightOf[digit]) <= target; digit++)
                (before, weightBefore) = (before + size, weightBefore + weightOf[digit]);
            int kept = 0;
            for (int i = 0; i < count; i++)
                if ((distances[among[i]] >> shift & mask) == digit)
                    among[kept++] = among[i];
            count = kept;
        }
        int tie = 0;
        for (ulong size; before + (size = counts ? 1 : weights[among[tie]]) <= target; tie++)
            (before, weightBefore) = (before + size, weightBefore + weights[among[tie]]);
        return (among[tie], weightBefore + weights[among[tie]]);
    }
}
