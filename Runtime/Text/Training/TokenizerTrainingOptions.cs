namespace Legato.Runtime.Text.Training;

/// <summary>The kinds of tokenizers that can be trained.</summary>
public enum TokenizerKind
{
    /// <summary>One token a byte: nothing to learn.</summary>
    Byte,

    /// <summary>One token a character that occurs.</summary>
    Character,

    /// <summary>Byte-level BPE behind a split pattern, as GPT-2's (Radford et al. 2019, section 2.2).</summary>
    BytePair,

    /// <summary>BPE over characters of words with an end-of-word mark (Sennrich et al. 2016, Algorithm 1).</summary>
    WordBytePair,

    /// <summary>WordPiece: joins by likelihood (Schuster and Nakajima 2012).</summary>
    WordPiece,

    /// <summary>A unigram language model (Kudo 2018, section 3.2).</summary>
    Unigram,
}

/// <summary>How numbers are split before training and encoding.</summary>
public enum DigitSplitting
{
    /// <summary>As the split pattern has it.</summary>
    AsPattern,

    /// <summary>Each digit by itself.</summary>
    Single,

    /// <summary>Groups of up to three digits, from the left.</summary>
    GroupsOfThree,
}

/// <summary>How far a training run has come.</summary>
/// <param name="Phase">What it does: "reading", "merging", …</param>
/// <param name="Done">Bytes read, tokens made, …</param>
/// <param name="Total">The same unit; null when it isn't known.</param>
public readonly record struct TokenizerTrainingProgress(string Phase, long Done, long? Total);

/// <summary>What a tokenizer is trained to be. The same options and corpus give the same vocabulary.</summary>
public sealed record TokenizerTrainingOptions
{
    /// <summary>The number of tokens, special ones included. Fewer come out when the corpus doesn't give as many.</summary>
    public int VocabularySize { get; init; } = 32_000;

    /// <summary>Special tokens, which take the first ids in this order.</summary>
    public IReadOnlyList<string> SpecialTokens { get; init; } = [];

    /// <summary>How byte-level BPE splits text into words.</summary>
    public SplitPattern Pattern { get; init; } = SplitPattern.Llama3;

    /// <summary>How numbers are split.</summary>
    public DigitSplitting Digits { get; init; }

    /// <summary>
    /// The longest run of spaces, and of tabs, that is sure to be one token in byte-level BPE, for the indentation of
    /// code; 0 leaves it to the corpus.
    /// </summary>
    public int Indentation { get; init; }

    /// <summary>Pairs, words or characters that occur less often don't count.</summary>
    public int MinimumFrequency { get; init; } = 2;

    /// <summary>Characters that get tokens of their own in Unigram and WordPiece, at most; rarer ones are unknown.</summary>
    public int AlphabetLimit { get; init; } = 4096;

    /// <summary>Whether WordPiece lowers the case of letters and strips accents.</summary>
    public bool Lowercase { get; init; } = true;

    /// <summary>
    /// Bytes that the distinct words of the corpus may take, while they are counted and learned from. Of corpora that have
    /// more, the rarest words are forgotten on the way (after lossy counting, Manku and Motwani 2002).
    /// </summary>
    public long WordBytes { get; init; } = 512L << 20;

    /// <summary>Is told how the run goes.</summary>
    public IProgress<TokenizerTrainingProgress>? Progress { get; init; }

    /// <summary>Refuses a vocabulary that special tokens and characters fill: nothing could be learned.</summary>
    internal void RequireRoom(int taken)
    {
        if (taken >= VocabularySize)
            throw new LegatoException(
                $"a vocabulary of {Counted.Of(VocabularySize, "token")} is too small: special tokens and characters take {taken}",
                "the size of the vocabulary", $"give more than {taken}, or let fewer characters have tokens of their own (--alphabet)");
    }

    internal void Validate()
    {
        if (VocabularySize is < 1 or > 1 << 22)
            throw new LegatoException($"a vocabulary of {Counted.Of(VocabularySize, "token")} can't be trained", "the size of the vocabulary",
                "give a number from 1 to 4194304");
        if (Indentation is < 0 or > 256)
            throw new LegatoException($"an indentation of {Indentation} is out of range", "the indentation", "give a number from 0 to 256");
        if (SpecialTokens.Any(string.IsNullOrEmpty))
            throw new LegatoException("a special token is empty", "the special tokens", "spell it with a character or more");
        if (SpecialTokens.CountBy(token => token).FirstOrDefault(token => token.Value > 1).Key is { } twice)
            throw new LegatoException($"the special token '{twice}' is given twice", "the special tokens", "name each once");
    }
}
