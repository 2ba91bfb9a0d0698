using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Formats;

/// <summary>Reads tokenizer.json, the layout of Hugging Face tokenizers.</summary>
internal static class TokenizerJsonReader
{
    public static TokenizerDefinition Read(ReadOnlyMemory<byte> utf8, string where) =>
        JsonValue.Read(utf8, where, root => ReadRoot(root, where));

    private static TokenizerDefinition ReadRoot(JsonValue root, string where)
    {
        if (root.OptionalString("version") is { } version && version != "1.0")
            throw new LegatoException($"version '{version}' of the layout is not known", where, "Legato reads version 1.0");
        if (root.Optional("model") is null)
            throw new LegatoException("the file is JSON, but no tokenizer.json: it has no 'model'", where,
                "give the tokenizer.json, or the folder that it lies in");
        return new TokenizerDefinition
        {
            Model = ModelReader.Read(root["model"], where),
            Normalizer = root.Optional("normalizer") is { } normalizer ? NormalizerReader.Read(normalizer) : null,
            PreTokenizer = root.Optional("pre_tokenizer") is { } preTokenizer ? PreTokenizerReader.Read(preTokenizer) : null,
            PostProcessor = root.Optional("post_processor") is { } postProcessor ? PostProcessorReader.Read(postProcessor) : null,
            Decoder = root.Optional("decoder") is { } decoder ? DecoderReader.Read(decoder) : null,
            AddedTokens = root.Optional("added_tokens") is { } added ? ReadAddedTokens(added) : [],
            Truncation = root.Optional("truncation") is { } truncation ? ReadTruncation(truncation) : null,
            Padding = root.Optional("padding") is { } padding ? ReadPadding(padding) : null,
        };
    }

    private static List<AddedToken> ReadAddedTokens(JsonValue tokens)
    {
        var added = new List<AddedToken>();
        foreach (var token in tokens.Items())
        {
            int id = token["id"].Int();
            if (id is < 0 or > 1 << 24)
                throw token.Wrong($"has an id out of range ({id})");
            bool special = token.Bool("special");
            added.Add(new AddedToken(id, token["content"].String())
            {
                SingleWord = token.Bool("single_word"),
                StripLeft = token.Bool("lstrip"),
                StripRight = token.Bool("rstrip"),
                Normalized = token.Bool("normalized", absent: !special),
                Special = special,
            });
        }
        return added;
    }

    private static Truncation ReadTruncation(JsonValue value) => new(
        NonNegative(value["max_length"]),
        value.Optional("stride") is { } stride ? NonNegative(stride) : 0,
        value.OptionalString("strategy") switch
        {
            null or "LongestFirst" => TruncationStrategy.LongestFirst,
            "OnlyFirst" => TruncationStrategy.OnlyFirst,
            "OnlySecond" => TruncationStrategy.OnlySecond,
            var other => throw value.Wrong($"names an unknown strategy '{other}'"),
        },
        ReadSide(value));

    private static Padding ReadPadding(JsonValue value) => new(
        ReadPaddingLength(value),
        value.Optional("pad_to_multiple_of") is { } multiple ? NonNegative(multiple) : null,
        ReadSide(value),
        value.Optional("pad_id") is { } id ? NonNegative(id) : 0,
        value.Optional("pad_type_id") is { } type ? NonNegative(type) : 0,
        value.OptionalString("pad_token") ?? "[PAD]");

    private static int? ReadPaddingLength(JsonValue value)
    {
        if (value.Optional("strategy") is not { } strategy)
            return null;
        if (strategy.Kind == System.Text.Json.JsonValueKind.Object)
            return NonNegative(strategy["Fixed"]);
        return strategy.String() == "BatchLongest" ? null : throw strategy.Wrong("names an unknown strategy");
    }

    private static Side ReadSide(JsonValue value) => value.OptionalString("direction") switch
    {
        null or "Right" => Side.Right,
        "Left" => Side.Left,
        var other => throw value.Wrong($"names an unknown direction '{other}'"),
    };

    // Lengths bound what padding allocates.
    private static int NonNegative(JsonValue value) =>
        value.Int() is var number and >= 0 and <= 1 << 24 ? number : throw value.Wrong("is out of range");
}
