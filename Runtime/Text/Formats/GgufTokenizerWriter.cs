using System.Text;
using System.Text.Json;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Formats;

/// <summary>
/// Puts a tokenizer into GGUF's metadata: whole, as its tokenizer.json, and where GGUF has words for it, which it has for
/// byte-level merges over a known split, also in those.
/// </summary>
internal static class GgufTokenizerWriter
{
    private const int Normal = 1, Control = 3, UserDefined = 4, Unused = 5;

    private static readonly string[] KnownSplits = ["gpt-2", "llama-bpe", "qwen2", "gpt-4o", "smollm"];

    public static IEnumerable<KeyValuePair<string, object>> Write(TokenizerDefinition definition)
    {
        var entries = new List<KeyValuePair<string, object>>
        {
            new(GgufTokenizerReader.WholeKey, Encoding.UTF8.GetString(TokenizerJsonWriter.Write(definition))),
        };
        AddTemplates(entries, definition.ChatTemplates);
        if (definition.Conventions.MergesTieByToken)
            entries.Add(new(GgufTokenizerReader.TieKey, true));
        if (definition.Conventions.SentencePieceRules)
            entries.Add(new(GgufTokenizerReader.RulesKey, true));
        if (definition.Model is BpeModel { Options: { ContinuingSubwordPrefix: null, EndOfWordSuffix: null, ByteFallback: false } } model
            && KnownSplits.FirstOrDefault(name => Splits(definition, name)) is { } split)
            AddMerges(entries, definition, model, split);
        Vocabulary vocabulary = definition.Model.Vocabulary;
        int? Id(string? token) => definition.AddedTokens.FirstOrDefault(t => t.Content == token)?.Id ?? vocabulary.IdOf(token);
        foreach ((string key, string? token) in new[]
        {
            ("bos_token_id", definition.Names.BeginOfSequence), ("eos_token_id", definition.Names.EndOfSequence),
            ("unknown_token_id", definition.Names.Unknown), ("padding_token_id", definition.Names.Padding),
        })
            if (Id(token) is { } id)
                entries.Add(new(GgufTokenizerReader.Prefix + key, (uint)id));
        return entries;
    }

    private static void AddTemplates(List<KeyValuePair<string, object>> entries, IReadOnlyDictionary<string, string> templates)
    {
        foreach (var (name, source) in templates)
            entries.Add(new(name == Chat.ChatTemplates.Default ? GgufTokenizerReader.TemplateKey : $"{GgufTokenizerReader.TemplateKey}.{name}", source));
        string[] named = [.. templates.Keys.Where(name => name != Chat.ChatTemplates.Default)];
        if (named.Length > 0)
            entries.Add(new(GgufTokenizerReader.TemplateNamesKey, named));
    }

    private static void AddMerges(List<KeyValuePair<string, object>> entries, TokenizerDefinition definition, BpeModel model, string split)
    {
        Vocabulary vocabulary = model.Vocabulary;
        int size = definition.AddedTokens.Aggregate(vocabulary.Size, (most, token) => Math.Max(most, token.Id + 1));
        var added = definition.AddedTokens.ToDictionary(token => token.Id);
        var tokens = new string[size];
        var kinds = new int[size];
        for (int id = 0; id < size; id++)
            (tokens[id], kinds[id]) = added.TryGetValue(id, out AddedToken? token)
                ? (token.Content, token.Special ? Control : UserDefined)
                : vocabulary.TokenOf(id) is { } text ? (text, Normal) : ($"[UNUSED{id}]", Unused);
        entries.Add(new(GgufTokenizerReader.Prefix + "model", "gpt2"));
        entries.Add(new(GgufTokenizerReader.Prefix + "pre", split));
        entries.Add(new(GgufTokenizerReader.Prefix + "tokens", tokens));
        entries.Add(new(GgufTokenizerReader.Prefix + "token_type", kinds));
        entries.Add(new(GgufTokenizerReader.Prefix + "merges", model.Merges.Entries().OrderBy(merge => merge.Rank)
            .Select(merge => $"{vocabulary.TokenOf(merge.Left)} {vocabulary.TokenOf(merge.Right)}").ToArray()));
    }

    private static bool Splits(TokenizerDefinition definition, string name) =>
        definition.Normalizer is null && definition.PreTokenizer is { } splitter
        && Text(splitter) == Text(GgufTokenizerReader.Splitter(name, name));

    private static string Text(IStage stage)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
            stage.Write(json);
        return Encoding.UTF8.GetString(stream.ToArray());
    }
}
