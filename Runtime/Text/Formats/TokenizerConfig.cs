using System.Text.Encodings.Web;
using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Formats;

/// <summary>tokenizer_config.json: which token plays which part, and the chat template.</summary>
internal static class TokenizerConfig
{
    public const string FileName = "tokenizer_config.json";

    private const string TokensFileName = "special_tokens_map.json";

    // The special tokens that templates may write, by the names of their variables.
    private static readonly string[] TokenNames = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

    private static readonly JsonWriterOptions Options = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Completes a definition by what the files beside it say, and by custom where they say nothing.</summary>
    public static TokenizerDefinition Complete(TokenizerDefinition definition, string folder)
    {
        string config = Path.Combine(folder, FileName);
        if (File.Exists(config))
            definition = JsonValue.Read(File.ReadAllBytes(config), config, root => ReadConventions(root).Apply(definition with
            {
                Names = ReadNames(root, definition.Names),
            }));
        return ByCustom(definition with { ChatTemplates = ChatTemplateFiles.InFolder(folder, Templates(config)) });
    }

    /// <summary>The chat templates of a configuration, by name; none where there is no such file.</summary>
    public static IReadOnlyDictionary<string, string> Templates(string config) => File.Exists(config)
        ? JsonValue.Read(File.ReadAllBytes(config), config, ReadTemplates)
        : new Dictionary<string, string>();

    /// <summary>
    /// The special tokens that a configuration names, or a special_tokens_map.json beside it, by the names of templates' variables.
    /// </summary>
    public static IReadOnlyDictionary<string, string> Tokens(string config)
    {
        var tokens = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (string path in (ReadOnlySpan<string>)[Beside(config, TokensFileName), config])
            if (File.Exists(path))
                JsonValue.Read(File.ReadAllBytes(path), path, root =>
                {
                    foreach (string name in TokenNames)
                        if (ReadName(root, name) is { } spelling)
                            tokens[name] = spelling;
                    return root.IsNull;
                });
        return tokens;
    }

    /// <summary>Whether the configuration says that text is lowered; null when it says nothing.</summary>
    public static bool? Lowercases(string folder) => ReadFlag(folder, "do_lower_case");

    /// <summary>Whether a SentencePiece model in this folder is fed a begin token: as said, or as its architecture has it.</summary>
    public static bool AddsBegin(string folder)
    {
        if (ReadFlag(folder, "add_bos_token") is bool said)
            return said;
        string model = Path.Combine(folder, "config.json");
        return File.Exists(model) && JsonValue.Read(File.ReadAllBytes(model), model, root =>
            root.OptionalString("model_type") is { } type
            && (type.StartsWith("llama", StringComparison.Ordinal) || type.StartsWith("mistral", StringComparison.Ordinal)
                || type.StartsWith("mixtral", StringComparison.Ordinal) || type.StartsWith("gemma", StringComparison.Ordinal)));
    }

    private static bool? ReadFlag(string folder, string name)
    {
        string config = Path.Combine(folder, FileName);
        return File.Exists(config) ? JsonValue.Read(File.ReadAllBytes(config), config, root => root.Optional(name)?.Bool()) : null;
    }

