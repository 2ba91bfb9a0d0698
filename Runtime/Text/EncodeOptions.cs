namespace Legato.Runtime.Text;

/// <summary>What happens to the spelling of a special token when it occurs in a text.</summary>
public enum SpecialTokensInText
{
    /// <summary>It is text like any other: text from a user never becomes a special token.</summary>
    AsText,

    /// <summary>It becomes the special token.</summary>
    Recognise,

    /// <summary>
    /// As the library that the file format comes from does by default:
    /// recognised for tokenizer.json, text for SentencePiece models and rank files.
    /// </summary>
    AsShipped,
}

/// <summary>How a text is encoded. The default value is the safe choice for text from users.</summary>
public readonly record struct EncodeOptions
{
    /// <summary>Leaves out the tokens that the post-processor adds (begin of sequence, separators, …).</summary>
    public bool WithoutAddedTokens { get; init; }

    /// <summary>Whether special tokens written in the text are recognised.</summary>
    public SpecialTokensInText SpecialTokens { get; init; }

    /// <summary>
    /// Leaves out, instead of refusing, text that the vocabulary has no token for and no unknown token covers.
    /// </summary>
    public bool SkipUncovered { get; init; }

    /// <summary>Applies the truncation that the tokenizer's file asks for; without it nothing is cut.</summary>
    public bool Truncate { get; init; }

    /// <summary>Applies the padding that the tokenizer's file asks for.</summary>
    public bool Pad { get; init; }

    /// <summary>The ids that the tokenizer's own library gives for a text, without truncation and padding.</summary>
    public static EncodeOptions AsShipped => new() { SpecialTokens = SpecialTokensInText.AsShipped, SkipUncovered = true };
}
