using System.Text;
using Legato.Runtime.Data;
using Legato.Runtime.Text.Chat;

namespace Legato.Runtime.Text.Formats;

/// <summary>Finds the chat templates that a path holds.</summary>
internal static class ChatTemplateFiles
{
    private const string Own = "chat_template.jinja";
    private const string Additional = "additional_chat_templates";
    private const string Extension = ".jinja";

    // In bytes: templates have a million characters at most.
    private const int Longest = 4 << 20;

    public static ChatTemplates Load(string path)
    {
        if (Directory.Exists(path))
            return FromFolder(path);
        if (!File.Exists(path))
            throw new LegatoException("there is no such file or folder", path, "give a Jinja file, a tokenizer_config.json, or a model's folder");
        if (TokenizerFiles.IsGguf(path))
            return Parsed(Tokenizer.Load(path), path);
        if (!path.EndsWith(".json", StringComparison.OrdinalIgnoreCase))
            return Parsed(new Dictionary<string, string> { [ChatTemplates.Default] = Source(path) },
                TokenizerConfig.Tokens(TokenizerConfig.Beside(path, TokenizerConfig.FileName)), path);
        var configured = TokenizerConfig.Templates(path);
        return configured.Count > 0
            ? Parsed(configured, TokenizerConfig.Tokens(path), path)
            : throw new LegatoException("the file holds no chat template", path, "give a tokenizer_config.json that has one, or a Jinja file");
    }

    /// <summary>The templates that lie in a folder as files, over those of its configuration.</summary>
    /// <remarks>Files with a default among them replace the configuration's templates, as in the library that writes them.</remarks>
    public static IReadOnlyDictionary<string, string> InFolder(string folder, IReadOnlyDictionary<string, string> configured)
    {
        var found = new Dictionary<string, string>(StringComparer.Ordinal);
        string own = Path.Combine(folder, Own), additional = Path.Combine(folder, Additional);
        if (File.Exists(own))
            found[ChatTemplates.Default] = Source(own);
        if (Directory.Exists(additional))
            foreach (string file in Directory.GetFiles(additional, "*" + Extension))
                found[Path.GetFileNameWithoutExtension(file)] = Source(file);
        if (!found.ContainsKey(ChatTemplates.Default))
            foreach (var (name, source) in configured)
                found.TryAdd(name, source);
        return found;
    }

    private static ChatTemplates FromFolder(string folder)
    {
        string config = Path.Combine(folder, TokenizerConfig.FileName);
        var sources = InFolder(folder, TokenizerConfig.Templates(config));
        if (sources.Count > 0)
            return Parsed(sources, TokenizerConfig.Tokens(config), folder);
        // A GGUF file holds its own.
        return Directory.GetFiles(folder, "*.gguf").Length > 0
            ? Parsed(Tokenizer.Load(folder), folder)
            : throw new LegatoException("the folder holds no chat template", folder,
                $"it needs a {Own}, or a {TokenizerConfig.FileName} with the member 'chat_template'");
    }

    private static ChatTemplates Parsed(Tokenizer tokenizer, string path) => Located(path, () => ChatTemplates.Of(tokenizer));

    private static ChatTemplates Parsed(
        IReadOnlyDictionary<string, string> sources, IReadOnlyDictionary<string, string> tokens, string path) =>
        Located(path, () => new ChatTemplates(sources, tokens));

    private static ChatTemplates Located(string path, Func<ChatTemplates> parse)
    {
        try
        {
            return parse();
        }
        catch (LegatoException error)
        {
            string where = error is JinjaException { Line: > 0 } jinja ? $"{path}, line {jinja.Line} of the template" : path;
            throw new LegatoException(error.What, where, error.Remedy, error);
        }
    }

    private static string Source(string path)
    {
        byte[] content;
        try
        {
            content = EndlessFile.ReadWithin(path, Longest)
                ?? throw new LegatoException("the file is too large for a chat template", path, "templates have a million characters at most");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new LegatoException("the chat template can't be read", path, "give a file that you may read", error);
        }
        TextFiles.CheckText(content, 0, path);
        string text = Encoding.UTF8.GetString(content.AsSpan().TrimStart(Encoding.UTF8.Preamble));
        return text.Contains("{{", StringComparison.Ordinal) || text.Contains("{%", StringComparison.Ordinal)
            ? text
            : throw new LegatoException("the file is no chat template: it has neither {{ … }} nor {% … %}", path,
                "give a Jinja file, a tokenizer_config.json, or a model's folder");
    }
}
