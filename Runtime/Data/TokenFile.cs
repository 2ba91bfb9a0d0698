using System.Buffers;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Text;
using Legato.Runtime.Text.Chat;

namespace Legato.Runtime.Data;

/// <summary>Writes token files: text is read once, tokenised, and mapped into memory ever after.</summary>
public static class TokenFile
{
    /// <summary>
    /// Tokenises documents one after another, each followed by the tokenizer's end-of-sequence token where it has one.
    /// </summary>
    /// <param name="ends">
    /// Beside the end-of-sequence token, what ends a document within a file. Where this is given, be it empty, every
    /// document's beginning is marked (<see cref="TokenMarks"/>).
    /// </param>
    /// <returns>How many documents were marked.</returns>
    /// <exception cref="LegatoException">A document can't be read or isn't text, or the file can't be written.</exception>
    /// <exception cref="OperationCanceledException">Cancellation was asked for; no file is left.</exception>
    public static long Write(
        string path, TextFiles documents, Tokenizer tokenizer, IReadOnlyList<int>? ends = null, CancellationToken cancellation = default)
    {
        int[] known = [.. ends ?? [], .. End(tokenizer)];
        long marked = 0;
        Write(path, documents.Paths, tokenizer, ends is not null, file =>
        {
            foreach (string document in documents.Paths)
            {
                bool begins = true;
                TextFiles.ForEachPiece(document, piece =>
                {
                    cancellation.ThrowIfCancellationRequested();
                    tokenizer.EncodeUtf8(piece, file.Tokens);
                    Flush();
                });
                file.Tokens.Write(End(tokenizer));
                Flush();

                void Flush()
                {
                    if (ends is not null)
                        marked += TokenMarks.MarkDocuments(file.Written, known, ref begins);
                    file.Flush();
                }
            }
        });
        return marked;
    }

    /// <summary>Tokenises conversations: a document each, in which all that the assistant didn't write is given.</summary>
    /// <returns>How many tokens the assistant wrote.</returns>
    /// <exception cref="LegatoException">A line is no conversation, the template refuses one, or the file can't be written.</exception>
    /// <exception cref="OperationCanceledException">Cancellation was asked for; no file is left.</exception>
    public static long Write(
        string path, Conversations conversations, Tokenizer tokenizer, ChatTemplates? templates = null, CancellationToken cancellation = default)
    {
        var encoder = new ChatEncoder(tokenizer, templates);
        long told = 0;
        Write(path, conversations.Paths, tokenizer, isMarked: true, file => conversations.ForEach(request =>
        {
            cancellation.ThrowIfCancellationRequested();
            ChatTokens chat = encoder.EncodeForTraining(request);
            for (int i = 0; i < chat.Ids.Length; i++)
            {
                int marks = (i == 0 ? TokenMarks.Begins : 0) | (chat.AssistantMask[i] ? 0 : TokenMarks.Given);
                file.Tokens.Write([chat.Ids[i] | marks]);
                told += chat.AssistantMask[i] ? 1 : 0;
            }
            file.Flush();
        }));
        return told;
    }

    private static int[] End(Tokenizer tokenizer) => tokenizer.EndOfSequenceId is { } end ? [end] : [];

    private static void Write(string path, IEnumerable<string> documents, Tokenizer tokenizer, bool isMarked, Action<Contents> fill) => AtomicWrite.File(path, stream =>
    {
        // Before they are read for their tokens: what changes meanwhile is another text to a resumed run.
        string text = FileChecksum.Of(documents);
        int width = tokenizer.VocabularySize <= 1 << 16 && !isMarked ? 2 : 4;
        using var contents = new Contents(stream, width);
        stream.Write(new byte[TokenFileHeader.Size]);
        fill(contents);
        var header = new TokenFileHeader(width, tokenizer.VocabularySize, contents.Count, tokenizer.Hash, contents.Checksum(), text);
        Span<byte> bytes = stackalloc byte[TokenFileHeader.Size];
        header.Write(bytes);
        stream.Position = 0;
        stream.Write(bytes);
    });

    /// <summary>The tokens behind the header.</summary>
    private sealed class Contents(Stream stream, int width) : IDisposable
    {
        private readonly IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

        /// <summary>What is to be written next.</summary>
        public ArrayBufferWriter<int> Tokens { get; } = new();

        public Span<int> Written => MemoryMarshal.AsMemory(Tokens.WrittenMemory).Span;

        public long Count { get; private set; }

        public string Checksum() => Convert.ToHexStringLower(hash.GetHashAndReset());

        public void Flush()
        {
            int count = Tokens.WrittenCount;
            byte[] bytes = ArrayPool<byte>.Shared.Rent(count * width);
            Span<byte> narrow = bytes.AsSpan(0, count * width);
            if (width == 4)
                MemoryMarshal.AsBytes(Tokens.WrittenSpan).CopyTo(narrow);
            else
                Narrow(Tokens.WrittenSpan, MemoryMarshal.Cast<byte, ushort>(narrow));
            stream.Write(narrow);
            hash.AppendData(narrow);
            ArrayPool<byte>.Shared.Return(bytes);
            Tokens.ResetWrittenCount();
            Count += count;
        }

        public void Dispose() => hash.Dispose();

        private static void Narrow(ReadOnlySpan<int> tokens, Span<ushort> target)
        {
            for (int i = 0; i < tokens.Length; i++)
                target[i] = (ushort)tokens[i];
        }
    }
}
