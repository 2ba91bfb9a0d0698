using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.PostProcessors;

/// <summary>One post-processor after the other. At most one of them may frame the texts.</summary>
internal sealed class SequencePostProcessor(IReadOnlyList<IPostProcessor> stages) : IPostProcessor
{
    public int AddedTokens(bool pair) => stages.Sum(stage => stage.AddedTokens(pair));

    public List<TokenSegment> Process(List<TokenSegment> segments, bool addTokens, Vocabulary vocabulary)
    {
        foreach (var stage in stages)
            segments = stage.Process(segments, addTokens, vocabulary);
        return segments;
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Sequence");
        json.WriteStartArray("processors");
        foreach (var stage in stages)
            stage.Write(json);
        json.WriteEndArray();
        json.WriteEndObject();
    }
}
