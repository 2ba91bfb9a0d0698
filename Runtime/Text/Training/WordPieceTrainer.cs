using Legato.Runtime.Text.Decoders;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Normalizers;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PostProcessors;
using Legato.Runtime.Text.PreTokenizers;

namespace Legato.Runtime.Text.Training;

/// <summary>Trains WordPiece: pairs join that raise the corpus' likelihood most (Schuster and Nakajima 2012, section 4).</summary>
internal static class WordPieceTrainer
{
    private const string Prefix = "##";
    private const string Unknown = "[UNK]";

    public static Tokenizer Train(IEnumerable<string> texts, TokenizerTrainingOptions options)
    {
        options.Validate();
        var special = options.SpecialTokens.Contains(Unknown) ? options.SpecialTokens : [.. options.SpecialTokens, Unknown];
        var normalizer = new BertNormalizer(true, true, null, options.Lowercase);
        var splitter = TrainingStages.WithDigits(new BertPreTokenizer(), options.Digits);
        var table = PieceCounter.Count(texts, normalizer, splitter, options);
        var tokens = new List<string>(special);
        var words = SymbolAlphabet.Make(table, (text, opens, _) => opens ? text : Prefix + text, tokens, options);
        MergeLearner.Learn(words, new LikelihoodScore(), tokens, [], (left, right) => left + right[Prefix.Length..], options);
        var vocabulary = Vocabulary.FromList(tokens, "training");
        return new Tokenizer(new TokenizerDefinition
        {
            Model = new WordPieceModel(vocabulary, Unknown, Prefix, 100),
            Normalizer = normalizer,
            PreTokenizer = splitter,
            PostProcessor = vocabulary.IdOf("[SEP]") is int separator && vocabulary.IdOf("[CLS]") is int start
                ? new BertPostProcessor(new FrameToken("[SEP]", separator), new FrameToken("[CLS]", start))
                : null,
            Decoder = new WordPieceDecoder(Prefix, cleanup: true),
            AddedTokens = SpecialTokenList.Of(special),
            Names = SpecialTokenList.Names(special),
        });
    }
}
