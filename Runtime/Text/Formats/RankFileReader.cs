using System.Buffers.Text;
using System.Text;
using Legato.Runtime.Text.ByteLevel;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PreTokenizers;

namespace Legato.Runtime.Text.Formats;

/// <summary>Reads tiktoken's rank files: a token in base 64 and its rank on each line.</summary>
internal static class RankFileReader
{
    /// <summary>Reads a file whose vocabulary is known by its size, with its pattern and special tokens.</summary>
    public static TokenizerDefinition Read(ReadOnlySpan<byte> file, string where)
    {
        var ranks = ReadRanks(file, where);
        var known = KnownRanks.Find(ranks.Count)
            ?? throw new LegatoException($"a rank file of {Counted.Of(ranks.Count, "token")} is of no known vocabulary, so its split pattern isn't known",
                where, "copy it again if it was cut off; `legato tokenize` takes the pattern that it was made with (--pattern gpt2, cl100k, llama3, qwen2 or o200k), "
                    + "a model's folder needs a tokenizer.json");
        return Make(ranks, known.Pattern, known.SpecialTokens, where);
    }

    /// <summary>Reads a file of any vocabulary.</summary>
    /// <param name="specialTokens">Null: those of the known vocabulary of that size, if there is one.</param>
    public static TokenizerDefinition Read(
        ReadOnlySpan<byte> file, SplitPattern pattern, IReadOnlyDictionary<string, int>? specialTokens, string where)
    {
        var ranks = ReadRanks(file, where);
        specialTokens ??= KnownRanks.Find(ranks.Count)?.SpecialTokens ?? new Dictionary<string, int>();
        return Make(ranks, pattern, specialTokens, where);
    }

    private static List<KeyValuePair<string, int>> ReadRanks(ReadOnlySpan<byte> file, string where)
    {
        var ranks = new List<KeyValuePair<string, int>>();
        int line = 0;
        foreach (var range in file.Split((byte)'\n'))
        {
            line++;
            var text = file[range].TrimEnd((byte)'\r');
            if (text.IsEmpty)
                continue;
            int space = text.IndexOf((byte)' ');
            if (space < 1 || !TryDecode(text[..space], out byte[] token)
                || !Utf8Parser.TryParse(text[(space + 1)..], out int rank, out int used) || used != text.Length - space - 1)
                throw new LegatoException("a line is not a token in base 64 and its rank", $"{where}, line {line}",
                    "check that this is a tiktoken rank file");
            ranks.Add(new(ByteAlphabet.Spell(token), rank));
        }
        return ranks;
    }

    private static bool TryDecode(ReadOnlySpan<byte> base64, out byte[] token)
    {
        token = new byte[Base64.GetMaxDecodedFromUtf8Length(base64.Length)];
        var status = Base64.DecodeFromUtf8(base64, token, out int used, out int written);
        Array.Resize(ref token, written);
        return status == System.Buffers.OperationStatus.Done && used == base64.Length && written > 0;
    }

    private static TokenizerDefinition Make(
        List<KeyValuePair<string, int>> ranks, SplitPattern pattern, IReadOnlyDictionary<string, int> specialTokens, string where)
    {
        var vocabulary = new Vocabulary(ranks, where);
        if (vocabulary.Count != ranks.Count)
            throw new LegatoException("a token is listed twice", where, "check that the file was copied whole");
        if (ByteLevelEncoder.ByteIds(vocabulary) is null)
            throw new LegatoException("some byte has no token", where, "check that this is a tiktoken rank file");
        var added = specialTokens.Select(token => new AddedToken(token.Value, token.Key) { Special = true }).ToList();
        return new TokenizerDefinition
        {
            Model = new BpeModel(vocabulary, MakeMerges(vocabulary, ranks), new BpeOptions { IgnoreMerges = true }),
            PreTokenizer = new SequencePreTokenizer(
            [
                new SplitPreTokenizer(TextPattern.Regex(SplitPatterns.RegexOf(pattern)), SplitBehaviour.Isolated, false),
                new ByteLevelPreTokenizer(false, true, false),
            ]),
            Decoder = new ByteLevelDecoder(true, true, true),
            AddedTokens = added,
            Names = KnownRanks.Names(specialTokens),
            Conventions = TokenizerConventions.Ranks,
            RecognisesSpecialTokens = false,
        };
    }

    // Any two neighbours join whose bytes together are a token; its rank says how early.
    private static MergeTable MakeMerges(Vocabulary vocabulary, List<KeyValuePair<string, int>> ranks)
    {
        var merges = new List<(int, int, int, int)>();
        foreach (var (token, rank) in ranks)
            for (int cut = 1; cut < token.Length; cut++)
                if (vocabulary.TryGetId(token.AsSpan(0, cut), out int left) && vocabulary.TryGetId(token.AsSpan(cut), out int right))
                    merges.Add((left, right, rank, rank));
        return new MergeTable(merges);
    }
}
