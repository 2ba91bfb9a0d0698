using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Formats;

/// <summary>Reads the element "normalizer" of tokenizer.json.</summary>
internal static class NormalizerReader
{
    public static INormalizer Read(JsonValue stage) => stage["type"].String() switch
    {
        var other => throw stage.Wrong($"has the unknown type '{other}'"),
    };
}
