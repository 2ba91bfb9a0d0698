using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.PreTokenizers;

/// <summary>One pre-tokenizer after the other.</summary>
internal sealed class SequencePreTokenizer(IReadOnlyList<IPreTokenizer> stages) : IPreTokenizer
{
    public IReadOnlyList<IPreTokenizer> Stages { get; } = stages;

    public void Split(List<TextPiece> input, List<TextPiece> output)
    {
        var current = input;
        foreach (var stage in Stages)
        {
            var next = new List<TextPiece>(current.Count);
            stage.Split(current, next);
            current = next;
        }
        output.AddRange(current);
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Sequence");
        json.WriteStartArray("pretokenizers");
        foreach (var stage in Stages)
            stage.Write(json);
        json.WriteEndArray();
        json.WriteEndObject();
    }
}
