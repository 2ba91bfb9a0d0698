namespace Legato.Runtime.Text.Formats;

/// <summary>What kind of piece a SentencePiece model holds. The numbers are those of the file.</summary>
internal enum PieceKind
{
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// <summary>A piece, the logarithm of its probability (or its rank below zero), and its kind.</summary>
internal readonly record struct SentencePiece(string Text, float Score, PieceKind Kind);

/// <summary>How a SentencePiece model segments.</summary>
internal enum SentencePieceAlgorithm
{
    Unigram = 1,
    BytePair = 2,
    Word = 3,
    Character = 4,
}

/// <summary>What a SentencePiece model file says.</summary>
internal sealed record SentencePieceModel
{
    private const int PieceField = 1, TrainerField = 2, NormalizerField = 3;

    public List<SentencePiece> Pieces { get; } = [];

    public SentencePieceAlgorithm Algorithm { get; set; } = SentencePieceAlgorithm.Unigram;

    public bool ByteFallback { get; set; }

    public bool SpaceAsSuffix { get; set; }

    public string UnknownSurface { get; set; } = " \u2047 ";

    public byte[] CharactersMap { get; set; } = [];

    public bool AddDummyPrefix { get; set; } = true;

    public bool RemoveExtraSpaces { get; set; } = true;

    public bool EscapeSpaces { get; set; } = true;

    public int BeginId { get; set; } = 1;

    public int EndId { get; set; } = 2;

    public int PaddingId { get; set; } = -1;

    /// <summary>Parses a <c>.model</c> file.</summary>
    public static SentencePieceModel Parse(ReadOnlySpan<byte> file, string where)
    {
        var model = new SentencePieceModel();
        bool hasTrainer = false, hasNormalizer = false;
        var reader = new ProtobufReader(file, where);
        while (reader.Next())
        {
            hasTrainer |= reader.Field == TrainerField;
            hasNormalizer |= reader.Field == NormalizerField;
            switch (reader.Field)
            {
                case PieceField: model.Pieces.Add(ReadPiece(reader.Bytes(), where)); break;
                case TrainerField: model.ReadTrainer(reader.Bytes(), where); break;
                case NormalizerField: model.ReadNormalizer(reader.Bytes(), where); break;
                default: reader.Skip(); break;
            }
        }
        if (model.Pieces.Count == 0)
            throw new LegatoException("the SentencePiece model has no pieces", where, "check that it is a SentencePiece model");
        // Every writer puts both behind the pieces: without them the file was cut, between two pieces perhaps.
        return hasTrainer && hasNormalizer
            ? model
            : throw new LegatoException(
                $"the SentencePiece model is cut off: its {(hasTrainer ? "normalizer" : "trainer")}'s settings are missing", where,
                "copy the file again, whole");
    }

    /// <summary>Whether a file begins as a model does: with a piece, which begins with its text.</summary>
    public static bool LooksLike(ReadOnlySpan<byte> file) => file is [PieceField << 3 | 2, < 0x80, 1 << 3 | 2, ..];

    private static SentencePiece ReadPiece(ReadOnlySpan<byte> message, string where)
    {
        string text = "";
        float score = 0;
        var kind = PieceKind.Normal;
        var reader = new ProtobufReader(message, where);
        while (reader.Next())
        {
            switch (reader.Field)
            {
                case 1: text = reader.Text(); break;
                case 2: score = reader.Float(); break;
                case 3: kind = (PieceKind)reader.Int(); break;
                default: reader.Skip(); break;
            }
        }
        return text.Length > 0 && float.IsFinite(score) && Enum.IsDefined(kind)
            ? new SentencePiece(text, score, kind)
            : throw new LegatoException($"the piece '{text}' has no text, no finite score or an unknown kind", where,
                "check that the file was copied whole");
    }

    private void ReadTrainer(ReadOnlySpan<byte> message, string where)
    {
        var reader = new ProtobufReader(message, where);
        while (reader.Next())
        {
            switch (reader.Field)
            {
                case 3: Algorithm = (SentencePieceAlgorithm)reader.Int(); break;
                case 24: SpaceAsSuffix = reader.Bool(); break;
                case 35: ByteFallback = reader.Bool(); break;
                case 41: BeginId = reader.Int(); break;
                case 42: EndId = reader.Int(); break;
                case 43: PaddingId = reader.Int(); break;
                case 44: UnknownSurface = reader.Text(); break;
                default: reader.Skip(); break;
            }
        }
    }

    private void ReadNormalizer(ReadOnlySpan<byte> message, string where)
    {
        var reader = new ProtobufReader(message, where);
        while (reader.Next())
        {
            switch (reader.Field)
            {
                case 2: CharactersMap = reader.Bytes().ToArray(); break;
                case 3: AddDummyPrefix = reader.Bool(); break;
                case 4: RemoveExtraSpaces = reader.Bool(); break;
                case 5: EscapeSpaces = reader.Bool(); break;
                default: reader.Skip(); break;
            }
        }
    }
}
