using System.Text.Json;

namespace Legato.Runtime.Text.Pipeline;

/// <summary>A stage of the pipeline that can be written as its element of tokenizer.json.</summary>
internal interface IStage
{
    void Write(Utf8JsonWriter json);
}

/// <summary>Rewrites a text before it is split: Unicode forms, case, whitespace, …</summary>
internal interface INormalizer : IStage
{
    AlignedText Normalize(AlignedText text);
}

/// <summary>Splits pieces into smaller pieces (and may rewrite them).</summary>
internal interface IPreTokenizer : IStage
{
    void Split(List<TextPiece> input, List<TextPiece> output);
}

/// <summary>Turns one piece of text into tokens.</summary>
internal interface ITokenModel : IStage
{
    Vocabulary Vocabulary { get; }

    void Tokenize(in TextPiece piece, TokenBuffer output);
}

/// <summary>Adds the tokens that frame a text or a pair of texts.</summary>
internal interface IPostProcessor : IStage
{
    /// <summary>The number of tokens added to one text, or to a pair.</summary>
    int AddedTokens(bool pair);

    /// <param name="segments">One segment a text.</param>
    /// <param name="addTokens">False leaves out the tokens it would add; offsets may change all the same.</param>
    /// <param name="vocabulary">Spellings of the model's tokens.</param>
    List<TokenSegment> Process(List<TokenSegment> segments, bool addTokens, Vocabulary vocabulary);
}

/// <summary>Turns the spellings of tokens back into text, one step of a chain.</summary>
internal interface ITokenDecoder : IStage
{
    List<string> Decode(List<string> tokens);
}