    public static byte[] Write(TokenizerDefinition definition)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, Options))
        {
            json.WriteStartObject();
            WriteName(json, "bos_token", definition.Names.BeginOfSequence);
            WriteName(json, "eos_token", definition.Names.EndOfSequence);
            WriteName(json, "unk_token", definition.Names.Unknown);
            WriteName(json, "pad_token", definition.Names.Padding);
            WriteTemplates(json, definition.ChatTemplates);
            json.WriteBoolean("clean_up_tokenization_spaces", false);
            json.WriteString("tokenizer_class", "PreTrainedTokenizerFast");
            if (definition.Conventions != TokenizerConventions.Standard)
                WriteConventions(json, definition.Conventions);
            json.WriteEndObject();
        }
        return stream.ToArray();
    }

    private static void WriteTemplates(Utf8JsonWriter json, IReadOnlyDictionary<string, string> templates)
    {
        if (templates.Count == 1 && templates.TryGetValue(Chat.ChatTemplates.Default, out string? only))
        {
            json.WriteString("chat_template", only);
            return;
        }
        if (templates.Count == 0)
            return;
        json.WriteStartArray("chat_template");
        foreach (var (name, source) in templates.OrderBy(template => template.Key, StringComparer.Ordinal))
        {
            json.WriteStartObject();
            json.WriteString("name", name);
            json.WriteString("template", source);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    private static void WriteConventions(Utf8JsonWriter json, TokenizerConventions conventions)
    {
        json.WriteStartObject("legato_conventions");
        json.WriteBoolean("merges_tie_by_token", conventions.MergesTieByToken);
        json.WriteBoolean("sentencepiece_rules", conventions.SentencePieceRules);
        json.WriteEndObject();
    }

    private static TokenizerConventions ReadConventions(JsonValue root) => root.Optional("legato_conventions") is { } conventions
        ? new TokenizerConventions(conventions.Bool("merges_tie_by_token"), conventions.Bool("sentencepiece_rules"))
        : TokenizerConventions.Standard;

    private static void WriteName(Utf8JsonWriter json, string name, string? value)
    {
        if (value is not null)
            json.WriteString(name, value);
    }

    private static SpecialTokenNames ReadNames(JsonValue root, SpecialTokenNames names) => new()
    {
        BeginOfSequence = ReadName(root, "bos_token") ?? ReadName(root, "cls_token") ?? names.BeginOfSequence,
        EndOfSequence = ReadName(root, "eos_token") ?? ReadName(root, "sep_token") ?? names.EndOfSequence,
        Unknown = ReadName(root, "unk_token") ?? names.Unknown,
        Padding = ReadName(root, "pad_token") ?? names.Padding,
    };

    // A spelling, or an added token as an object.
    private static string? ReadName(JsonValue root, string name) => root.Optional(name) switch
    {
        null => null,
        { Kind: JsonValueKind.Object } token => token["content"].String(),
        { } token => token.String(),
    };

    /// <summary>Another file of the same folder.</summary>
    public static string Beside(string path, string name) => Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path))!, name);

    // One template, or several with names; "template" in a file that holds nothing else of a configuration.
    private static Dictionary<string, string> ReadTemplates(JsonValue root)
    {
        var templates = new Dictionary<string, string>(StringComparer.Ordinal);
        if ((root.Optional("chat_template") ?? root.Optional("template")) is not { } template)
            return templates;
        switch (template.Kind)
        {
            case JsonValueKind.String:
                templates[Chat.ChatTemplates.Default] = template.String();
                break;
            case JsonValueKind.Object:
                foreach (var (name, source) in template.Members())
                    templates[name] = source.String();
                break;
            default:
                foreach (var named in template.Items())
                    templates[named["name"].String()] = named["template"].String();
                break;
        }
        return templates;
    }

    /// <summary>Fills in the parts that no file names, by the names that the field uses.</summary>
    public static TokenizerDefinition ByCustom(TokenizerDefinition definition) => definition with { Names = CustomNames(definition) };

    private static SpecialTokenNames CustomNames(TokenizerDefinition definition)
    {
        string? First(params string[] names) => names.FirstOrDefault(name =>
            definition.AddedTokens.Any(token => token.Content == name && token.Special)
            || name.StartsWith('<') && definition.Model.Vocabulary.IdOf(name) is not null);
        var known = definition.Names;
        return known with
        {
            BeginOfSequence = known.BeginOfSequence ?? First("<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "[CLS]"),
            EndOfSequence = known.EndOfSequence
                ?? First("</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>", "[SEP]"),
            Unknown = known.Unknown ?? First("<unk>", "[UNK]"),
            Padding = known.Padding ?? First("<pad>", "[PAD]"),
        };
    }
}
