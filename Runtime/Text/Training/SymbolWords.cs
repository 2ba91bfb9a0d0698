namespace Legato.Runtime.Text.Training;

/// <summary>Words as rows of symbols, in one array, with how often each occurs.</summary>
/// <param name="symbolCapacity">Symbols there is room for, for a start.</param>
/// <param name="wordCapacity">Words there is room for, for a start.</param>
internal sealed class SymbolWords(int symbolCapacity, int wordCapacity)
{
    private int[] symbols = GC.AllocateUninitializedArray<int>(symbolCapacity);
    private readonly List<int> starts = new(wordCapacity + 1) { 0 };
    private readonly List<int> lengths = new(wordCapacity);
    private readonly List<long> counts = new(wordCapacity);

    public int Count => counts.Count;

    public void Add(ReadOnlySpan<int> word, long count)
    {
        int start = starts[^1];
        if (start + word.Length > symbols.Length)
            Array.Resize(ref symbols, Math.Max(start + word.Length, symbols.Length * 2));
        word.CopyTo(symbols.AsSpan(start));
        starts.Add(start + word.Length);
        lengths.Add(word.Length);
        counts.Add(count);
    }

    public long CountOf(int word) => counts[word];

    /// <summary>The symbols of a word, to be changed in place.</summary>
    public Span<int> this[int word] => symbols.AsSpan(starts[word], lengths[word]);

    /// <summary>Leaves a word no more than its first symbols.</summary>
    public void Shorten(int word, int length) => lengths[word] = length;
}
