using Legato.Runtime.Text.Decoders;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PreTokenizers;

namespace Legato.Runtime.Text.Training;

/// <summary>Trains BPE over the characters of words, with a mark at each word's end (Sennrich et al. 2016, Algorithm 1).</summary>
internal static class WordBytePairTrainer
{
    private const string EndOfWord = "</w>";

    public static Tokenizer Train(IEnumerable<string> texts, TokenizerTrainingOptions options)
    {
        options.Validate();
        var splitter = TrainingStages.WithDigits(new WhitespaceSplitPreTokenizer(), options.Digits);
        var table = PieceCounter.Count(texts, null, splitter, options);
        var tokens = new List<string>(options.SpecialTokens);
        var merges = new List<(string, string)>();
        var words = SymbolAlphabet.Make(table, (text, _, ends) => ends ? text + EndOfWord : text, tokens, options);
        MergeLearner.Learn(words, new FrequencyScore(), tokens, merges, (left, right) => left + right, options);
        var vocabulary = Vocabulary.FromList(tokens, "training");
        var names = SpecialTokenList.Names(options.SpecialTokens);
        return new Tokenizer(new TokenizerDefinition
        {
            Model = new BpeModel(vocabulary, BpeModel.ReadMerges(vocabulary, merges, null, "training"),
                new BpeOptions { UnknownToken = names.Unknown, EndOfWordSuffix = EndOfWord }),
            PreTokenizer = splitter,
            Decoder = new EndOfWordDecoder(EndOfWord),
            AddedTokens = SpecialTokenList.Of(options.SpecialTokens),
            Names = names,
        });
    }
}
