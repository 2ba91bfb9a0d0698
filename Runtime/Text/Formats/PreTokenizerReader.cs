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
        var other => throw stage.Wrong($"has the unknown type '{other}'"),
    };

    public static TextPattern ReadPattern(JsonValue pattern) => pattern.OptionalString("Regex") is { } regex
        ? TextPattern.Regex(regex)
        : TextPattern.Literal(pattern["String"].String());

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
