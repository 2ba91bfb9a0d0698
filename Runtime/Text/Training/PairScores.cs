using System.Runtime.InteropServices;

namespace Legato.Runtime.Text.Training;

/// <summary>What makes one pair better than another.</summary>
internal interface IPairScore
{
    /// <summary>Sees a word of the corpus once, before any merge.</summary>
    void Observe(ReadOnlySpan<int> word, long count);

    /// <summary>Sees a pair when it occurs for the first time.</summary>
    void Add(int index, int left, int right);

    /// <summary>Sees that <paramref name="count"/> occurrences of a pair became one symbol.</summary>
    void Replace(int left, int right, int merged, long count);

    /// <summary>The pairs whose score may rise when a pair is merged, beside those whose count does.</summary>
    ReadOnlySpan<int> PairsAffected(int left, int right);

    double Of(int left, int right, long count);
}

/// <summary>The most frequent pair is best: BPE (Sennrich et al. 2016).</summary>
internal sealed class FrequencyScore : IPairScore
{
    public void Observe(ReadOnlySpan<int> word, long count) { }

    public void Add(int index, int left, int right) { }

    public void Replace(int left, int right, int merged, long count) { }

    public ReadOnlySpan<int> PairsAffected(int left, int right) => [];

    public double Of(int left, int right, long count) => count;
}

/// <summary>
/// The pair is best that raises the corpus' likelihood most, for what it replaces: count(pair) / (count(left) · count(right)),
/// WordPiece (Schuster and Nakajima 2012, section 4).
/// </summary>
internal sealed class LikelihoodScore : IPairScore
{
    private readonly List<long> symbolCounts = [];
    private readonly List<List<int>> pairsOfSymbol = [];
    private readonly List<int> affected = [];

    public void Observe(ReadOnlySpan<int> word, long count)
    {
        foreach (int symbol in word)
        {
            Reach(symbol);
            symbolCounts[symbol] += count;
        }
    }

    public void Add(int index, int left, int right)
    {
        Reach(Math.Max(left, right));
        pairsOfSymbol[left].Add(index);
        if (left != right)
            pairsOfSymbol[right].Add(index);
    }

    public void Replace(int left, int right, int merged, long count)
    {
        Reach(merged);
        symbolCounts[left] -= count;
        symbolCounts[right] -= count;
        symbolCounts[merged] += count;
    }

    public ReadOnlySpan<int> PairsAffected(int left, int right)
    {
        affected.Clear();
        affected.AddRange(pairsOfSymbol[left]);
        affected.AddRange(pairsOfSymbol[right]);
        return CollectionsMarshal.AsSpan(affected);
    }

    public double Of(int left, int right, long count) =>
        count == 0 ? 0 : (double)count / symbolCounts[left] / symbolCounts[right];

    private void Reach(int symbol)
    {
        while (symbolCounts.Count <= symbol)
        {
            symbolCounts.Add(0);
            pairsOfSymbol.Add([]);
        }
    }
}
