using System.IO.Compression;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Data;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PostProcessors;

namespace Legato.Runtime.Text.Formats;

/// <summary>Finds out what kind of tokenizer a path holds, and reads or writes it.</summary>
internal static class TokenizerFiles
{
    // A file larger than this is no tokenizer, and would only fill memory.
    private const int MaximumBytes = 1 << 30;

    // What a folder may hold, in the order of preference.
    private static readonly string[] Names =
        ["tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "encoder.json", "vocab.txt", "tokenizer.json.gz"];

    // What else it may hold, if only one.
    private static readonly string[] Patterns = ["*.tiktoken", "*.tiktoken.gz", "*.model", Gguf];

    private const string Gguf = "*.gguf";

    // What completes a vocabulary.
    private static readonly string[] Beside =
    [
        "merges.txt", "vocab.bpe", TokenizerConfig.FileName, "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
        Path.Combine("additional_chat_templates", "*.jinja"),
    ];

    /// <summary>Whether a folder holds a vocabulary of a kind that is read; which one is meant may yet be open.</summary>
    public static bool IsIn(string folder) => Found(folder, [.. Names, .. Patterns]).Any();

    /// <summary>The files of a folder that hold its tokenizer and its chat templates, as paths within it. A GGUF file isn't one: it holds weights too.</summary>
    public static IReadOnlyList<string> In(string folder) =>
        [.. Found(folder, [.. Names, .. Patterns.Where(pattern => pattern != Gguf), .. Beside]).Select(file => Path.GetRelativePath(folder, file)).Distinct().Order(StringComparer.Ordinal)];

    private static IEnumerable<string> Found(string folder, IEnumerable<string> patterns) =>
        from pattern in patterns
        let place = Path.GetDirectoryName(Path.Combine(folder, pattern))!
        where Directory.Exists(place)
        from file in Directory.EnumerateFiles(place, Path.GetFileName(pattern))
        select file;

    public static Tokenizer Load(string path) => Guard(path, () => LoadFile(FileOf(path), inFolder: Directory.Exists(path)));

    /// <param name="specialTokens">Null: those of the known vocabulary of that size, if there is one.</param>
    public static Tokenizer LoadRanks(string path, SplitPattern pattern, IReadOnlyDictionary<string, int>? specialTokens) => Guard(path, () =>
    {
        string file = FileOf(path);
        byte[] content = ReadAll(file);
        return LooksLikeRanks(content)
            ? new Tokenizer(RankFileReader.Read(content, pattern, specialTokens, file))
            : throw new LegatoException("this is no rank file, and only those lack a pattern", file, "leave the pattern out, or give a rank file");
    });

    public static void Save(Tokenizer tokenizer, string folder) => AtomicWrite.Into(folder, place =>
    {
        Write(Path.Combine(place, "tokenizer.json"), TokenizerJsonWriter.Write(tokenizer.Definition));
        Write(Path.Combine(place, TokenizerConfig.FileName), TokenizerConfig.Write(tokenizer.Definition));
    });

    private static void Write(string path, byte[] content) => AtomicWrite.File(path, stream => stream.Write(content));

    private static Tokenizer Guard(string path, Func<Tokenizer> action)
    {
        try
        {
            return action();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new LegatoException("the tokenizer can't be read: it may be damaged, or its permissions are in the way", path,
                "check that it is whole and that you may read it", error);
        }
    }

    private static string FileOf(string path) => Directory.Exists(path) ? FileIn(path)
        : File.Exists(path) ? path
        : throw new LegatoException("there is no such file or folder", path, "give a tokenizer's file, or a folder that holds one");

    private static string FileIn(string folder)
    {
        foreach (string name in Names)
            if (File.Exists(Path.Combine(folder, name)))
                return Path.Combine(folder, name);
        string[] found = [.. Found(folder, Patterns).Order(StringComparer.Ordinal)];
        return found switch
        {
            [var only] => only,
            [] => throw new LegatoException("the folder holds no tokenizer", folder,
                "it needs a tokenizer.json, a tokenizer.model, vocab.json with merges.txt, a vocab.txt, a rank file or a GGUF file"),
            _ => throw new LegatoException($"the folder holds several tokenizers: {string.Join(", ", found.Take(5).Select(Path.GetFileName))}"
                + (found.Length > 5 ? $" and {found.Length - 5} more" : ""), folder, "give the path of the file that is meant"),
        };
    }

    private static Tokenizer LoadFile(string path, bool inFolder)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (IsGguf(path))
            return new Tokenizer(TokenizerConfig.ByCustom(GgufTokenizerReader.Read(path)));
        var definition = Read(ReadAll(path), path, folder);
        definition = TokenizerConfig.Complete(definition, folder);
        return new Tokenizer(inFolder && definition.Conventions.SentencePieceRules ? WithBegin(definition, folder) : definition);
    }

