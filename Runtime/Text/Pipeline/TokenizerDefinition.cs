namespace Legato.Runtime.Text.Pipeline;

/// <summary>Everything that a tokenizer consists of, as read from or written to files.</summary>
internal sealed record TokenizerDefinition
{
    public required ITokenModel Model { get; init; }

    public INormalizer? Normalizer { get; init; }

    public IPreTokenizer? PreTokenizer { get; init; }

    public IPostProcessor? PostProcessor { get; init; }

    public ITokenDecoder? Decoder { get; init; }

    public IReadOnlyList<AddedToken> AddedTokens { get; init; } = [];

    public Truncation? Truncation { get; init; }

    public Padding? Padding { get; init; }

    public SpecialTokenNames Names { get; init; } = new();

    /// <summary>The chat templates that ship beside the tokenizer, by name.</summary>
    public IReadOnlyDictionary<string, string> ChatTemplates { get; init; } = new Dictionary<string, string>();

    public TokenizerConventions Conventions { get; init; } = TokenizerConventions.Standard;

    /// <summary>Whether the format's own library recognises special tokens in text.</summary>
    public bool RecognisesSpecialTokens { get; init; } = true;
}

/// <summary>Which tokens play which part, by spelling.</summary>
internal sealed record SpecialTokenNames
{
    public string? BeginOfSequence { get; init; }
    public string? EndOfSequence { get; init; }
    public string? Unknown { get; init; }
    public string? Padding { get; init; }

    /// <summary>By the names that chat templates know them by.</summary>
    public IReadOnlyDictionary<string, string> Variables()
    {
        (string Name, string? Token)[] all =
            [("bos_token", BeginOfSequence), ("eos_token", EndOfSequence), ("unk_token", Unknown), ("pad_token", Padding)];
        return all.Where(variable => variable.Token is not null).ToDictionary(variable => variable.Name, variable => variable.Token!);
    }
}

/// <summary>Which end of a text is cut or padded.</summary>
internal enum Side
{
    Left,
    Right,
}

/// <summary>Which text of a pair is cut.</summary>
internal enum TruncationStrategy
{
    LongestFirst,
    OnlyFirst,
    OnlySecond,
}

/// <summary>How texts that are too long are cut.</summary>
/// <param name="MaximumLength">The most tokens, those of the post-processor included.</param>
internal sealed record Truncation(int MaximumLength, int Stride, TruncationStrategy Strategy, Side Side);

/// <summary>How texts are filled up.</summary>
/// <param name="Length">The length to fill up to; null is the longest of a batch.</param>
/// <param name="Multiple">The length is rounded up to a multiple of this, when set.</param>
internal sealed record Padding(int? Length, int? Multiple, Side Side, int Id, int TypeId, string Token);
