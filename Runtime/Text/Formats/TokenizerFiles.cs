using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Formats;

/// <summary>Finds out what kind of tokenizer a path holds, and reads or writes it.</summary>
internal static class TokenizerFiles
{
    // A file larger than this is no tokenizer, and would only fill memory.
    private const long MaximumBytes = 1L << 30;

    public static Tokenizer Load(string path)
    {
        try
        {
            if (Directory.Exists(path))
                return LoadFolder(path);
            if (!File.Exists(path))
                throw new LegatoException("there is no tokenizer here", path, "give a tokenizer file or a folder that holds one");
            return LoadFile(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new LegatoException("the tokenizer can't be read: " + error.Message, path, null, error);
        }
    }

    public static void Save(Tokenizer tokenizer, string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
            WriteAtomically(Path.Combine(folder, "tokenizer.json"), TokenizerJsonWriter.Write(tokenizer.Definition));
            WriteAtomically(Path.Combine(folder, TokenizerConfig.FileName), TokenizerConfig.Write(tokenizer.Definition));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new LegatoException("the tokenizer can't be written: " + error.Message, folder, null, error);
        }
    }

    private static Tokenizer LoadFolder(string folder)
    {
        foreach (string name in (ReadOnlySpan<string>)["tokenizer.json"])
            if (File.Exists(Path.Combine(folder, name)))
                return LoadFile(Path.Combine(folder, name));
        throw new LegatoException("the folder holds no tokenizer", folder, "it needs a tokenizer.json");
    }

    private static Tokenizer LoadFile(string path)
    {
        var definition = TokenizerJsonReader.Read(ReadAll(path), path);
        return new Tokenizer(TokenizerConfig.Complete(definition, Path.GetDirectoryName(Path.GetFullPath(path))!));
    }

    private static byte[] ReadAll(string path) => new FileInfo(path).Length <= MaximumBytes
        ? File.ReadAllBytes(path)
        : throw new LegatoException("the file is too large for a tokenizer", path, "tokenizers have less than a gigabyte");

    private static void WriteAtomically(string path, byte[] content)
    {
        string temporary = path + ".tmp";
        using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write))
        {
            stream.Write(content);
            stream.Flush(flushToDisk: true);
        }
        File.Move(temporary, path, overwrite: true);
    }
}
