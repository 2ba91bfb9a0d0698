using System.Text;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PreTokenizers;

namespace Legato.Runtime.Text.Formats;

/// <summary>Reads the element "pre_tokenizer" of tokenizer.json.</summary>
internal static class PreTokenizerReader
{
    public static IPreTokenizer Read(JsonValue stage) => stage["type"].String() switch
    {
        "ByteLevel" => new ByteLevelPreTokenizer(
            stage.Bool("add_prefix_space", absent: true), stage.Bool("trim_offsets", absent: true), stage.Bool("use_regex", absent: true)),
        "Sequence" => new SequencePreTokenizer([.. stage["pretokenizers"].Items().Select(Read)]),
        "Split" => new SplitPreTokenizer(ReadPattern(stage["pattern"]), ReadBehaviour(stage), stage.Bool("invert")),
        "Whitespace" => new WhitespacePreTokenizer(),
        "WhitespaceSplit" => new WhitespaceSplitPreTokenizer(),
        "BertPreTokenizer" => new BertPreTokenizer(),
        "Punctuation" => new PunctuationPreTokenizer(
            stage.Optional("behavior") is null ? SplitBehaviour.Isolated : ReadBehaviour(stage)),
        "Digits" => new DigitsPreTokenizer(stage.Bool("individual_digits")),
        "CharDelimiterSplit" => new DelimiterPreTokenizer(ReadCharacter(stage["delimiter"])),
        "FixedLength" => new FixedLengthPreTokenizer(
            stage["length"].Int() is > 0 and var length ? length : throw stage.Wrong("has a length that isn't positive")),
        "UnicodeScripts" => new ScriptsPreTokenizer(),
        "Metaspace" => new MetaspacePreTokenizer(ReadCharacter(stage["replacement"]).ToString(), ReadScheme(stage), stage.Bool("split", absent: true)),
        var other => throw stage.Wrong($"has the unknown type '{other}'"),
    };

    public static TextPattern ReadPattern(JsonValue pattern) => pattern.OptionalString("Regex") is { } regex
        ? TextPattern.Regex(regex)
        : TextPattern.Literal(pattern["String"].String());

    /// <summary>Files from before there were schemes only say whether to prepend.</summary>
    public static PrependScheme ReadScheme(JsonValue stage) => stage.OptionalString("prepend_scheme") switch
    {
        null => stage.Bool("add_prefix_space", absent: true) ? PrependScheme.Always : PrependScheme.Never,
        "always" => PrependScheme.Always,
        "first" => PrependScheme.First,
        "never" => PrependScheme.Never,
        var other => throw stage.Wrong($"names an unknown scheme '{other}'"),
    };

    public static Rune ReadCharacter(JsonValue value)
    {
        string text = value.String();
        return Rune.DecodeFromUtf16(text, out var rune, out int length) == System.Buffers.OperationStatus.Done && length == text.Length
            ? rune
            : throw value.Wrong("must be one character");
    }

    private static SplitBehaviour ReadBehaviour(JsonValue stage) => stage["behavior"].String() switch
    {
        "Removed" => SplitBehaviour.Removed,
        "Isolated" => SplitBehaviour.Isolated,
        "MergedWithPrevious" => SplitBehaviour.MergedWithPrevious,
        "MergedWithNext" => SplitBehaviour.MergedWithNext,
        "Contiguous" => SplitBehaviour.Contiguous,
        var other => throw stage.Wrong($"names an unknown behavior '{other}'"),
    };
}
