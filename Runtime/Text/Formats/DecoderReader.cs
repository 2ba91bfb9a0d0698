using Legato.Runtime.Text.ByteLevel;
using Legato.Runtime.Text.Decoders;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Formats;

/// <summary>Reads the element "decoder" of tokenizer.json.</summary>
internal static class DecoderReader
{
    public static ITokenDecoder Read(JsonValue stage) => stage["type"].String() switch
    {
        "ByteLevel" => new ByteLevelDecoder(
            stage.Bool("add_prefix_space", absent: true), stage.Bool("trim_offsets", absent: true), stage.Bool("use_regex", absent: true)),
        "Fuse" => new FuseDecoder(),
        "ByteFallback" => new ByteFallbackDecoder(),
        "Replace" => new ReplaceDecoder(PreTokenizerReader.ReadPattern(stage["pattern"]), stage["content"].String()),
        "Strip" => new StripDecoder(PreTokenizerReader.ReadCharacter(stage["content"]), stage["start"].Int(), stage["stop"].Int()),
        "Metaspace" => new MetaspaceDecoder(PreTokenizerReader.ReadCharacter(stage["replacement"]).ToString(),
            PreTokenizerReader.ReadScheme(stage), stage.Bool("split", absent: true)),
        "WordPiece" => new WordPieceDecoder(stage.OptionalString("prefix") ?? "##", stage.Bool("cleanup", absent: true)),
        "BPEDecoder" => new EndOfWordDecoder(stage.OptionalString("suffix") ?? "</w>"),
        "CTC" => new CtcDecoder(stage.OptionalString("pad_token") ?? "<pad>",
            stage.OptionalString("word_delimiter_token") ?? "|", stage.Bool("cleanup", absent: true)),
        "Sequence" => new SequenceDecoder([.. stage["decoders"].Items().Select(Read)]),
        var other => throw stage.Wrong($"has the unknown type '{other}'"),
    };
}
