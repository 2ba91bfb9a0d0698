using Legato.Runtime.Text.Decoders;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Normalizers;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PreTokenizers;

namespace Legato.Runtime.Text.Formats;

/// <summary>Makes a tokenizer of what a SentencePiece model says (Kudo and Richardson 2018).</summary>
internal static class SentencePieceReader
{
    private const string Mark = "\u2581";

    public static TokenizerDefinition Read(ReadOnlySpan<byte> file, string where) => Read(SentencePieceModel.Parse(file, where), where);

    public static TokenizerDefinition Read(SentencePieceModel source, string where)
    {
        int unknownId = source.Pieces.FindIndex(piece => piece.Kind == PieceKind.Unknown);
        var vocabulary = MakeVocabulary(source.Pieces, where);
        return new TokenizerDefinition
        {
            Model = source.Algorithm switch
            {
                SentencePieceAlgorithm.Unigram => new UnigramModel(vocabulary, [.. source.Pieces.Select(piece => (double)piece.Score)],
                    unknownId, source.ByteFallback, singlePrecision: true, id => IsOrdinary(source.Pieces[id])),
                SentencePieceAlgorithm.BytePair => MakeBytePair(source, vocabulary, unknownId),
                SentencePieceAlgorithm.Character => new BpeModel(vocabulary, new MergeTable([]), Options(source, unknownId)),
                _ => throw new LegatoException($"the model segments by the algorithm {source.Algorithm}, which isn't supported", where,
                    "BPE, Unigram and character models are"),
            },
            Normalizer = MakeNormalizer(source, where),
            Decoder = new SentencePieceDecoder(
                unknownId < 0 ? null : source.Pieces[unknownId].Text, source.UnknownSurface, source.AddDummyPrefix, source.RemoveExtraSpaces),
            AddedTokens = MakeAddedTokens(source.Pieces),
            Names = MakeNames(source, unknownId),
            Conventions = TokenizerConventions.SentencePiece,
            RecognisesSpecialTokens = false,
        };
    }

    private static bool IsOrdinary(SentencePiece piece) => piece.Kind is PieceKind.Normal or PieceKind.UserDefined;

    private static Vocabulary MakeVocabulary(List<SentencePiece> pieces, string where)
    {
        var entries = new List<KeyValuePair<string, int>>(pieces.Count);
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var piece in pieces)
        {
            if (!seen.Add(piece.Text))
                throw new LegatoException($"the piece '{piece.Text}' is there twice", where, "check that the file was copied whole");
            entries.Add(new(piece.Text, entries.Count));
        }
        return new Vocabulary(entries, where);
    }

    private static BpeOptions Options(SentencePieceModel source, int unknownId) => new()
    {
        UnknownToken = unknownId < 0 ? null : source.Pieces[unknownId].Text,
        FuseUnknown = true,
        ByteFallback = source.ByteFallback,
    };

    // Any two neighbours join that make a piece; the better the piece's score, the earlier.
    private static BpeModel MakeBytePair(SentencePieceModel source, Vocabulary vocabulary, int unknownId)
    {
        var pieces = source.Pieces;
        var ranks = new Dictionary<float, int>();
        foreach (float score in pieces.Select(piece => piece.Score).Distinct().OrderDescending())
            ranks[score] = ranks.Count;
        var merges = new List<(int, int, int, int)>();
        for (int id = 0; id < pieces.Count; id++)
        {
            if (!IsOrdinary(pieces[id]))
                continue;
            string text = pieces[id].Text;
            for (int cut = 1; cut < text.Length; cut++)
                if (vocabulary.TryGetId(text.AsSpan(0, cut), out int left) && IsOrdinary(pieces[left])
                    && vocabulary.TryGetId(text.AsSpan(cut), out int right) && IsOrdinary(pieces[right]))
                    merges.Add((left, right, ranks[pieces[id].Score], id));
        }
        return new BpeModel(vocabulary, new MergeTable(merges), Options(source, unknownId));
    }

    // SentencePiece's normalizer in the terms of tokenizer.json, so that it can be saved.
    private static SequenceNormalizer MakeNormalizer(SentencePieceModel source, string where)
    {
        var stages = new List<INormalizer>();
        if (source.CharactersMap.Length > 0)
            stages.Add(new PrecompiledNormalizer(new CharactersMap(source.CharactersMap, where), longestMatch: true));
        if (source.RemoveExtraSpaces)
        {
            stages.Add(new ReplaceNormalizer(TextPattern.Regex(@"\A +"), ""));
            stages.Add(new ReplaceNormalizer(TextPattern.Regex(" {2,}"), " "));
        }
        string space = source.EscapeSpaces ? Mark : " ";
        if (source.EscapeSpaces)
            stages.Add(new ReplaceNormalizer(TextPattern.Literal(" "), Mark));
        bool behind = source.AddDummyPrefix && source.SpaceAsSuffix;
        if (source.AddDummyPrefix)
            stages.Add(behind ? new AppendNormalizer(space) : new PrependNormalizer(space));
        if (source.RemoveExtraSpaces)
            stages.Add(new ReplaceNormalizer(TextPattern.Regex(space + @"+\z"), behind ? space : ""));
        return new SequenceNormalizer(stages);
    }

    private static List<AddedToken> MakeAddedTokens(List<SentencePiece> pieces)
    {
        var tokens = new List<AddedToken>();
        for (int id = 0; id < pieces.Count; id++)
            if (pieces[id].Kind is PieceKind.Control or PieceKind.UserDefined)
                tokens.Add(new AddedToken(id, pieces[id].Text) { Special = pieces[id].Kind == PieceKind.Control });
        return tokens;
    }

    private static SpecialTokenNames MakeNames(SentencePieceModel source, int unknownId)
    {
        string? NameOf(int id) => (uint)id < (uint)source.Pieces.Count ? source.Pieces[id].Text : null;
        string? ControlOf(int id) => (uint)id < (uint)source.Pieces.Count && source.Pieces[id].Kind == PieceKind.Control ? NameOf(id) : null;
        return new SpecialTokenNames
        {
            BeginOfSequence = ControlOf(source.BeginId),
            EndOfSequence = ControlOf(source.EndId),
            Padding = ControlOf(source.PaddingId),
            Unknown = NameOf(unknownId),
        };
    }
}
