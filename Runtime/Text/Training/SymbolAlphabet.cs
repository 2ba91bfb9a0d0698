using System.Text;

namespace Legato.Runtime.Text.Training;

/// <summary>Turns counted words into rows of character symbols, making a token of each symbol that occurs.</summary>
internal static class SymbolAlphabet
{
    /// <param name="spell">The symbol for a character: its text, whether it opens the word, whether it ends it.</param>
    /// <param name="tokens">The tokens so far, by id; symbols are added in the order of their spelling.</param>
    public static SymbolWords Make(
        WordTable table, Func<string, bool, bool, string> spell, List<string> tokens, TokenizerTrainingOptions options)
    {
        int[] order = table.Sorted();
        var kept = KeptCharacters(table, order, options.AlphabetLimit);
        var symbols = new SortedSet<string>(StringComparer.Ordinal);
        foreach (int word in order)
            foreach (string symbol in Spell(table, word, kept, spell))
                symbols.Add(symbol);
        symbols.Remove("");
        options.RequireRoom(tokens.Count + symbols.Count);
        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (string symbol in symbols)
        {
            ids[symbol] = tokens.Count;
            tokens.Add(symbol);
        }
        var words = new SymbolWords(table.TextLength, table.Count);
        var row = new List<int>();
        foreach (int word in order)
            AddWord(Spell(table, word, kept, spell), ids, table.CountOf(word), row, words);
        return words;
    }

    // A symbol that got no token parts the word: nothing merges across it.
    private static void AddWord(IEnumerable<string> spelled, Dictionary<string, int> ids, long count, List<int> row, SymbolWords words)
    {
        row.Clear();
        foreach (string symbol in spelled)
        {
            if (ids.TryGetValue(symbol, out int id))
            {
                row.Add(id);
                continue;
            }
            Flush(row, count, words);
        }
        Flush(row, count, words);
    }

    private static void Flush(List<int> row, long count, SymbolWords words)
    {
        if (row.Count > 0)
            words.Add(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(row), count);
        row.Clear();
    }

    private static HashSet<int> KeptCharacters(WordTable table, int[] order, int limit)
    {
        var counts = new long[0x110000];
        foreach (int word in order)
            foreach (var rune in Encoding.UTF8.GetString(table.BytesOf(word)).EnumerateRunes())
                counts[rune.Value] += table.CountOf(word);
        return [.. CharacterCounts.Ordered(counts).Take(limit).Select(rune => rune.Value)];
    }

    // Rare characters, which get no token, have no spelling.
    private static IEnumerable<string> Spell(WordTable table, int word, HashSet<int> kept, Func<string, bool, bool, string> spell)
    {
        string text = Encoding.UTF8.GetString(table.BytesOf(word));
        for (int at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text.AsSpan(at), out var rune, out int length);
            string symbol = spell(text.Substring(at, length), at == 0, at + length == text.Length);
            yield return kept.Contains(rune.Value) ? symbol : "";
            at += length;
        }
    }
}