    private static TokenizerDefinition Read(byte[] content, string path, string folder)
    {
        string name = Path.GetFileName(path);
        if (name.EndsWith(".gz", StringComparison.OrdinalIgnoreCase))
            name = name[..^3];
        if (content.AsSpan().TrimStart("\uFEFF \t\r\n"u8) is [(byte)'{', ..])
            return IsWordMap(name) ? ReadGpt2(content, path, folder) : TokenizerJsonReader.Read(content, path);
        if (content.Length == 0)
            throw new LegatoException("the file is empty", path, "copy the tokenizer again");
        if (name is "merges.txt" or "vocab.bpe")
            return ReadGpt2(ReadAll(Sibling(folder, path, "vocab.json", "encoder.json")), path, folder);
        if (name.EndsWith(".txt", StringComparison.OrdinalIgnoreCase))
            return BertVocabularyReader.Read(content, TokenizerConfig.Lowercases(folder), path);
        if (LooksLikeRanks(content))
            return RankFileReader.Read(content, path);
        return SentencePieceModel.LooksLike(content)
            ? SentencePieceReader.Read(content, path)
            : throw new LegatoException("the file is no tokenizer of a kind that Legato reads", path,
                "give a tokenizer.json, a SentencePiece .model, a tiktoken rank file, a vocab.txt, a vocab.json with its merges, or a GGUF file");
    }

    private static bool IsWordMap(string name) => name is "vocab.json" or "encoder.json";

    private static TokenizerDefinition ReadGpt2(byte[] vocabulary, string path, string folder)
    {
        string merges = Sibling(folder, path, "merges.txt", "vocab.bpe");
        return Gpt2VocabularyReader.Read(vocabulary, ReadAll(merges), path, merges);
    }

    private static string Sibling(string folder, string path, params ReadOnlySpan<string> names)
    {
        foreach (string name in names)
            if (File.Exists(Path.Combine(folder, name)))
                return Path.Combine(folder, name);
        throw new LegatoException("the other half of this vocabulary is missing", path, $"put {string.Join(" or ", names.ToArray())} beside it");
    }

    // Llama 3's tokenizer.model is a rank file, and not a protocol buffer.
    private static bool LooksLikeRanks(ReadOnlySpan<byte> content)
    {
        int end = content.IndexOf((byte)'\n');
        var line = end < 0 ? content : content[..end];
        int space = line.IndexOf((byte)' ');
        return space > 0 && line[..space].IndexOfAnyExcept(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="u8) < 0;
    }

    public static bool IsGguf(string path)
    {
        Span<byte> head = stackalloc byte[4];
        using var stream = File.OpenRead(path);
        return stream.ReadAtLeast(head, 4, throwOnEndOfStream: false) == 4 && head.SequenceEqual("GGUF"u8);
    }

    // Models of the LLaMA line are fed a begin token; their .model file doesn't say so, their configuration does.
    private static TokenizerDefinition WithBegin(TokenizerDefinition definition, string folder)
    {
        if (definition.PostProcessor is not null || definition.Names.BeginOfSequence is not { } name
            || definition.Model.Vocabulary.IdOf(name) is not int id || !TokenizerConfig.AddsBegin(folder))
            return definition;
        return definition with { PostProcessor = SequenceFrame.Make(new FrameToken(name, id), null) };
    }

    private static byte[] ReadAll(string path)
    {
        byte[] content = EndlessFile.ReadWithin(path, MaximumBytes)
            ?? throw new LegatoException("the file is too large for a tokenizer", path, "tokenizers have less than a gigabyte");
        return content is [0x1F, 0x8B, ..] ? Inflate(content, path) : content;
    }

    private static byte[] Inflate(byte[] content, string path)
    {
        using var inflated = new MemoryStream();
        using var stream = new GZipStream(new MemoryStream(content), CompressionMode.Decompress);
        var buffer = new byte[1 << 16];
        for (int read; (read = stream.Read(buffer)) > 0;)
        {
            inflated.Write(buffer, 0, read);
            if (inflated.Length > MaximumBytes)
                throw new LegatoException("the file is too large for a tokenizer", path, "tokenizers have less than a gigabyte");
        }
        return inflated.ToArray();
    }
}
