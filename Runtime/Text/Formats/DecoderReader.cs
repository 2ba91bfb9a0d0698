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
        var other => throw stage.Wrong($"has the unknown type '{other}'"),
    };
}
