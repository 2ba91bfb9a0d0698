using System.Buffers;
using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Text;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.Scanners;

namespace Legato.Runtime.Text.ByteLevel;

/// <summary>
/// The fast path: byte-level BPE over UTF-8 behind a hand-written scanner. Gives the ids and offsets that the
/// general pipeline would, without building its strings.
/// </summary>
internal sealed class ByteLevelEncoder
{
    private readonly BpeModel model;
    private readonly SplitPattern? pattern;
    private readonly int[] byteIds;
    private readonly int[] tokenLengths;
    private readonly ConcurrentBag<Workspace> workspaces = [];

    /// <param name="model">A model over <see cref="ByteAlphabet"/> that has a token for each byte.</param>
    /// <param name="pattern">How text is split; without a pattern a text is one piece.</param>
    public ByteLevelEncoder(BpeModel model, SplitPattern? pattern)
    {
        this.model = model;
        this.pattern = pattern;
        byteIds = ByteIds(model.Vocabulary)
            ?? throw new LegatoException("a byte has no token of its own", "vocabulary", "check that the file was copied whole");
        tokenLengths = new int[model.Vocabulary.Size];
        for (int id = 0; id < tokenLengths.Length; id++)
            tokenLengths[id] = model.Vocabulary.TokenOf(id)?.Length ?? 0;
    }

    /// <summary>The ids of the 256 single bytes, or null when some byte has none.</summary>
    public static int[]? ByteIds(Vocabulary vocabulary)
    {
        var ids = new int[256];
        Span<char> spelling = stackalloc char[1];
        for (int value = 0; value < 256; value++)
        {
            spelling[0] = ByteAlphabet.CharacterOf((byte)value);
            if (!vocabulary.TryGetId(spelling, out ids[value]))
                return null;
        }
        return ids;
    }

    /// <summary>Encodes UTF-16 text; ill-formed surrogates count as U+FFFD.</summary>
    /// <param name="sourceStart">Where the text stands in its source, for offsets.</param>
    public void Encode(ReadOnlySpan<char> text, int sourceStart, TokenBuffer output)
    {
        var workspace = Rent();
        int first = output.Count;
        byte[] buffer = workspace.BufferFor(Encoding.UTF8.GetMaxByteCount(text.Length));
        int length = Encoding.UTF8.GetBytes(text, buffer);
        Encode(workspace, buffer, length, output);
        workspaces.Add(workspace);
        if (output.WithOffsets)
            AddOffsets(text, sourceStart, output, first);
    }

    /// <summary>Encodes UTF-8 text; ill-formed parts count as U+FFFD. Gives no offsets.</summary>
    public void Encode(ReadOnlySpan<byte> utf8, TokenBuffer output)
    {
        if (!System.Text.Unicode.Utf8.IsValid(utf8))
        {
            Encode(Encoding.UTF8.GetString(utf8), 0, output);
            return;
        }
        var workspace = Rent();
        byte[] buffer = workspace.BufferFor(utf8.Length);
        utf8.CopyTo(buffer);
        Encode(workspace, buffer, utf8.Length, output);
        workspaces.Add(workspace);
    }

    private Workspace Rent() => workspaces.TryTake(out var workspace) ? workspace : new Workspace();

    private void Encode(Workspace workspace, byte[] buffer, int length, TokenBuffer output)
    {
        buffer.AsSpan(length, Runs.Padding).Clear();
        var padded = buffer.AsSpan(0, length + Runs.Padding);
        switch (pattern)
        {
            case SplitPattern.Gpt2: Pieces<Gpt2Scanner>(workspace, padded, output); break;
            case SplitPattern.Cl100k: Pieces<Cl100kScanner<Cl100kVariant>>(workspace, padded, output); break;
            case SplitPattern.Llama3: Pieces<Cl100kScanner<Llama3Variant>>(workspace, padded, output); break;
            case SplitPattern.Qwen2: Pieces<Cl100kScanner<Qwen2Variant>>(workspace, padded, output); break;
            case SplitPattern.O200k: Pieces<O200kScanner>(workspace, padded, output); break;
            default:
                if (length > 0)
                    Piece(padded[..length], output);
                break;
        }
    }

    private void Pieces<TScanner>(Workspace workspace, ReadOnlySpan<byte> padded, TokenBuffer output)
        where TScanner : IPieceScanner
    {
        var cache = workspace.Cache;
        int length = padded.Length - Runs.Padding;
        for (int start = 0; start < length;)
        {
            int end = TScanner.End(padded, start);
            if (end - start > PieceCache.MaximumLength)
                Piece(padded[start..end], output);
            else
                ShortPiece(cache, padded, start, end - start, output);
            start = end;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void ShortPiece(PieceCache cache, ReadOnlySpan<byte> padded, int start, int length, TokenBuffer output)
    {
        var key = PieceCache.KeyOf(ref Unsafe.Add(ref MemoryMarshal.GetReference(padded), start), length);
        ref var entry = ref cache.Slot(key, length);
        if (entry.Key != key || entry.Length != length)
        {
            Miss(ref entry, key, padded.Slice(start, length), output);
            return;
        }
        ref int ids = ref MemoryMarshal.GetReference(output.Reserve(PieceCache.MaximumTokens));
        ids = entry.Token0;
        Unsafe.Add(ref ids, 1) = entry.Token1;
        Unsafe.Add(ref ids, 2) = entry.Token2;
        output.Advance(entry.Count);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Miss(ref PieceCache.Entry entry, Vector128<byte> key, ReadOnlySpan<byte> piece, TokenBuffer output)
    {
        int first = output.Count;
        Piece(piece, output);
        PieceCache.Store(ref entry, key, piece.Length, output.Ids[first..]);
    }

    private void Piece(ReadOnlySpan<byte> piece, TokenBuffer output)
    {
        if (model.Options.IgnoreMerges && TryGetWhole(piece, out int whole))
        {
            output.Reserve(1)[0] = whole;
            output.Advance(1);
            return;
        }
        var ids = output.Reserve(piece.Length)[..piece.Length];
        for (int i = 0; i < piece.Length; i++)
            ids[i] = byteIds[piece[i]];
        output.Advance(PairMerger.Merge(model.Merges, ids, []));
    }

    private bool TryGetWhole(ReadOnlySpan<byte> piece, out int id)
    {
        char[]? rented = piece.Length > 128 ? ArrayPool<char>.Shared.Rent(piece.Length) : null;
        Span<char> spelling = rented ?? stackalloc char[128];
        for (int i = 0; i < piece.Length; i++)
            spelling[i] = ByteAlphabet.CharacterOf(piece[i]);
        bool found = model.Vocabulary.TryGetTextId(spelling[..piece.Length], out id);
        if (rented is not null)
            ArrayPool<char>.Shared.Return(rented);
        return found;
    }

    // Tokens cover the text's bytes without gaps; a token inside a character has the whole of it.
    private void AddOffsets(ReadOnlySpan<char> text, int sourceStart, TokenBuffer output, int first)
    {
        var walk = new ByteWalk(text, sourceStart);
        for (int i = first; i < output.Count; i++)
            output.SetOffset(i, walk.Next(tokenLengths[output.Ids[i]]));
    }

    /// <summary>What one thread needs while it encodes.</summary>
    private sealed class Workspace
    {
        private byte[] buffer = [];

        public PieceCache Cache { get; } = new();

        public byte[] BufferFor(int length)
        {
            if (buffer.Length < length + Runs.Padding)
                buffer = GC.AllocateUninitializedArray<byte>(length + length / 4 + Runs.Padding);
            return buffer;
        }
    }
}
