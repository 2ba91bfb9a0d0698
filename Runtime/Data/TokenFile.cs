using System.Buffers;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Text;

namespace Legato.Runtime.Data;

/// <summary>Writes token files: text is read once, tokenised, and mapped into memory ever after.</summary>
public static class TokenFile
{
    /// <summary>
    /// Tokenises documents one after another, each followed by the tokenizer's end-of-sequence token where it has one.
    /// </summary>
    /// <exception cref="LegatoException">A document can't be read or isn't text, or the file can't be written.</exception>
    public static void Write(string path, TextFiles documents, Tokenizer tokenizer) => AtomicWrite.File(path, stream =>
    {
        int width = tokenizer.VocabularySize <= 1 << 16 ? 2 : 4;
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var tokens = new ArrayBufferWriter<int>();
        long count = 0;
        stream.Write(new byte[TokenFileHeader.Size]);
        foreach (string document in documents.Paths)
        {
            TextFiles.ForEachPiece(document, piece =>
            {
                tokenizer.EncodeUtf8(piece, tokens);
                count += Flush(tokens, width, stream, hash);
            });
            if (tokenizer.EndOfSequenceId is { } end)
            {
                tokens.Write([end]);
                count += Flush(tokens, width, stream, hash);
            }
        }
        var header = new TokenFileHeader(width, tokenizer.VocabularySize, count, tokenizer.Hash, Convert.ToHexStringLower(hash.GetHashAndReset()));
        Span<byte> bytes = stackalloc byte[TokenFileHeader.Size];
        header.Write(bytes);
        stream.Position = 0;
        stream.Write(bytes);
    });

    private static int Flush(ArrayBufferWriter<int> tokens, int width, Stream stream, IncrementalHash hash)
    {
        int count = tokens.WrittenCount;
        byte[] bytes = ArrayPool<byte>.Shared.Rent(count * width);
        Span<byte> narrow = bytes.AsSpan(0, count * width);
        if (width == 4)
            MemoryMarshal.AsBytes(tokens.WrittenSpan).CopyTo(narrow);
        else
            Narrow(tokens.WrittenSpan, MemoryMarshal.Cast<byte, ushort>(narrow));
        stream.Write(narrow);
        hash.AppendData(narrow);
        ArrayPool<byte>.Shared.Return(bytes);
        tokens.ResetWrittenCount();
        return count;
    }

    private static void Narrow(ReadOnlySpan<int> tokens, Span<ushort> target)
    {
        for (int i = 0; i < tokens.Length; i++)
            target[i] = (ushort)tokens[i];
    }
}
