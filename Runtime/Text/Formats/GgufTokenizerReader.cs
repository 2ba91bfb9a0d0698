using System.Text;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PostProcessors;
using Legato.Runtime.Text.PreTokenizers;

namespace Legato.Runtime.Text.Formats;

/// <summary>Makes a tokenizer of what a GGUF file says about its own.</summary>
internal static class GgufTokenizerReader
{
    internal const string Prefix = "tokenizer.ggml.";

    /// <summary>The text of the tokenizer.json that the others were made from; it says more than they can.</summary>
    internal const string WholeKey = "tokenizer.huggingface.json";

    internal const string TemplateKey = "tokenizer.chat_template";

    /// <summary>The names of templates beside the default one, each under a key of its own.</summary>
    internal const string TemplateNamesKey = "tokenizer.chat_templates";

    /// <summary>What <see cref="TokenizerConventions"/> says, which tokenizer.json can't.</summary>
    internal const string TieKey = "tokenizer.legato.merges_tie_by_token", RulesKey = "tokenizer.legato.sentencepiece_rules";

    private const string Mark = "\u2581";

    /// <exception cref="LegatoException">The file is no GGUF file, a damaged one, or holds no tokenizer that is known.</exception>
    public static TokenizerDefinition Read(string where)
    {
        using var file = new MappedFile(where);
        return Read(new GgufMetadata(file), where);
    }

    private static TokenizerDefinition Read(GgufMetadata metadata, string where)
    {
        if (metadata.Text(WholeKey) is { } whole)
            return ReadWhole(whole, metadata, where);
        string[] tokens = metadata.Texts(Prefix + "tokens")
            ?? throw new LegatoException("the GGUF file holds no tokenizer", where, "convert the model with its tokenizer");
        var definition = metadata.Text(Prefix + "model") switch
        {
            "llama" => SentencePieceReader.Read(Pieces(metadata, tokens, SentencePieceAlgorithm.BytePair, where), where),
            "t5" => SentencePieceReader.Read(Pieces(metadata, tokens, SentencePieceAlgorithm.Unigram, where), where),
            "gpt2" => ReadBytePair(metadata, tokens, where),
            "bert" => BertVocabularyReader.Make(Vocabulary.FromList([.. tokens.Select(BertSpelling)], where), null, where),
            var other => throw new LegatoException($"the GGUF tokenizer '{other}' is not known", where, "llama, gpt2, bert and t5 are"),
        };
        return Complete(definition, metadata, tokens);
    }

    private static TokenizerDefinition ReadWhole(string json, GgufMetadata metadata, string where)
    {
        TokenizerDefinition definition = TokenizerJsonReader.Read(Encoding.UTF8.GetBytes(json), where);
        string? Name(string key) => metadata.Id(Prefix + key) is not { } id ? null
            : definition.AddedTokens.FirstOrDefault(token => token.Id == id)?.Content ?? definition.Model.Vocabulary.TokenOf(id);
        var conventions = new TokenizerConventions(metadata.Flag(TieKey) ?? false, metadata.Flag(RulesKey) ?? false);
        return conventions.Apply(definition with
        {
            ChatTemplates = Templates(metadata),
            Names = new SpecialTokenNames
            {
                BeginOfSequence = Name("bos_token_id") ?? definition.Names.BeginOfSequence,
                EndOfSequence = Name("eos_token_id") ?? definition.Names.EndOfSequence,
                Unknown = Name("unknown_token_id") ?? definition.Names.Unknown,
                Padding = Name("padding_token_id") ?? definition.Names.Padding,
            },
        });
    }

    // The definition's own tokens, and those that the file marks by kind.
    private static TokenizerDefinition Complete(TokenizerDefinition definition, GgufMetadata metadata, string[] tokens)
    {
        string? Name(string key) => metadata.Id(Prefix + key) is int id && id < tokens.Length ? tokens[id] : null;
        var added = definition.AddedTokens.ToDictionary(token => token.Id);
        int[] kinds = metadata.Ints(Prefix + "token_type") ?? [];
        for (int id = 0; id < Math.Min(kinds.Length, tokens.Length); id++)
            if ((PieceKind)kinds[id] is PieceKind.Control or PieceKind.UserDefined)
                added.TryAdd(id, new AddedToken(id, tokens[id]) { Special = (PieceKind)kinds[id] == PieceKind.Control });
        return definition with
        {
            AddedTokens = [.. added.Values.OrderBy(token => token.Id)],
            PostProcessor = Frame(definition, metadata, tokens),
            ChatTemplates = Templates(metadata),
            RecognisesSpecialTokens = false,
            Names = new SpecialTokenNames
            {
                BeginOfSequence = Name("bos_token_id") ?? definition.Names.BeginOfSequence,
                EndOfSequence = Name("eos_token_id") ?? definition.Names.EndOfSequence,
                Unknown = Name("unknown_token_id") ?? definition.Names.Unknown,
                Padding = Name("padding_token_id") ?? definition.Names.Padding,
            },
        };
    }

    private static Dictionary<string, string> Templates(GgufMetadata metadata)
    {
        var templates = new Dictionary<string, string>(StringComparer.Ordinal);
        if (metadata.Text(TemplateKey) is { } template)
            templates[Chat.ChatTemplates.Default] = template;
        foreach (string name in metadata.Texts(TemplateNamesKey) ?? [])
            if (metadata.Text($"{TemplateKey}.{name}") is { } named)
                templates[name] = named;
        return templates;
    }

