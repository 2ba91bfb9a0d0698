using System.Numerics;
using System.Text;
using Legato.Runtime.Text.ByteLevel;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PreTokenizers;
using Legato.Runtime.Text.Scanners;

namespace Legato.Runtime.Text.Training;

/// <summary>Trains byte-level BPE (Radford et al. 2019, section 2.2), and makes the byte tokenizer.</summary>
internal static class ByteLevelTrainer
{
    private const string Spaces = " \t";

    public static Tokenizer Train(IEnumerable<string> texts, TokenizerTrainingOptions options)
    {
        options.Validate();
        var pattern = PatternOf(options);
        var tokens = Alphabet(options.SpecialTokens);
        var merges = new List<(string Left, string Right)>();
        int[] byteIds = ByteIds(tokens);
        AddIndentation(options.Indentation, tokens, merges);
        if (tokens.Count > options.VocabularySize)
            throw new LegatoException(
                $"a vocabulary of {Counted.Of(options.VocabularySize, "token")} is too small: bytes, special tokens and indentation take {tokens.Count}",
                "the size of the vocabulary", $"give at least {tokens.Count}");
        var words = Words(texts, pattern, byteIds, tokens, merges, options);
        MergeLearner.Learn(words, new FrequencyScore(), tokens, merges, (left, right) => left + right, options);
        return Build(tokens, merges, options.SpecialTokens, Splitter(pattern));
    }

    /// <summary>One token a byte, special tokens first.</summary>
    public static Tokenizer Bytes(IReadOnlyList<string> specialTokens) =>
        Build(Alphabet(specialTokens), [], specialTokens, new ByteLevelPreTokenizer(false, true, false));

    private static SplitPattern PatternOf(TokenizerTrainingOptions options) => (options.Digits, options.Pattern) switch
    {
        (DigitSplitting.AsPattern, _) or (DigitSplitting.Single, SplitPattern.Qwen2)
            or (DigitSplitting.GroupsOfThree, not (SplitPattern.Gpt2 or SplitPattern.Qwen2)) => options.Pattern,
        (DigitSplitting.Single, SplitPattern.Llama3) => SplitPattern.Qwen2,
        (DigitSplitting.GroupsOfThree, SplitPattern.Qwen2) => SplitPattern.Llama3,
        _ => throw new LegatoException(
            $"the pattern {SplitPatterns.NameOf(options.Pattern)} has no form that cuts digits {(options.Digits == DigitSplitting.Single ? "one by one" : "in threes")}",
            "the split of digits", "take the pattern llama3 (in threes) or qwen2 (one by one)"),
    };

    private static IPreTokenizer Splitter(SplitPattern pattern) => pattern == SplitPattern.Gpt2
        ? new ByteLevelPreTokenizer(false, true, true)
        : new SequencePreTokenizer(
        [
            new SplitPreTokenizer(TextPattern.Regex(SplitPatterns.RegexOf(pattern)), SplitBehaviour.Isolated, false),
            new ByteLevelPreTokenizer(false, true, false),
        ]);

    private static WordTable CountWords(IEnumerable<string> texts, SplitPattern pattern, TokenizerTrainingOptions options)
    {
        var table = new WordTable(options.WordBytes);
        byte[] buffer = [];
        long read = 0, reported = 0;
        foreach (string text in texts)
        {
            int room = Encoding.UTF8.GetMaxByteCount(text.Length) + Runs.Padding;
            if (buffer.Length < room)
                buffer = new byte[room];
            int length = Encoding.UTF8.GetBytes(text, buffer);
            buffer.AsSpan(length, Runs.Padding).Clear();
            var padded = buffer.AsSpan(0, length + Runs.Padding);
            for (int start = 0, end; start < length; start = end)
            {
                end = PatternScan.End(pattern, padded, start);
                table.AddParts(padded[start..end]);
            }
            read += length;
            if (read - reported >= 1 << 22)
                options.Progress?.Report(new("reading", reported = read, null));
        }
        return table;
    }

    private static List<string> Alphabet(IReadOnlyList<string> specialTokens)
    {
        var tokens = new List<string>(specialTokens);
        var characters = new List<char>();
        for (int value = 0; value < 256; value++)
            characters.Add(ByteAlphabet.CharacterOf((byte)value));
        characters.Sort();
        foreach (char character in characters)
            tokens.Add(character.ToString());
        return tokens;
    }

    private static int[] ByteIds(List<string> tokens)
    {
        var ids = new int[256];
        for (int id = 0; id < tokens.Count; id++)
            if (tokens[id].Length == 1 && ByteAlphabet.ByteOf(tokens[id][0]) is var value and >= 0)
                ids[value] = id;
        return ids;
    }

    // Runs whose length is a power of two join first, which leaves a run as its binary form, largest part first.
    // Then the largest part takes the others one by one, so that every run up to the limit ends as one token.
    private static void AddIndentation(int limit, List<string> tokens, List<(string, string)> merges)
    {
        foreach (char space in Spaces)
        {
            char unit = ByteAlphabet.CharacterOf((byte)space);
            var lengths = Enumerable.Range(2, Math.Max(0, limit - 1))
                .OrderBy(length => BitOperations.IsPow2(length) ? 0 : 1)
                .ThenBy(length => BitOperations.IsPow2(length) ? length : -BitOperations.Log2((uint)length))
                .ThenBy(length => BitOperations.PopCount((uint)length));
            foreach (int length in lengths)
            {
                int low = BitOperations.IsPow2(length) ? length / 2 : length & -length;
                merges.Add((new string(unit, length - low), new string(unit, low)));
                tokens.Add(new string(unit, length));
            }
        }
    }

    // The corpus as learning takes it: the table of its words is given up when this returns.
    private static SymbolWords Words(
        IEnumerable<string> texts, SplitPattern pattern, int[] byteIds, List<string> tokens,
        List<(string Left, string Right)> merges, TokenizerTrainingOptions options)
    {
        var table = CountWords(texts, pattern, options);
        var seeds = BpeModel.ReadMerges(Vocabulary.FromList(tokens, "training"), merges, null, "training");
        var words = new SymbolWords(table.TextLength, table.Count);
        Span<int> symbols = new int[WordTable.LongestWord];
        foreach (int word in table.Sorted())
        {
            var bytes = table.BytesOf(word);
            if (bytes.Length < 2)
                continue;
            for (int i = 0; i < bytes.Length; i++)
                symbols[i] = byteIds[bytes[i]];
            words.Add(symbols[..PairMerger.Merge(seeds, symbols[..bytes.Length], [])], table.CountOf(word));
        }
        return words;
    }

    private static Tokenizer Build(
        List<string> tokens, List<(string, string)> merges, IReadOnlyList<string> specialTokens, IPreTokenizer splitter)
    {
        var vocabulary = Vocabulary.FromList(tokens, "training");
        return new Tokenizer(new TokenizerDefinition
        {
            Model = new BpeModel(vocabulary, BpeModel.ReadMerges(vocabulary, merges, null, "training"), new BpeOptions()),
            PreTokenizer = splitter,
            Decoder = new ByteLevelDecoder(true, true, true),
            AddedTokens = SpecialTokenList.Of(specialTokens),
            Names = SpecialTokenList.Names(specialTokens),
        });
    }
}
