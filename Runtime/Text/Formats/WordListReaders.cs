using System.Text;
using Legato.Runtime.Text.ByteLevel;
using Legato.Runtime.Text.Decoders;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Normalizers;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PostProcessors;
using Legato.Runtime.Text.PreTokenizers;

namespace Legato.Runtime.Text.Formats;

/// <summary>Reads BERT's vocab.txt: one token a line, its id the line's number from 0.</summary>
internal static class BertVocabularyReader
{
    private static readonly string[] Special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

    /// <param name="lowercase">Whether text is lowered; null lets the vocabulary tell.</param>
    public static TokenizerDefinition Read(ReadOnlySpan<byte> file, bool? lowercase, string where)
    {
        var tokens = new List<string>();
        foreach (string line in Encoding.UTF8.GetString(file).TrimEnd('\n').Split('\n'))
            tokens.Add(line.TrimEnd('\r'));
        return Make(Vocabulary.FromList(tokens, where), lowercase, where);
    }

    public static TokenizerDefinition Make(Vocabulary vocabulary, bool? lowercase, string where)
    {
        if (vocabulary.IdOf("[UNK]") is null)
            throw new LegatoException("the file is read as BERT's list of tokens, one a line, and has no token [UNK]", where,
                "check that this is a vocab.txt of WordPiece");
        bool lower = lowercase ?? !HasCapitals(vocabulary);
        var added = Special.Where(token => vocabulary.IdOf(token) is not null)
            .Select(token => new AddedToken(vocabulary.IdOf(token)!.Value, token) { Special = true }).ToList();
        IPostProcessor? frame = vocabulary.IdOf("[SEP]") is int separator && vocabulary.IdOf("[CLS]") is int start
            ? new BertPostProcessor(new FrameToken("[SEP]", separator), new FrameToken("[CLS]", start))
            : null;
        return new TokenizerDefinition
        {
            Model = new WordPieceModel(vocabulary, "[UNK]", "##", 100),
            Normalizer = new BertNormalizer(true, true, null, lower),
            PreTokenizer = new BertPreTokenizer(),
            PostProcessor = frame,
            Decoder = new WordPieceDecoder("##", cleanup: true),
            AddedTokens = added,
        };
    }

    private static bool HasCapitals(Vocabulary vocabulary)
    {
        for (int id = 0; id < vocabulary.Size; id++)
            if (vocabulary.TokenOf(id) is { } token && !token.StartsWith('[') && token.AsSpan().IndexOfAnyInRange('A', 'Z') >= 0)
                return true;
        return false;
    }
}

/// <summary>Reads GPT-2's vocab.json (or encoder.json) and merges.txt (or vocab.bpe).</summary>
internal static class Gpt2VocabularyReader
{
    private static readonly string[] Special = ["<|endoftext|>", "<s>", "</s>", "<unk>", "<pad>", "<mask>"];

    public static TokenizerDefinition Read(byte[] vocabulary, byte[] merges, string vocabularyPath, string mergesPath)
    {
        var entries = JsonValue.Read(vocabulary, vocabularyPath, root =>
        {
            var list = new List<KeyValuePair<string, int>>();
            foreach (var (token, id) in root.Members())
                list.Add(new(token, id.Int()));
            return list;
        });
        var tokens = new Vocabulary(entries, vocabularyPath);
        return Make(tokens, BpeModel.ReadMerges(tokens, ReadMerges(merges, mergesPath), null, mergesPath),
            new ByteLevelPreTokenizer(false, true, true), ignoreMerges: false);
    }

    public static TokenizerDefinition Make(Vocabulary vocabulary, MergeTable merges, IPreTokenizer splitter, bool ignoreMerges) => new()
    {
        Model = new BpeModel(vocabulary, merges, new BpeOptions { IgnoreMerges = ignoreMerges }),
        PreTokenizer = splitter,
        PostProcessor = new ByteLevelPostProcessor(true, false, true),
        Decoder = new ByteLevelDecoder(true, true, true),
        AddedTokens = [.. Special.Where(token => vocabulary.IdOf(token) is not null)
            .Select(token => new AddedToken(vocabulary.IdOf(token)!.Value, token) { Special = true, Normalized = true })],
    };

    private static List<(string, string)> ReadMerges(byte[] file, string where)
    {
        var merges = new List<(string, string)>();
        int number = 0;
        foreach (string line in Encoding.UTF8.GetString(file).Split('\n'))
        {
            number++;
            string text = line.TrimEnd('\r');
            if (text.Length == 0 || text.StartsWith("#version", StringComparison.Ordinal))
                continue;
            int space = text.IndexOf(' ');
            if (space < 1 || space == text.Length - 1 || text.IndexOf(' ', space + 1) >= 0)
                throw new LegatoException("a line is not two tokens with a space between them", $"{where}, line {number}",
                    "check that this is a list of merges");
            merges.Add((text[..space], text[(space + 1)..]));
        }
        return merges;
    }
}
