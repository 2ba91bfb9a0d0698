using System.Buffers;
using System.Text;
using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Models;

/// <summary>Options of a byte-pair encoding, under the names that tokenizer.json gives them.</summary>
internal sealed record BpeOptions
{
    public string? UnknownToken { get; init; }
    public string? ContinuingSubwordPrefix { get; init; }
    public string? EndOfWordSuffix { get; init; }
    public bool FuseUnknown { get; init; }
    public bool ByteFallback { get; init; }
    public bool IgnoreMerges { get; init; }
}

/// <summary>Byte-pair encoding (Sennrich et al. 2016), over characters or over bytes spelled as characters.</summary>
internal sealed class BpeModel : ITokenModel
{
    private readonly int unknownId;
    private readonly int[]? fallbackBytes;

    public BpeModel(Vocabulary vocabulary, MergeTable merges, BpeOptions options)
    {
        Vocabulary = vocabulary;
        Merges = merges;
        Options = options;
        unknownId = vocabulary.IdOf(options.UnknownToken) ?? -1;
        fallbackBytes = options.ByteFallback ? FallbackIds(vocabulary) : null;
    }

    public Vocabulary Vocabulary { get; }

    public MergeTable Merges { get; }

    public BpeOptions Options { get; }

    /// <summary>Makes the table from merges listed by rank as pairs of spellings.</summary>
    public static MergeTable ReadMerges(
        Vocabulary vocabulary, IReadOnlyList<(string Left, string Right)> merges, string? prefix, string where)
    {
        var entries = new (int, int, int, int)[merges.Count];
        int skip = prefix?.Length ?? 0;
        for (int rank = 0; rank < entries.Length; rank++)
        {
            var (left, right) = merges[rank];
            string joined = right.Length >= skip ? left + right[skip..] : left + right;
            if (!vocabulary.TryGetId(left, out int l) || !vocabulary.TryGetId(right, out int r)
                || !vocabulary.TryGetId(joined, out int token))
                throw new LegatoException($"merge {rank} ('{left}' with '{right}') uses a token that is not in the vocabulary",
                    where, "the vocabulary and the merges must come from the same training run");
            entries[rank] = (l, r, rank, token);
        }
        return new MergeTable(entries);
    }

    /// <summary>The same model, in which merges into one token rank alike.</summary>
    public BpeModel WithTiesByToken()
    {
        var ranks = new Dictionary<int, int>();
        var entries = Merges.Entries().OrderBy(merge => merge.Rank).ToList();
        foreach (var merge in entries)
            ranks.TryAdd(merge.Token, merge.Rank);
        return new BpeModel(Vocabulary,
            new MergeTable(entries.ConvertAll(merge => (merge.Left, merge.Right, ranks[merge.Token], merge.Token))), Options);
    }

    public void Tokenize(in TextPiece piece, TokenBuffer output)
    {
        var text = piece.Chars;
        if (text.IsEmpty)
            return;
        if (Options.IgnoreMerges && Vocabulary.TryGetTextId(text, out int whole))
        {
            output.Add(whole, piece, 0, text.Length);
            return;
        }
        int room = fallbackBytes is null ? text.Length : text.Length * 3;
        int[] rented = ArrayPool<int>.Shared.Rent(room * 2);
        try
        {
            var ids = rented.AsSpan(0, room);
            var starts = rented.AsSpan(room, room);
            int count = Symbols(text, ids, starts, output);
            count = PairMerger.Merge(Merges, ids[..count], starts[..count]);
            Emit(piece, ids[..count], starts[..count], output);
        }
        finally
        {
            ArrayPool<int>.Shared.Return(rented);
        }
    }

    private static void Emit(in TextPiece piece, ReadOnlySpan<int> ids, ReadOnlySpan<int> starts, TokenBuffer output)
    {
        for (int i = 0; i < ids.Length; i++)
        {
            int end = i + 1;
            // Byte tokens of one character share its start, and all stand for the whole of it.
            while (end < ids.Length && starts[end] == starts[i])
                end++;
            output.Add(ids[i], piece, starts[i], end < ids.Length ? starts[end] : piece.Length);
        }
    }