    private static IPostProcessor? Frame(TokenizerDefinition definition, GgufMetadata metadata, string[] tokens)
    {
        if (metadata.Text(Prefix + "model") == "bert")
            return definition.PostProcessor;
        bool begins = metadata.Flag(Prefix + "add_bos_token") ?? metadata.Text(Prefix + "model") == "llama";
        bool ends = metadata.Flag(Prefix + "add_eos_token") ?? metadata.Text(Prefix + "model") == "t5";
        int? begin = begins ? metadata.Id(Prefix + "bos_token_id") : null, end = ends ? metadata.Id(Prefix + "eos_token_id") : null;
        return SequenceFrame.Make(
            begin < tokens.Length ? new FrameToken(tokens[begin.Value], begin.Value) : null,
            end < tokens.Length ? new FrameToken(tokens[end.Value], end.Value) : null) ?? definition.PostProcessor;
    }

    private static SentencePieceModel Pieces(GgufMetadata metadata, string[] tokens, SentencePieceAlgorithm algorithm, string where)
    {
        float[] scores = metadata.Floats(Prefix + "scores") ?? new float[tokens.Length];
        int[] kinds = metadata.Ints(Prefix + "token_type") ?? [.. Enumerable.Repeat((int)PieceKind.Normal, tokens.Length)];
        if (scores.Length != tokens.Length || kinds.Length != tokens.Length)
            throw new LegatoException("tokens, scores and types are not of the same number", where, "convert the model again");
        var model = new SentencePieceModel
        {
            Algorithm = algorithm,
            ByteFallback = kinds.Contains((int)PieceKind.Byte),
            AddDummyPrefix = metadata.Flag(Prefix + "add_space_prefix") ?? true,
            RemoveExtraSpaces = metadata.Flag(Prefix + "remove_extra_whitespaces") ?? false,
            CharactersMap = metadata.Bytes(Prefix + "precompiled_charsmap") ?? [],
            BeginId = metadata.Id(Prefix + "bos_token_id") ?? -1,
            EndId = metadata.Id(Prefix + "eos_token_id") ?? -1,
            PaddingId = metadata.Id(Prefix + "padding_token_id") ?? -1,
        };
        for (int id = 0; id < tokens.Length; id++)
        {
            var kind = (PieceKind)kinds[id];
            if (!Enum.IsDefined(kind) || tokens[id].Length == 0 || !float.IsFinite(scores[id]))
                throw new LegatoException($"token {id} has an unknown type, no text or no finite score", where, "convert the model again");
            model.Pieces.Add(new SentencePiece(tokens[id], scores[id], kind));
        }
        return model;
    }

    private static TokenizerDefinition ReadBytePair(GgufMetadata metadata, string[] tokens, string where)
    {
        var vocabulary = Vocabulary.FromList(tokens, where);
        var merges = new List<(string, string)>();
        foreach (string merge in metadata.Texts(Prefix + "merges") ?? [])
        {
            int space = merge.IndexOf(' ', Math.Min(1, merge.Length));
            if (space < 1)
                throw new LegatoException($"the merge '{merge}' is not two tokens", where, "convert the model again");
            merges.Add((merge[..space], merge[(space + 1)..]));
        }
        string splitter = metadata.Text(Prefix + "pre") ?? "default";
        return Gpt2VocabularyReader.Make(vocabulary, BpeModel.ReadMerges(vocabulary, merges, null, where),
            Splitter(splitter, where), ignoreMerges: splitter is "llama-bpe" or "llama3" or "llama-v3") with
        { PostProcessor = null };
    }

    internal static IPreTokenizer Splitter(string name, string where)
    {
        switch (name)
        {
            case "default" or "gpt-2" or "gpt2" or "phi-2" or "mpt" or "olmo" or "jina-es" or "jina-de" or "jina-v2-es" or "jina-v2-de":
                return new ByteLevelPreTokenizer(false, true, true);
            case "smollm" or "starcoder" or "refact" or "command-r" or "codeshell":
                return new SequencePreTokenizer([new DigitsPreTokenizer(true), new ByteLevelPreTokenizer(false, true, true)]);
            case "llama-bpe" or "llama3" or "llama-v3" or "dbrx" or "smaug-bpe": return ByPattern(SplitPattern.Llama3);
            case "qwen2" or "stablelm2" or "deepseek-r1-qwen": return ByPattern(SplitPattern.Qwen2);
            case "gpt-4o" or "llama4": return ByPattern(SplitPattern.O200k);
            default:
                throw new LegatoException($"how the pre-tokenizer '{name}' splits is not known", where,
                    "use the model's tokenizer.json");
        }
    }

    private static SequencePreTokenizer ByPattern(SplitPattern pattern) => new(
    [
        new SplitPreTokenizer(TextPattern.Regex(SplitPatterns.RegexOf(pattern)), SplitBehaviour.Isolated, false),
        new ByteLevelPreTokenizer(false, true, false),
    ]);

    // GGUF marks what begins a word, vocab.txt what continues one.
    private static string BertSpelling(string token)
    {
        if (token.StartsWith(Mark, StringComparison.Ordinal))
            return token[1..];
        return token.StartsWith('[') && token.EndsWith(']') && token.Length > 2 ? token : "##" + token;
    }
}
