using System.Buffers;
using System.Text;
using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Models;

/// <summary>
/// A unigram language model (Kudo 2018): the segmentation of the highest probability, found by Viterbi.
/// </summary>
internal sealed class UnigramModel : ITokenModel
{
    // What an unknown character costs beyond the rarest token.
    private const double UnknownPenalty = 10;

    private readonly double[] scores;
    private readonly int unknownId;
    private readonly double unknownScore;
    private readonly bool singlePrecision;
    private readonly int[]? fallbackBytes;
    private readonly Lazy<CharacterTrie> trie;

    /// <param name="vocabulary">Tokens.</param>
    /// <param name="scores">The logarithm of each token's probability, by id.</param>
    /// <param name="unknownId">The token for characters that no token covers; -1 for none.</param>
    /// <param name="byteFallback">Whether such characters become byte tokens.</param>
    /// <param name="singlePrecision">
    /// Whether sums are rounded to 32 bits, as SentencePiece does; Hugging Face tokenizers keeps 64. Segmentations of
    /// equal probability come out differently.
    /// </param>
    /// <param name="ordinary">Which tokens text may become; null for all that aren't special.</param>
    public UnigramModel(
        Vocabulary vocabulary, double[] scores, int unknownId, bool byteFallback, bool singlePrecision, Func<int, bool>? ordinary = null)
    {
        Vocabulary = vocabulary;
        this.scores = scores;
        this.unknownId = unknownId;
        this.singlePrecision = singlePrecision;
        ByteFallback = byteFallback;
        double lowest = double.PositiveInfinity;
        for (int id = 0; id < scores.Length; id++)
            if (ordinary is null || ordinary(id))
                lowest = Math.Min(lowest, scores[id]);
        unknownScore = double.IsFinite(lowest) ? lowest - UnknownPenalty : -UnknownPenalty;
        if (singlePrecision)
            unknownScore = (float)unknownScore;
        fallbackBytes = byteFallback ? ByteTokens(vocabulary) : null;
        // Built on first use, when it is known which tokens are special.
        trie = new Lazy<CharacterTrie>(() => MakeTrie(ordinary));
    }

    public Vocabulary Vocabulary { get; }

    public bool ByteFallback { get; }

    /// <summary>The same model with sums of 32 bits. Tokens of control characters and bytes stay out of text.</summary>
    public UnigramModel InSinglePrecision() =>
        new(Vocabulary, scores, unknownId, ByteFallback, singlePrecision: true, id => id != unknownId && !IsByteToken(id));

    private bool IsByteToken(int id) => ByteFallback && Decoders.ByteFallbackDecoder.TryReadByte(Vocabulary.TokenOf(id) ?? "", out _);

    /// <summary>The logarithm of a token's probability.</summary>
    public double ScoreOf(int id) => scores[id];

    /// <summary>The best way to a position: its last token, where that starts, and the sum of the scores.</summary>
    private struct Step
    {
        public double Score;
        public int Start;
        public int Id;
    }

    public void Tokenize(in TextPiece piece, TokenBuffer output)
    {
        var text = piece.Chars;
        var steps = ArrayPool<Step>.Shared.Rent(text.Length + 1);
        try
        {
            FindBest(text, steps);
            Emit(piece, steps, output);
        }
        finally
        {
            ArrayPool<Step>.Shared.Return(steps);
        }
    }

    /// <summary>
    /// A segmentation drawn at random, each as likely as its probability to the power of <paramref name="sharpness"/>
    /// (subword regularization, Kudo 2018, section 3.3): forward filtering, backward sampling.
    /// </summary>
    public void Sample(in TextPiece piece, double sharpness, Random random, TokenBuffer output)
    {
        var lattice = UnigramLattice.Build(this, piece.Chars, sharpness);
        foreach (var (start, end, id) in lattice.Sample(random))
        {
            if (id == unknownId)
                EmitUnknown(piece, start, end, output);
            else
                output.Add(id, piece, start, end);
        }
    }

    /// <summary>Every token that a place of a text may become: its end and id; the unknown token where none covers one character.</summary>
    internal void FindCandidates(ReadOnlySpan<char> text, int start, List<(int End, int Id, double Score)> candidates)
    {
        Rune.DecodeFromUtf16(text[start..], out _, out int length);
        bool coversOne = false;
        int node = CharacterTrie.Root;
        for (int end = start; end < text.Length && (node = trie.Value.Step(node, text[end++])) >= 0;)
        {
            int id = trie.Value.ValueOf(node);
            if (id < 0)
                continue;
            candidates.Add((end, id, scores[id]));
            coversOne |= end - start == length;
        }
        if (!coversOne)
            candidates.Add((start + length, unknownId, unknownScore));
    }

