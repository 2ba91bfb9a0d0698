using System.Text.Json;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Formats;

/// <summary>Reads the element "model" of tokenizer.json.</summary>
internal static class ModelReader
{
    public static ITokenModel Read(JsonValue model, string where) => (model.OptionalString("type") ?? Guess(model)) switch
    {
        "BPE" => ReadBpe(model, where),
        "WordPiece" => new WordPieceModel(ReadVocabulary(model["vocab"], where), model.OptionalString("unk_token") ?? "[UNK]",
            model.OptionalString("continuing_subword_prefix") ?? "##", ReadLongestWord(model)),
        "WordLevel" => new WordLevelModel(ReadVocabulary(model["vocab"], where), model.OptionalString("unk_token")),
        "Unigram" => ReadUnigram(model, where),
        var other => throw model.Wrong($"has the unknown type '{other}'"),
    };

    // Early files name no type: the members tell.
    private static string Guess(JsonValue model)
    {
        if (model.Optional("merges") is not null)
            return "BPE";
        if (model["vocab"].Kind == JsonValueKind.Array)
            return "Unigram";
        return model.Optional("max_input_chars_per_word") is not null || model.Optional("continuing_subword_prefix") is not null
            ? "WordPiece"
            : "WordLevel";
    }

    private static BpeModel ReadBpe(JsonValue model, string where)
    {
        var vocabulary = ReadVocabulary(model["vocab"], where);
        var options = new BpeOptions
        {
            UnknownToken = model.OptionalString("unk_token"),
            ContinuingSubwordPrefix = model.OptionalString("continuing_subword_prefix"),
            EndOfWordSuffix = model.OptionalString("end_of_word_suffix"),
            FuseUnknown = model.Bool("fuse_unk"),
            ByteFallback = model.Bool("byte_fallback"),
            IgnoreMerges = model.Bool("ignore_merges"),
        };
        if (options.UnknownToken is { } unknown && vocabulary.IdOf(unknown) is null)
            throw model.Wrong($"names the unknown token '{unknown}', which is not in its vocabulary");
        var merges = ReadMerges(model["merges"]);
        return new BpeModel(vocabulary, BpeModel.ReadMerges(vocabulary, merges, options.ContinuingSubwordPrefix, where), options);
    }

    private static int ReadLongestWord(JsonValue model) => model.Optional("max_input_chars_per_word") switch
    {
        null => 100,
        { } value when value.Int() is >= 0 and <= 1 << 16 => value.Int(),
        { } value => throw value.Wrong("is out of range"),
    };

    private static UnigramModel ReadUnigram(JsonValue model, string where)
    {
        var entries = new List<KeyValuePair<string, int>>();
        var scores = new List<double>();
        foreach (var entry in model["vocab"].Items())
        {
            var parts = entry.Items();
            if (parts.Count != 2)
                throw entry.Wrong("must be a token and its score");
            entries.Add(new(parts[0].String(), entries.Count));
            scores.Add(parts[1].Double() is var score && double.IsFinite(score) ? score : throw entry.Wrong("has a score that isn't finite"));
        }
        int unknown = model.Optional("unk_id")?.Int() ?? -1;
        if (unknown < -1 || unknown >= entries.Count)
            throw model.Wrong($"has an unk_id out of range ({unknown})");
        return new UnigramModel(new Vocabulary(entries, where), [.. scores], unknown, model.Bool("byte_fallback"), singlePrecision: false);
    }

    private static Vocabulary ReadVocabulary(JsonValue vocab, string where)
    {
        var entries = new List<KeyValuePair<string, int>>();
        foreach (var (token, id) in vocab.Members())
            entries.Add(new(token, id.Int()));
        return new Vocabulary(entries, where);
    }

    // Either pairs, or one string with the only space between them.
    private static List<(string, string)> ReadMerges(JsonValue merges)
    {
        var pairs = new List<(string, string)>();
        foreach (var merge in merges.Items())
        {
            if (merge.Kind == JsonValueKind.Array)
            {
                var parts = merge.Items();
                if (parts.Count != 2)
                    throw merge.Wrong("must be a pair");
                pairs.Add((parts[0].String(), parts[1].String()));
                continue;
            }
            string text = merge.String();
            int space = text.IndexOf(' ');
            if (space < 0 || text.IndexOf(' ', space + 1) >= 0)
                throw merge.Wrong("must be two tokens with one space between them");
            pairs.Add((text[..space], text[(space + 1)..]));
        }
        return pairs;
    }
}
