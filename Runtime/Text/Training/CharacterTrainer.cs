using System.Text;
using Legato.Runtime.Text.Decoders;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Training;

/// <summary>
/// Makes the tokenizer of one token a character that occurs. Written as BPE without merges, which is how
/// tokenizer.json can say it.
/// </summary>
internal static class CharacterTrainer
{
    public static Tokenizer Train(IEnumerable<string> texts, TokenizerTrainingOptions options)
    {
        options.Validate();
        var tokens = new List<string>(options.SpecialTokens);
        var kept = CharacterCounts.Of(texts, options).ToList();
        if (tokens.Count + kept.Count > options.VocabularySize)
            throw new LegatoException(
                $"a vocabulary of {Counted.Of(options.VocabularySize, "token")} is too small: the text has {Counted.Of(kept.Count, "character")}, and special tokens take {tokens.Count}",
                "the size of the vocabulary", $"give {tokens.Count + kept.Count} or more");
        kept.Sort();
        foreach (var rune in kept)
            tokens.Add(rune.ToString());
        var vocabulary = Vocabulary.FromList(tokens, "training");
        var names = SpecialTokenList.Names(options.SpecialTokens);
        return new Tokenizer(new TokenizerDefinition
        {
            Model = new BpeModel(vocabulary, new MergeTable([]), new BpeOptions { UnknownToken = names.Unknown }),
            Decoder = new FuseDecoder(),
            AddedTokens = SpecialTokenList.Of(options.SpecialTokens),
            Names = names,
        });
    }
}
