using System.Buffers;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Text;

namespace Legato.Runtime.Data;

/// <summary>A long row of tokens, mapped from a token file or held in memory.</summary>
public sealed class TokenData : IDisposable
{
    private readonly MappedFile? file;
    private readonly int[]? held;
    private readonly TokenFileHeader header;

    private TokenData(MappedFile? file, int[]? held, TokenFileHeader header, string? text = null) =>
        (this.file, this.held, this.header, Text) = (file, held, header, text ?? "the data");

    /// <summary>What errors call the text that the tokens were made of.</summary>
    public string Text { get; }

    /// <summary>Tokens.</summary>
    public long Count => header.Count;

    /// <summary>Size of the vocabulary that the tokens come from.</summary>
    public long Vocabulary => header.Vocabulary;

    /// <summary>The <see cref="Tokenizer.Hash"/> of the tokenizer that made them.</summary>
    public string TokenizerHash => header.TokenizerHash;

    /// <summary>SHA-256 of the tokens: the identity of the data.</summary>
    public string Checksum => header.Checksum;

    /// <summary>Opens a token file.</summary>
    /// <param name="text">What errors are to call the text that it was made of: its file, where that is known.</param>
    /// <exception cref="LegatoException">It is missing, or no sound token file.</exception>
    public static TokenData Open(string path, string? text = null)
    {
        var file = new MappedFile(path);
        try
        {
            int length = (int)Math.Min(TokenFileHeader.Size, file.Length);
            return new TokenData(file, null, TokenFileHeader.Read(length == 0 ? default : file.Span(0, length), file.Length, path), text);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Opens a token file that was written a while ago, after all of it and of its text was read and their checksums compared.</summary>
    /// <param name="documents">The files of its text, wherever they lie now.</param>
    /// <param name="text">As of <see cref="Open"/>.</param>
    /// <exception cref="LegatoException">It is missing, no sound token file, not what was written, or of another text.</exception>
    public static TokenData OpenVerified(string path, IEnumerable<string> documents, string? text = null)
    {
        TokenData data = Open(path, text);
        try
        {
            data.Verify(data.file!);
            data.RequireText(data.file!, documents);
            return data;
        }
        catch
        {
            data.Dispose();
            throw;
        }
    }

    /// <summary>Tokens of a text, in memory.</summary>
    /// <exception cref="LegatoException">The text has no tokens.</exception>
    public static TokenData Of(string text, Tokenizer tokenizer)
    {
        var tokens = new ArrayBufferWriter<int>(text.Length);
        tokenizer.EncodeUtf8(Encoding.UTF8.GetBytes(text), tokens);
        return Of(tokens.WrittenSpan, tokenizer.VocabularySize, tokenizer.Hash);
    }

    /// <summary>Tokens that are at hand.</summary>
    public static TokenData Of(ReadOnlySpan<int> tokens, long vocabulary, string tokenizerHash)
    {
        string checksum = Convert.ToHexStringLower(SHA256.HashData(MemoryMarshal.AsBytes(tokens)));
        return new TokenData(null, tokens.ToArray(), new TokenFileHeader(4, vocabulary, tokens.Length, tokenizerHash, checksum, null));
    }

    /// <summary>Copies the tokens from <paramref name="start"/> on.</summary>
    public void Read(long start, Span<int> target)
    {
        if (held is not null)
        {
            held.AsSpan((int)start, target.Length).CopyTo(target);
            return;
        }
        ReadOnlySpan<byte> bytes = file!.Span(TokenFileHeader.Size + start * header.Width, target.Length * header.Width);
        if (header.Width == 4)
        {
            MemoryMarshal.Cast<byte, int>(bytes).CopyTo(target);
            return;
        }
        ReadOnlySpan<ushort> narrow = MemoryMarshal.Cast<byte, ushort>(bytes);
        for (int i = 0; i < target.Length; i++)
            target[i] = narrow[i];
    }

    private void Verify(MappedFile file)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        const int piece = 16 << 20;
        for (long start = TokenFileHeader.Size; start < file.Length; start += piece)
            hash.AppendData(file.Span(start, (int)Math.Min(piece, file.Length - start)));
        if (Convert.ToHexStringLower(hash.GetHashAndReset()) != header.Checksum)
            throw new LegatoException("the token file is damaged: its checksum differs", file.Path, "remove it: training makes the tokens of its text anew");
    }

    private void RequireText(MappedFile file, IEnumerable<string> documents)
    {
        if (header.TextChecksum is { } then && then != FileChecksum.Of(documents))
            throw new LegatoException(
                "the text isn't the one that the run's tokens were made of", Text,
                $"put it back as it was, or begin a new run; should it be as it was, remove {file.Path}: training makes the tokens of its text anew");
    }

    public void Dispose() => file?.Dispose();
}
