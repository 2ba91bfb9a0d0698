namespace Legato.Runtime.Text.Training;

/// <summary>Words as rows of symbols, in one array, with how often each occurs.</summary>
internal sealed class SymbolWords
{
    private readonly List<int> symbols = [];
    private readonly List<int> starts = [0];
    private readonly List<long> counts = [];

    public int Count => counts.Count;

    public void Add(ReadOnlySpan<int> word, long count)
    {
        foreach (int symbol in word)
            symbols.Add(symbol);
        starts.Add(symbols.Count);
        counts.Add(count);
    }

    public int[] Symbols() => [.. symbols];

    public int[] Starts() => [.. starts];

    public long[] Counts() => [.. counts];
}
