namespace Legato.Runtime.Text.Pipeline;

/// <summary>
/// How ties and roundings go where the libraries that files come from differ. tokenizer.json can't say it, so it is
/// kept in tokenizer_config.json.
/// </summary>
/// <param name="MergesTieByToken">Merges into the same token rank alike, and the leftmost goes first.</param>
/// <param name="SentencePieceRules">Character maps match the longest prefix, and scores are sums of 32 bits.</param>
internal sealed record TokenizerConventions(bool MergesTieByToken, bool SentencePieceRules)
{
    /// <summary>As Hugging Face tokenizers.</summary>
    public static TokenizerConventions Standard { get; } = new(false, false);

    /// <summary>As the SentencePiece library.</summary>
    public static TokenizerConventions SentencePiece { get; } = new(true, true);

    /// <summary>As tiktoken.</summary>
    public static TokenizerConventions Ranks { get; } = new(true, false);

    /// <summary>Changes the stages of a definition that was read from tokenizer.json accordingly.</summary>
    public TokenizerDefinition Apply(TokenizerDefinition definition)
    {
        if (this == Standard)
            return definition;
        var model = definition.Model;
        if (MergesTieByToken && model is Models.BpeModel bpe)
            model = bpe.WithTiesByToken();
        if (SentencePieceRules && model is Models.UnigramModel unigram)
            model = unigram.InSinglePrecision();
        var normalizer = definition.Normalizer;
        if (SentencePieceRules && normalizer is Normalizers.SequenceNormalizer sequence)
            normalizer = sequence.Rewrite(stage => stage is Normalizers.PrecompiledNormalizer map ? map.WithLongestMatch() : stage);
        return definition with { Model = model, Normalizer = normalizer, Conventions = this };
    }
}
