using Legato.Runtime;
using Legato.Runtime.Text;
using Legato.Runtime.Text.Models;
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

    // Counting anew before each merge. On few letters, so that counts change much, and most pairs are rare when they come up.
    [Test]
    public void MergesAreThoseOfCountingAnew([Values(1, 2, 5)] int minimum)
    {
        for (int seed = 0; seed < 25; seed++)
        {
            var random = new Random(seed);
            var words = Enumerable.Range(0, 60).Select(_ => string.Concat(Enumerable.Range(0, random.Next(1, 14)).Select(_ => "aabcd"[random.Next(5)])));
            string corpus = string.Join('\n', words);
            var trained = TokenizerTrainer.Train(TokenizerKind.BytePair, [corpus], new TokenizerTrainingOptions
            { VocabularySize = 400, MinimumFrequency = minimum, Pattern = SplitPattern.Gpt2 });
            var learned = Enumerable.Range(256, trained.VocabularySize - 256).Select(id => trained.TokenOf(id));
            Assert.That(learned, Is.EqualTo(CountingAnew(corpus.Split('\n'), minimum, 400 - 256)), $"seed {seed}");
        }
    }

    // Sennrich et al. 2016, Algorithm 1, as it is printed; of equals, the pair of the smaller ids. The vocabulary it makes.
    private static List<string> CountingAnew(string[] corpus, int minimum, int room)
    {
        var ids = new Dictionary<string, int>();
        for (char letter = 'a'; letter <= 'z'; letter++)
            ids[letter.ToString()] = letter - 'a';
        var words = corpus.Select(word => word.Select(letter => letter.ToString()).ToList()).ToList();
        var made = new List<string>();
        while (made.Count < room)
        {
            var counts = new Dictionary<(string Left, string Right), int>();
            foreach (var word in words)
                foreach (var pair in word.Zip(word.Skip(1)))
                    counts[pair] = counts.GetValueOrDefault(pair) + 1;
            if (counts.Count == 0 || counts.Values.Max() < minimum)
                break;
            var (left, right) = counts.OrderByDescending(pair => pair.Value)
                .ThenBy(pair => ids[pair.Key.Left]).ThenBy(pair => ids[pair.Key.Right]).First().Key;
            ids.Add(left + right, 26 + made.Count);
            made.Add(left + right);
            foreach (var word in words)
                for (int i = 0; i + 1 < word.Count; i++)
                    if (word[i] == left && word[i + 1] == right)
                    {
                        word[i] += right;
                        word.RemoveAt(i + 1);
                    }
        }
        return made;
    }

    [Test]
    public void TextThatSpellsASpecialTokenDoesNotBecomeIt([Values(TokenizerKind.WordBytePair, TokenizerKind.WordPiece, TokenizerKind.BytePair)] TokenizerKind kind)
    {
        var trained = TokenizerTrainer.Train(kind, [string.Concat(Enumerable.Repeat("xendx xend endx ", 500))],
            new TokenizerTrainingOptions { VocabularySize = 300, SpecialTokens = ["<unk>", "end", "xend"], Pattern = SplitPattern.Gpt2 });
        Assert.That(trained.EncodeIds("xendx xend end"), Does.Not.Contain(1).And.Not.Contain(2));
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
            new TokenizerTrainingOptions { VocabularySize = 300, WordBytes = 4 << 20 });
        Assert.That(trained.EncodeIds(" common"), Has.Length.EqualTo(1));
    }

    // No word comes twice, as where nothing cuts: the newest of them are still learned from.
    [Test]
    public void TextWithoutWordsIsLearnedFromInBoundedMemory()
    {
        var random = new Random(2);
        var texts = Enumerable.Range(0, 16).Select(_ => string.Concat(Enumerable.Range(0, 1 << 17).Select(_ => "acgt"[random.Next(4)])));
        long before = GC.GetTotalAllocatedBytes(precise: true);
        var trained = TokenizerTrainer.Train(TokenizerKind.BytePair, texts, new TokenizerTrainingOptions { VocabularySize = 500, WordBytes = 4 << 20 });
        Assert.That(trained.VocabularySize, Is.EqualTo(500));
        Assert.That(GC.GetTotalAllocatedBytes(precise: true) - before, Is.LessThan(100 << 20));
    }

    [Test]
    public void ExpectedCountsAreThoseOfAllSegmentations()
    {
        string[] tokens = ["a", "b", "ab", "ba", "aba", "bab"];
        double[] scores = [-1.5, -2.5, -3, -3.5, -4, -6];
        var model = new UnigramModel(Vocabulary.FromList(tokens, "test"), scores, -1, byteFallback: false, singlePrecision: false);
        const string text = "abbababaab";
        var counts = new double[tokens.Length];
        double total = 0;
        Segment(0, 0, []);

        void Segment(int at, double score, List<int> path)
        {
            if (at == text.Length)
            {
                total += Math.Exp(score);
                path.ForEach(id => counts[id] += Math.Exp(score));
            }
            for (int id = 0; id < tokens.Length; id++)
                if (string.CompareOrdinal(text, at, tokens[id], 0, tokens[id].Length) == 0)
                    Segment(at + tokens[id].Length, score + scores[id], [.. path, id]);
        }

        var expected = new double[tokens.Length];
        new UnigramExpectation(model, 3).Add(text, 2, expected);
        Assert.That(expected, Is.EqualTo(counts.Select(count => 2 * count / total)).Within(1e-12));
    }

    [TestCase(1)]
    [TestCase(7)]
    [TestCase(16)]
    [TestCase(10_000)]
    public void ExpectedTokensCoverALongTextOfRareCharactersOnce(int length)
    {
        // 10,000 characters of e^-30 each are far less than a double holds.
        string[] tokens = ["a", "aa", "aaa", "aaaaaaaaaaaaaaaa"];
        var model = new UnigramModel(Vocabulary.FromList(tokens, "test"), [-30, -58, -80, -500], -1, byteFallback: false, singlePrecision: false);
        var expected = new double[tokens.Length];
        new UnigramExpectation(model, 16).Add(new string('a', length), 1, expected);
        Assert.That(expected.Zip(tokens, (count, token) => count * token.Length).Sum(), Is.EqualTo(length).Within(1e-9 * length));
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
    public void NamesThatComeTwiceAreNotCountedTwice()
    {
        var bytes = TextFixtures.Train(TokenizerKind.Byte, 256);
        var fits = TokenizerReport.Measure([("t", bytes), ("t", bytes)], [("all", "abc"), ("one", "de")]);
        Assert.That(fits.Select(fit => fit.Tokens), Is.EqualTo(new[] { 3, 3, 2, 2, 5, 5 }));
    }

    [TestCase(TokenizerKind.WordPiece)]
    [TestCase(TokenizerKind.Unigram)]
    [TestCase(TokenizerKind.WordBytePair)]
    [TestCase(TokenizerKind.Character)]
    [TestCase(TokenizerKind.BytePair)]
    public void AVocabularyWithoutRoomIsRefused(TokenizerKind kind) => Assert.That(
        () => TextFixtures.Train(kind, 2, "<unk>", "<s>"),
        Throws.TypeOf<LegatoException>().With.Message.Contains("a vocabulary of 2 tokens is too small").And.Message.Contains("give"));

    [Test]
    public void CharactersThatHaveNoRoomAreNotLeftOutSilently()
    {
        TokenizerTrainingOptions Of(int size) => new() { VocabularySize = size, SpecialTokens = ["<unk>"] };
        Assert.That(
            () => TokenizerTrainer.Train(TokenizerKind.Character, ["abcab"], Of(3)),
            Throws.TypeOf<LegatoException>().With.Message.Contains("the text has 3 characters").And.Message.Contains("give 4 or more"));
        Assert.That(TokenizerTrainer.Train(TokenizerKind.Character, ["abcab"], Of(4)).VocabularySize, Is.EqualTo(4));
    }

    // Without spaces every byte of a text is in one word: it is learned from in parts, of whole characters.
    [Test]
    public void WordsThatNeverEndAreLearnedFromInParts([Values] TokenizerKind kind)
    {
        string text = string.Concat(Enumerable.Repeat("東京都と大阪府の間で", 2000));
        var trained = TokenizerTrainer.Train(kind, [text], new TokenizerTrainingOptions { VocabularySize = 300, SpecialTokens = ["<unk>"] });
        Assert.That(Enumerable.Range(0, trained.VocabularySize).Select(trained.TokenOf), Has.None.Contains("\uFFFD"));
        if (kind is TokenizerKind.BytePair or TokenizerKind.WordBytePair)
            Assert.That(trained.EncodeIds(text), Has.Length.LessThan(text.Length / 3));
    }

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
