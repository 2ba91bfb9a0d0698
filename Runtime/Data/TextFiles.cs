using System.Text;
using System.Text.Unicode;
using Legato.Runtime.Checkpoints;

namespace Legato.Runtime.Data;

/// <summary>
/// Training text: a UTF-8 file, or a folder whose .txt files (those of folders within it too) are read in the order of
/// their paths. Every file is one document. Where other files are asked for, they have another extension.
/// </summary>
public sealed class TextFiles
{
    /// <summary>Bytes that are tokenised at a time; a document is cut between lines.</summary>
    private const int PieceBytes = 16 << 20;

    private TextFiles(IReadOnlyList<string> paths, int leftOut) => (Paths, LeftOut) = (paths, leftOut);

    public IReadOnlyList<string> Paths { get; }

    /// <summary>How many files of the folders have another extension, and are not read.</summary>
    public int LeftOut { get; }

    /// <exception cref="LegatoException">A path does not exist, or a folder has no .txt file.</exception>
    public static TextFiles Find(params IEnumerable<string> paths) => Find(paths, ".txt");

    /// <param name="extension">What files of a folder end in: ".jsonl".</param>
    /// <exception cref="LegatoException">A path does not exist, or a folder has no such file.</exception>
    public static TextFiles Find(IEnumerable<string> paths, string extension)
    {
        var files = new List<string>();
        int leftOut = 0;
        foreach (string path in paths)
        {
            if (File.Exists(path))
                files.Add(path);
            else if (Directory.Exists(path))
                files.AddRange(InFolder(path, extension, ref leftOut));
            else
                throw new LegatoException("there is no such file or folder", path, $"check the path; a file is meant, or a folder with {extension} files");
        }
        return new TextFiles(files, leftOut);
    }

    /// <summary>
    /// Hands a document over piece by piece, without a byte order mark. Pieces end at line ends and are whole characters.
    /// </summary>
    /// <exception cref="LegatoException">The file can't be read, is empty, or isn't UTF-8 text.</exception>
    public static void ForEachPiece(string path, PieceReader piece)
    {
        using var file = new MappedFile(path);
        long start = file.Length >= 3 && file.Span(0, 3).SequenceEqual(Encoding.UTF8.Preamble) ? 3 : 0;
        if (start == file.Length)
            throw new LegatoException("the file is empty", path, "give a file with text in it");
        while (start < file.Length)
        {
            int length = PieceLength(file, start);
            ReadOnlySpan<byte> bytes = file.Span(start, length);
            CheckText(bytes, start, path);
            piece(bytes);
            start += length;
        }
    }

    /// <summary>Takes a piece of a document.</summary>
    public delegate void PieceReader(ReadOnlySpan<byte> utf8);

    private static string[] InFolder(string folder, string extension, ref int leftOut)
    {
        try
        {
            string[] all = Directory.GetFiles(folder, "*", SearchOption.AllDirectories);
            string[] files = [.. all.Where(file => file.EndsWith(extension, StringComparison.OrdinalIgnoreCase)).Order(StringComparer.Ordinal)];
            leftOut += all.Length - files.Length;
            return files.Length > 0
                ? files
                : throw new LegatoException($"the folder holds no {extension} file", folder, $"give a folder with {extension} files, or the files themselves");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LegatoException($"the folder can't be read: {FileHindrance.Of(e)}", folder, "check that you may read it", e);
        }
    }

    // Between two lines, where both neighbours are no white space, pre-tokenizers cut anyway: tokens stay what they are.
    private static int PieceLength(MappedFile file, long start)
    {
        long rest = file.Length - start;
        if (rest <= PieceBytes)
            return (int)rest;
        ReadOnlySpan<byte> bytes = file.Span(start, PieceBytes);
        for (int i = bytes.Length - 2; i > 0; i--)
            if (bytes[i] == '\n' && !IsSpace(bytes[i - 1]) && !IsSpace(bytes[i + 1]))
                return i + 1;
        for (int i = bytes.Length - 1; i > 0; i--)
            if ((bytes[i] & 0xC0) != 0x80)
                return i;
        return bytes.Length;
    }

    private static bool IsSpace(byte b) => b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t';

    /// <summary>Refuses bytes that aren't UTF-8 text.</summary>
    /// <param name="start">Where they stand in the file.</param>
    internal static void CheckText(ReadOnlySpan<byte> bytes, long start, string path)
    {
        int zero = bytes.IndexOf((byte)0);
        if (zero >= 0)
            throw new LegatoException($"the file is binary: byte {start + zero} is zero", path, "give text in UTF-8");
        if (Utf8.IsValid(bytes))
            return;
        int at = 0;
        while (Rune.DecodeFromUtf8(bytes[at..], out _, out int consumed) == System.Buffers.OperationStatus.Done)
            at += consumed;
        throw new LegatoException($"the file is no UTF-8 text: byte {start + at} is 0x{bytes[at]:X2}", path, "convert the file to UTF-8");
    }
}
