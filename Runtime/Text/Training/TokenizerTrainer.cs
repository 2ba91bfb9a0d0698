namespace Legato.Runtime.Text.Training;

/// <summary>Trains tokenizers. The same corpus and options give the same vocabulary.</summary>
public static class TokenizerTrainer
{
    /// <summary>Trains a tokenizer on texts, which are read once and needn't fit into memory.</summary>
    /// <exception cref="LegatoException">The options contradict each other, or the corpus is empty.</exception>
    public static Tokenizer Train(TokenizerKind kind, IEnumerable<string> texts, TokenizerTrainingOptions? options = null)
    {
        options ??= new TokenizerTrainingOptions();
        return kind switch
        {
            TokenizerKind.Byte => ByteLevelTrainer.Bytes(options.SpecialTokens),
            TokenizerKind.Character => CharacterTrainer.Train(texts, options),
            TokenizerKind.BytePair => ByteLevelTrainer.Train(texts, options),
            TokenizerKind.WordBytePair => WordBytePairTrainer.Train(texts, options),
            TokenizerKind.WordPiece => WordPieceTrainer.Train(texts, options),
            TokenizerKind.Unigram => UnigramTrainer.Train(texts, options),
            _ => throw new LegatoException($"'{kind}' is not a kind of tokenizer", "the kind", "take one of the kinds that there are"),
        };
    }
}
