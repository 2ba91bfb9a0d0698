using Legato.Runtime;
using Legato.Runtime.Text;
using Legato.Runtime.Text.Training;
using NUnit.Framework;

namespace Legato.Tests;

[TestFixture]
internal sealed class TextTrainingTests
{
    [Test]
    public void TheSameCorpusGivesTheSameVocabulary([Values] TokenizerKind kind)
    {
        var first = TextFixtures.Train(kind, 500, "<unk>");
        Assert.That(TextFixtures.Train(kind, 500, "<unk>").Hash, Is.EqualTo(first.Hash));
        Assert.That(first.VocabularySize, Is.LessThanOrEqualTo(501).And.GreaterThan(13));
        Assert.That(first.TokenOf(0), Is.EqualTo("<unk>"));
    }

    [Test]
    public void ATrainedTokenizerIsTheSameAfterSavingAndLoading([Values] TokenizerKind kind)
    {
        var trained = TextFixtures.Train(kind, 500, "<unk>", "[CLS]", "[SEP]");
        using var folder = new TemporaryFolder();
        trained.Save(folder.Path);
        var loaded = Tokenizer.Load(folder.Path);
        string text = TextFixtures.Corpus(9, 5000);
        Assert.That(loaded.Hash, Is.EqualTo(trained.Hash));
        Assert.That(loaded.EncodeIds(text), Is.EqualTo(trained.EncodeIds(text)));
    }

    // Sennrich et al. 2016, Algorithm 1, on its own example: the first merges are e s, es t, est </w>, l o, lo w.
    [Test]
    public void WordBytePairsFollowThePaper()
    {
        string corpus = string.Concat(Enumerable.Repeat("low ", 5)) + string.Concat(Enumerable.Repeat("lower ", 2))
            + string.Concat(Enumerable.Repeat("newest ", 6)) + string.Concat(Enumerable.Repeat("widest ", 3));
        var trained = TokenizerTrainer.Train(TokenizerKind.WordBytePair, [corpus], new TokenizerTrainingOptions { VocabularySize = 40 });
        Assert.That(trained.IdOf("est</w>"), Is.Not.Null);
        Assert.That(trained.IdOf("low</w>"), Is.Not.Null);
        Assert.That(trained.Decode(trained.EncodeIds("lowest newer")), Is.EqualTo("lowest newer"));
    }

    [Test]
    public void IndentationUpToTheLimitIsOneToken()
    {
        var trained = TokenizerTrainer.Train(TokenizerKind.BytePair, [TextFixtures.Corpus(1, 20_000)],
            new TokenizerTrainingOptions { VocabularySize = 500, Indentation = 16 });
        for (int length = 1; length <= 16; length++)
        {
            Assert.That(trained.EncodeIds(new string(' ', length)), Has.Length.EqualTo(1), $"{length} spaces");
            Assert.That(trained.EncodeIds(new string('\t', length)), Has.Length.EqualTo(1), $"{length} tabs");
        }
    }

    [Test]
    public void DigitsAreSplitAsAsked()
    {
        Tokenizer Of(DigitSplitting digits) => TokenizerTrainer.Train(TokenizerKind.BytePair, [string.Concat(Enumerable.Repeat("123456 ", 500))],
            new TokenizerTrainingOptions { VocabularySize = 400, Digits = digits });
        Assert.That(Of(DigitSplitting.Single).EncodeIds("123456"), Has.Length.EqualTo(6));
        Assert.That(Of(DigitSplitting.GroupsOfThree).EncodeIds("123456"), Has.Length.EqualTo(2));
    }

    [Test]
    public void SmallMemoryForgetsRareWordsAndStillTrains()
    {
        var random = new Random(2);
        var texts = Enumerable.Range(0, 40).Select(_ => string.Join(' ', Enumerable.Range(0, 8000).Select(_ => "common w" + random.NextInt64())));
        var trained = TokenizerTrainer.Train(TokenizerKind.BytePair, texts,
            new TokenizerTrainingOptions { VocabularySize = 300, WordTableBytes = 4 << 20 });
        Assert.That(trained.EncodeIds(" common"), Has.Length.EqualTo(1));
    }

    [Test]
    public void UnigramSamplesSegmentationsOfTheSameText()
    {
        var trained = TextFixtures.Train(TokenizerKind.Unigram, 400);
        string text = TextFixtures.Corpus(1, 100);
        var samples = Enumerable.Range(0, 30).Select(seed => trained.EncodeSampled(text, 0.1, new Random(seed))).ToList();
        Assert.That(samples.Select(ids => string.Join(' ', ids)).Distinct().Count(), Is.GreaterThan(3));
        Assert.That(samples.Select(ids => trained.Decode(ids)), Is.All.EqualTo(text));
        Assert.That(trained.EncodeSampled(text, 0.1, new Random(1)), Is.EqualTo(samples[1]));
    }

    [Test]
    public void AVocabularyOfNothingIsRefused() => Assert.That(
        () => TokenizerTrainer.Train(TokenizerKind.BytePair, ["a"], new TokenizerTrainingOptions { VocabularySize = 0 }),
        Throws.InstanceOf<LegatoException>());

    [Test]
    public void TheReportComparesTokenizers()
    {
        string text = TextFixtures.Corpus(1, 2000);
        var fits = TokenizerReport.Measure(
            [("bytes", TextFixtures.Train(TokenizerKind.Byte, 256)), ("pairs", TextFixtures.Train(TokenizerKind.BytePair, 600))],
            [("one", text), ("two", "日本")]);
        Assert.That(fits.Select(fit => (fit.Group, fit.Tokenizer)), Is.EqualTo(new[]
        {
            ("one", "bytes"), ("one", "pairs"), ("two", "bytes"), ("two", "pairs"), ("all", "bytes"), ("all", "pairs"),
        }));
        Assert.That(fits[0].BytesPerToken, Is.EqualTo(1));
        Assert.That(fits[1].BytesPerToken, Is.GreaterThan(2));
        Assert.That(fits[4].Bytes, Is.EqualTo(2006));
        Assert.That(fits.TrueForAll(fit => fit.IsExact), Is.True);
    }
}