    private int Symbols(ReadOnlySpan<char> text, Span<int> ids, Span<int> starts, TokenBuffer output)
    {
        int count = 0, unknownStart = -1;
        for (int at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text[at..], out _, out int length);
            if (TryGetSymbol(text, at, length, out int id))
            {
                FlushUnknown(ids, starts, ref count, ref unknownStart);
                (ids[count], starts[count]) = (id, at);
                count++;
            }
            else if (fallbackBytes is null || !TryFallBack(text.Slice(at, length), at, ids, starts, ref count))
            {
                if (unknownId < 0)
                    output.NoteUncovered(text.Slice(at, length));
                else
                    NoteUnknown(at, ids, starts, ref count, ref unknownStart);
            }
            at += length;
        }
        FlushUnknown(ids, starts, ref count, ref unknownStart);
        return count;
    }

    private bool TryGetSymbol(ReadOnlySpan<char> text, int at, int length, out int id)
    {
        string prefix = at > 0 ? Options.ContinuingSubwordPrefix ?? "" : "";
        string suffix = at + length == text.Length ? Options.EndOfWordSuffix ?? "" : "";
        if (prefix.Length + suffix.Length == 0)
            return Vocabulary.TryGetId(text.Slice(at, length), out id);
        return Vocabulary.TryGetId(string.Concat(prefix, text.Slice(at, length), suffix), out id);
    }

    private void NoteUnknown(int at, Span<int> ids, Span<int> starts, ref int count, ref int unknownStart)
    {
        if (unknownStart >= 0 && Options.FuseUnknown)
            return;
        FlushUnknown(ids, starts, ref count, ref unknownStart);
        unknownStart = at;
    }

    private void FlushUnknown(Span<int> ids, Span<int> starts, ref int count, ref int unknownStart)
    {
        if (unknownStart < 0)
            return;
        (ids[count], starts[count]) = (unknownId, unknownStart);
        count++;
        unknownStart = -1;
    }

    private bool TryFallBack(ReadOnlySpan<char> character, int at, Span<int> ids, Span<int> starts, ref int count)
    {
        Span<byte> bytes = stackalloc byte[4];
        int length = Encoding.UTF8.GetBytes(character, bytes);
        foreach (byte value in bytes[..length])
            if (fallbackBytes![value] < 0)
                return false;
        foreach (byte value in bytes[..length])
        {
            (ids[count], starts[count]) = (fallbackBytes![value], at);
            count++;
        }
        return true;
    }

    private static int[] FallbackIds(Vocabulary vocabulary)
    {
        var ids = new int[256];
        for (int value = 0; value < 256; value++)
            ids[value] = vocabulary.IdOf($"<0x{value:X2}>") ?? -1;
        return ids;
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "BPE");
        json.WriteNull("dropout");
        json.WriteString("unk_token", Options.UnknownToken);
        json.WriteString("continuing_subword_prefix", Options.ContinuingSubwordPrefix);
        json.WriteString("end_of_word_suffix", Options.EndOfWordSuffix);
        json.WriteBoolean("fuse_unk", Options.FuseUnknown);
        json.WriteBoolean("byte_fallback", Options.ByteFallback);
        json.WriteBoolean("ignore_merges", Options.IgnoreMerges);
        Vocabulary.Write(json);
        json.WriteStartArray("merges");
        foreach (var (left, right, _, _) in Merges.Entries().OrderBy(e => e.Rank).ThenBy(e => e.Token).ThenBy(e => e.Left).ThenBy(e => e.Right))
        {
            json.WriteStartArray();
            json.WriteStringValue(Vocabulary.TokenOf(left));
            json.WriteStringValue(Vocabulary.TokenOf(right));
            json.WriteEndArray();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }
}