    private void FindBest(ReadOnlySpan<char> text, Step[] steps)
    {
        for (int i = 0; i <= text.Length; i++)
            steps[i] = new Step { Start = -1 };
        var tree = trie.Value;
        for (int start = 0, length; start < text.Length; start += length)
        {
            Rune.DecodeFromUtf16(text[start..], out _, out length);
            double before = steps[start].Score;
            bool coversOne = false;
            int node = CharacterTrie.Root;
            for (int end = start; end < text.Length;)
            {
                node = tree.Step(node, text[end++]);
                if (node < 0)
                    break;
                int id = tree.ValueOf(node);
                if (id < 0)
                    continue;
                Offer(ref steps[end], start, id, scores[id] + before);
                coversOne |= end - start == length;
            }
            if (!coversOne)
                Offer(ref steps[start + length], start, unknownId, unknownScore + before);
        }
    }

    private void Offer(ref Step step, int start, int id, double score)
    {
        if (step.Start >= 0 && score <= step.Score)
            return;
        step.Start = start;
        step.Id = id;
        step.Score = singlePrecision ? (float)score : score;
    }

    // Walks back from the end; runs of unknown characters are one.
    private void Emit(in TextPiece piece, Step[] steps, TokenBuffer output)
    {
        var path = new List<(int Start, int End, int Id)>();
        for (int end = piece.Length; end > 0; end = steps[end].Start)
        {
            int start = steps[end].Start, id = steps[end].Id;
            if (id == unknownId && path.Count > 0 && path[^1].Id == unknownId)
                path[^1] = path[^1] with { Start = start };
            else
                path.Add((start, end, id));
        }
        for (int i = path.Count - 1; i >= 0; i--)
        {
            var (start, end, id) = path[i];
            if (id == unknownId && !IsSpelled(piece.Chars[start..end], id))
                EmitUnknown(piece, start, end, output);
            else
                output.Add(id, piece, start, end);
        }
    }

    private bool IsSpelled(ReadOnlySpan<char> text, int id) => id >= 0 && Vocabulary.TryGetId(text, out int known) && known == id;

    private void EmitUnknown(in TextPiece piece, int start, int end, TokenBuffer output)
    {
        var text = piece.Chars[start..end];
        byte[] bytes = fallbackBytes is null ? [] : Encoding.UTF8.GetBytes(text.ToArray());
        if (fallbackBytes is not null && Array.TrueForAll(bytes, value => fallbackBytes[value] >= 0))
        {
            foreach (byte value in bytes)
                output.Add(fallbackBytes[value], piece, start, end);
        }
        else if (unknownId >= 0)
        {
            output.Add(unknownId, piece, start, end);
        }
        else
        {
            foreach (var rune in text.EnumerateRunes())
                output.NoteUncovered(rune.ToString());
        }
    }

    private CharacterTrie MakeTrie(Func<int, bool>? ordinary)
    {
        int edges = 0;
        for (int id = 0; id < Vocabulary.Size; id++)
            edges += Vocabulary.TokenOf(id)?.Length ?? 0;
        var tree = new CharacterTrie(edges / 2);
        for (int id = 0; id < Vocabulary.Size; id++)
            if (Vocabulary.TokenOf(id) is { Length: > 0 } token && Vocabulary.IdOf(token) == id
                && !Vocabulary.IsReserved(id) && (ordinary is null || ordinary(id)))
                tree.Add(token, id);
        return tree;
    }

    private static int[] ByteTokens(Vocabulary vocabulary)
    {
        var ids = new int[256];
        for (int value = 0; value < 256; value++)
            ids[value] = vocabulary.IdOf($"<0x{value:X2}>") ?? -1;
        return ids;
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Unigram");
        if (unknownId >= 0)
            json.WriteNumber("unk_id", unknownId);
        else
            json.WriteNull("unk_id");
        json.WriteStartArray("vocab");
        for (int id = 0; id < Vocabulary.Size; id++)
        {
            json.WriteStartArray();
            json.WriteStringValue(Vocabulary.TokenOf(id));
            json.WriteNumberValue(scores[id]);
            json.WriteEndArray();
        }
        json.WriteEndArray();
        json.WriteBoolean("byte_fallback", ByteFallback);
        json.WriteEndObject();
    }
}
