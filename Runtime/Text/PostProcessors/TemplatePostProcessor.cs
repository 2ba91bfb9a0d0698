using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.PostProcessors;

/// <summary>One place in a template: a text (0 or 1), or a special token by name.</summary>
internal readonly record struct TemplatePlace(int Text, string? SpecialToken, int TypeId);

/// <summary>The ids that a special token of a template stands for, with their spellings.</summary>
internal sealed record TemplateToken(IReadOnlyList<int> Ids, IReadOnlyList<string> Tokens);

/// <summary>Frames texts by templates, one for a single text and one for a pair.</summary>
internal sealed class TemplatePostProcessor(
    IReadOnlyList<TemplatePlace> single, IReadOnlyList<TemplatePlace> pair, IReadOnlyDictionary<string, TemplateToken> tokens)
    : IPostProcessor
{
    public int AddedTokens(bool isPair)
    {
        int count = 0;
        foreach (var place in isPair ? pair : single)
            if (place.SpecialToken is { } name)
                count += tokens[name].Ids.Count;
        return count;
    }

    public List<TokenSegment> Process(List<TokenSegment> segments, bool addTokens, Vocabulary vocabulary)
    {
        var framed = new List<TokenSegment>();
        foreach (var place in segments.Count == 2 ? pair : single)
        {
            if (place.SpecialToken is { } name)
            {
                if (addTokens)
                    framed.Add(Added(tokens[name], place.TypeId));
                continue;
            }
            if (place.Text >= segments.Count)
                continue;
            segments[place.Text].TypeId = place.TypeId;
            framed.Add(segments[place.Text]);
        }
        return framed;
    }

    private static TokenSegment Added(TemplateToken token, int typeId) => new()
    {
        Ids = [.. token.Ids],
        Offsets = [.. new TextSpan[token.Ids.Count]],
        TypeId = typeId,
        IsAdded = true,
    };

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "TemplateProcessing");
        WriteTemplate(json, "single", single);
        WriteTemplate(json, "pair", pair);
        json.WriteStartObject("special_tokens");
        foreach (var (name, token) in tokens.OrderBy(entry => entry.Key, StringComparer.Ordinal))
        {
            json.WriteStartObject(name);
            json.WriteString("id", name);
            json.WriteStartArray("ids");
            foreach (int id in token.Ids)
                json.WriteNumberValue(id);
            json.WriteEndArray();
            json.WriteStartArray("tokens");
            foreach (string spelling in token.Tokens)
                json.WriteStringValue(spelling);
            json.WriteEndArray();
            json.WriteEndObject();
        }
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void WriteTemplate(Utf8JsonWriter json, string name, IReadOnlyList<TemplatePlace> places)
    {
        json.WriteStartArray(name);
        foreach (var place in places)
        {
            json.WriteStartObject();
            json.WriteStartObject(place.SpecialToken is null ? "Sequence" : "SpecialToken");
            json.WriteString("id", place.SpecialToken ?? (place.Text == 0 ? "A" : "B"));
            json.WriteNumber("type_id", place.TypeId);
            json.WriteEndObject();
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }
}
