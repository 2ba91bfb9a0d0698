using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PostProcessors;

namespace Legato.Runtime.Text.Formats;

/// <summary>Reads the element "post_processor" of tokenizer.json.</summary>
internal static class PostProcessorReader
{
    public static IPostProcessor Read(JsonValue stage) => stage["type"].String() switch
    {
        "ByteLevel" => new ByteLevelPostProcessor(
            stage.Bool("add_prefix_space", absent: true), stage.Bool("trim_offsets", absent: true), stage.Bool("use_regex", absent: true)),
        "TemplateProcessing" => ReadTemplate(stage),
        "BertProcessing" => new BertPostProcessor(ReadToken(stage["sep"]), ReadToken(stage["cls"])),
        "RobertaProcessing" => new RobertaPostProcessor(ReadToken(stage["sep"]), ReadToken(stage["cls"]),
            stage.Bool("trim_offsets", absent: true), stage.Bool("add_prefix_space", absent: true)),
        "Sequence" => ReadSequence(stage["processors"]),
        var other => throw stage.Wrong($"has the unknown type '{other}'"),
    };

    // Two frames around each other would need segments within segments, and no shipped file has them.
    private static SequencePostProcessor ReadSequence(JsonValue processors)
    {
        var stages = processors.Items().Select(Read).ToList();
        if (stages.FindIndex(stage => stage is not ByteLevelPostProcessor) is var frame and >= 0
            && stages.FindLastIndex(stage => stage is not ByteLevelPostProcessor) != frame)
            throw processors.Wrong("frames the texts twice");
        return new SequencePostProcessor(stages);
    }

    private static FrameToken ReadToken(JsonValue token)
    {
        var parts = token.Items();
        return parts.Count == 2 ? new FrameToken(parts[0].String(), parts[1].Int()) : throw token.Wrong("must be a spelling and an id");
    }

    private static TemplatePostProcessor ReadTemplate(JsonValue stage)
    {
        var tokens = new Dictionary<string, TemplateToken>(StringComparer.Ordinal);
        foreach (var (name, token) in stage["special_tokens"].Members())
            tokens[name] = new TemplateToken(
                [.. token["ids"].Items().Select(id => id.Int())], [.. token["tokens"].Items().Select(text => text.String())]);
        return new TemplatePostProcessor(ReadPlaces(stage["single"], tokens), ReadPlaces(stage["pair"], tokens), tokens);
    }

    private static List<TemplatePlace> ReadPlaces(JsonValue template, Dictionary<string, TemplateToken> tokens)
    {
        var places = new List<TemplatePlace>();
        foreach (var item in template.Items())
        {
            if (item.Optional("Sequence") is { } sequence)
            {
                int text = sequence["id"].String() switch
                {
                    "A" => 0,
                    "B" => 1,
                    var other => throw sequence.Wrong($"names the unknown text '{other}'"),
                };
                places.Add(new TemplatePlace(text, null, sequence["type_id"].Int()));
                continue;
            }
            var special = item["SpecialToken"];
            string name = special["id"].String();
            if (!tokens.ContainsKey(name))
                throw special.Wrong($"names the token '{name}', which special_tokens doesn't have");
            places.Add(new TemplatePlace(-1, name, special["type_id"].Int()));
        }
        if (places.GroupBy(place => place.Text).Any(text => text.Key >= 0 && text.Count() > 1))
            throw template.Wrong("has the same text twice");
        return places;
    }
}
