using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.PostProcessors;

/// <summary>A token that a post-processor adds.</summary>
internal readonly record struct FrameToken(string Token, int Id)
{
    public TokenSegment Segment(int typeId) => new() { Ids = [Id], Offsets = [default], TypeId = typeId, IsAdded = true };

    public void Write(Utf8JsonWriter json, string name)
    {
        json.WriteStartArray(name);
        json.WriteStringValue(Token);
        json.WriteNumberValue(Id);
        json.WriteEndArray();
    }
}

/// <summary>BERT's frame: [CLS] A [SEP] B [SEP].</summary>
internal sealed class BertPostProcessor(FrameToken separator, FrameToken start) : IPostProcessor
{
    public int AddedTokens(bool pair) => pair ? 3 : 2;

    public List<TokenSegment> Process(List<TokenSegment> segments, bool addTokens, Vocabulary vocabulary)
    {
        if (!addTokens)
            return segments;
        List<TokenSegment> framed = [start.Segment(0), segments[0], separator.Segment(0)];
        if (segments.Count == 2)
            framed.AddRange([segments[1], separator.Segment(1)]);
        return framed;
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "BertProcessing");
        separator.Write(json, "sep");
        start.Write(json, "cls");
        json.WriteEndObject();
    }
}

/// <summary>RoBERTa's frame: &lt;s&gt; A &lt;/s&gt; &lt;/s&gt; B &lt;/s&gt;, all of one type.</summary>
internal sealed class RobertaPostProcessor(FrameToken separator, FrameToken start, bool trimOffsets, bool addPrefixSpace)
    : IPostProcessor
{
    public int AddedTokens(bool pair) => pair ? 4 : 2;

    public List<TokenSegment> Process(List<TokenSegment> segments, bool addTokens, Vocabulary vocabulary)
    {
        foreach (var segment in segments)
        {
            segment.TypeId = 0;
            if (trimOffsets)
                ByteLevelPostProcessor.Trim(segment, vocabulary, addPrefixSpace);
        }
        if (!addTokens)
            return segments;
        List<TokenSegment> framed = [start.Segment(0), segments[0], separator.Segment(0)];
        if (segments.Count == 2)
            framed.AddRange([separator.Segment(0), segments[1], separator.Segment(0)]);
        return framed;
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "RobertaProcessing");
        separator.Write(json, "sep");
        start.Write(json, "cls");
        json.WriteBoolean("trim_offsets", trimOffsets);
        json.WriteBoolean("add_prefix_space", addPrefixSpace);
        json.WriteEndObject();
    }
}
