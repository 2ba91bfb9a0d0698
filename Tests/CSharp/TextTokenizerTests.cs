using System.Buffers;
using System.Text;
using Legato.Runtime;
using Legato.Runtime.Text;
using Legato.Runtime.Text.Training;
using NUnit.Framework;

namespace Legato.Tests;

[TestFixture]
internal sealed class TextTokenizerTests
{
    private static readonly Tokenizer BytePair = TextFixtures.Train(TokenizerKind.BytePair, 600, "<s>", "</s>");

    [Test]
    public void RandomTextComesBack([Values(TokenizerKind.Byte, TokenizerKind.BytePair)] TokenizerKind kind) => RoundTrip(kind, 2_000);

    [Test, Category("Heavy")]
    public void AHundredThousandRandomTextsComeBack() => RoundTrip(TokenizerKind.BytePair, 100_000);

    private static readonly string[] ByteComplete =
    [
        "gpt2/tokenizer.json.gz", "gpt2/vocab.bpe", "tiktoken/r50k_base.tiktoken", "tiktoken/cl100k_base.tiktoken.gz",
        "llama2/tokenizer.model", "phi-3/tokenizer.json.gz",
    ];

    [TestCaseSource(nameof(ByteComplete))]
    public void RandomTextComesBackFromTokenizersOfModels(string file) => RoundTrip(OfModel(file), 500);

    [TestCaseSource(nameof(ByteComplete)), Category("Heavy")]
    public void AHundredThousandRandomTextsComeBackFromTokenizersOfModels(string file) => RoundTrip(OfModel(file), 100_000);

    private static Tokenizer OfModel(string file) => Tokenizer.Load(Path.Combine(SharedFolder.Require("data/tokenizers"), file));

    [Test]
    public void AllWaysToEncodeAgree()
    {
        var random = new Random(3);
        for (int i = 0; i < 500; i++)
        {
            string text = TextFixtures.RandomText(random, random.Next(1, 60), wellFormed: false);
            int[] ids = BytePair.EncodeIds(text);
            Assert.That(BytePair.Encode(text).Ids, Is.EqualTo(ids));
            var output = new ArrayBufferWriter<int>();
            BytePair.EncodeUtf8(Encoding.UTF8.GetBytes(text), output);
            Assert.That(output.WrittenSpan.ToArray(), Is.EqualTo(ids));
        }
    }

    [Test]
    public void OffsetsCoverTheTextWithoutGaps()
    {
        var random = new Random(4);
        for (int i = 0; i < 500; i++)
        {
            string text = TextFixtures.RandomText(random, random.Next(1, 40), wellFormed: true);
            int end = 0;
            foreach (var span in BytePair.Encode(text).Offsets)
            {
                Assert.That(span.Start, Is.LessThanOrEqualTo(end));
                Assert.That(span.End, Is.GreaterThanOrEqualTo(end));
                end = span.End;
            }
            Assert.That(end, Is.EqualTo(text.Length));
        }
    }

    [Test]
    public void StreamingGivesWholeCharactersAndTheSameText([Values] TokenizerKind kind)
    {
        var tokenizer = TextFixtures.Train(kind, 600, "<unk>", "<s>");
        string text = TextFixtures.Corpus(1, 3000) + (kind is TokenizerKind.Byte or TokenizerKind.BytePair ? "日本語 😀é" : "");
        int[] ids = tokenizer.EncodeIds(text, new EncodeOptions { WithoutAddedTokens = true });
        var decoder = tokenizer.CreateStreamingDecoder();
        var streamed = new StringBuilder();
        foreach (int id in ids)
        {
            string part = decoder.Add(id);
            Assert.That(part, Does.Not.Contain("\uFFFD"));
            Assert.That(part.Length == 0 || !char.IsHighSurrogate(part[^1]), Is.True);
            streamed.Append(part);
        }
        Assert.That(streamed.Append(decoder.Finish()).ToString(), Is.EqualTo(tokenizer.Decode(ids)));
    }

    // Ids as no text gives them, so that characters begin that never end.
    [TestCaseSource(typeof(TextVectorTests), nameof(TextVectorTests.Files))]
    public void StreamingGivesWhatDecodingGives(string file)
    {
        var tokenizer = Tokenizer.Load(Path.Combine(SharedFolder.Require("data/tokenizers"), file));
        var random = new Random(3);
        int[] bytes = [.. Enumerable.Range(0, 256).Select(value => tokenizer.IdOf($"<0x{value:X2}>")).OfType<int>()];
        for (int round = 0; round < 200; round++)
        {
            string text = TextFixtures.RandomText(random, 30, wellFormed: true);
            int[] ids = round % 2 == 0 ? tokenizer.EncodeIds(text, EncodeOptions.AsShipped)
                : [.. Enumerable.Range(0, 150).Select(_ => bytes.Length > 0 && random.Next(2) == 0 ? bytes[random.Next(bytes.Length)] : AnyId(tokenizer, random))];
            foreach (bool keepSpecial in new[] { false, true })
            {
                string streamed = Stream(tokenizer, ids, keepSpecial);
                if (streamed != tokenizer.Decode(ids, keepSpecial))
                    Assert.That(streamed, Is.EqualTo(tokenizer.Decode(ids, keepSpecial)), string.Join(' ', ids));
            }
        }
    }

    [Test]
    public void StreamingGoesOnBehindAPrompt([Values] TokenizerKind kind) => GoesOn(TextFixtures.Train(kind, 600, "<unk>"), TextFixtures.Corpus(1, 400));

    [TestCaseSource(typeof(TextVectorTests), nameof(TextVectorTests.Files))]
    public void StreamingGoesOnBehindAPromptOfModels(string file) => GoesOn(OfModel(file), "Once upon a time, there was a cat. It sat on a mat, and didn't move.");

    private static void GoesOn(Tokenizer tokenizer, string text)
    {
        int[] ids = tokenizer.EncodeIds(text, new EncodeOptions { WithoutAddedTokens = true });
        string whole = tokenizer.Decode(ids);
        int words = 0;
        for (int place = 1; place < ids.Length; place++)
        {
            string prompt = tokenizer.Decode(ids.AsSpan(0, place));
            if (!whole.StartsWith(prompt, StringComparison.Ordinal))
                continue;
            words += whole[prompt.Length] == ' ' ? 1 : 0;
            var decoder = tokenizer.CreateStreamingDecoder(behind: ids.AsSpan(0, place));
            string streamed = string.Concat(ids.Skip(place).Select(decoder.Add)) + decoder.Finish();
            Assert.That(streamed, Is.EqualTo(whole[prompt.Length..]), $"behind {place} ids");
        }
        Assert.That(words, Is.Positive);
    }

    private static int AnyId(Tokenizer tokenizer, Random random)
    {
        int id;
        do
            id = random.Next(tokenizer.VocabularySize);
        while (tokenizer.TokenOf(id) is null);
        return id;
    }

    private static string Stream(Tokenizer tokenizer, int[] ids, bool keepSpecial)
    {
        var decoder = tokenizer.CreateStreamingDecoder(keepSpecial);
        var streamed = new StringBuilder();
        foreach (int id in ids)
        {
            string part = decoder.Add(id);
            Assert.That(part.Length > 0 && char.IsHighSurrogate(part[^1]) || part.Length > 0 && char.IsLowSurrogate(part[0]), Is.False);
            streamed.Append(part);
        }
        return streamed.Append(decoder.Finish()).ToString();
    }

    [Test]
    public void TextFromAUserNeverBecomesASpecialTokenUnlessAsked([Values] TokenizerKind kind)
    {
        var tokenizer = TextFixtures.Train(kind, 600, "<unk>", "</s>");
        int special = tokenizer.IdOf("</s>")!.Value;
        var asText = new EncodeOptions { SkipUncovered = true, WithoutAddedTokens = true };
        Assert.That(tokenizer.EncodeIds("in </s> out </s>", asText), Does.Not.Contain(special));
        Assert.That(tokenizer.EncodeIds("in </s> out", asText with { SpecialTokens = SpecialTokensInText.Recognise }), Does.Contain(special));
    }

    [Test]
    public void TheHashIsOfTheContent()
    {
        using var folder = new TemporaryFolder();
        BytePair.Save(folder.Path);
        var loaded = Tokenizer.Load(folder.Path);
        Assert.That(loaded.Hash, Is.EqualTo(BytePair.Hash).And.Length.EqualTo(64));
        Assert.That(TextFixtures.Train(TokenizerKind.BytePair, 599, "<s>", "</s>").Hash, Is.Not.EqualTo(loaded.Hash));
        Assert.That((loaded.BeginOfSequenceId, loaded.EndOfSequenceId), Is.EqualTo(((int?)0, (int?)1)));
        Assert.That(() => loaded.RequireHash(new string('0', 64), "checkpoint"), Throws.InstanceOf<LegatoException>());
        Assert.That(() => loaded.RequireHash(BytePair.Hash, "checkpoint"), Throws.Nothing);
    }

    [Test]
    public void ACharacterThatNoTokenCoversIsAnErrorUnlessItMayBeLeftOut()
    {
        var tokenizer = TextFixtures.Train(TokenizerKind.Character, 100);
        Assert.That(() => tokenizer.EncodeIds("日"), Throws.InstanceOf<LegatoException>().With.Message.Contains("U+65E5"));
        Assert.That(tokenizer.EncodeIds("e日t", new EncodeOptions { SkipUncovered = true }), Has.Length.EqualTo(2));
    }

    [Test]
    public void IdsWithoutATokenAreRefused() =>
        Assert.That(() => BytePair.Decode([BytePair.VocabularySize]), Throws.InstanceOf<LegatoException>());

    [Test]
    public void BatchesGiveWhatSinglesGive()
    {
        var texts = Enumerable.Range(0, 40).Select(seed => TextFixtures.Corpus(seed, 300)).ToList();
        var batch = BytePair.EncodeBatch(texts, degree: 2);
        for (int i = 0; i < texts.Count; i++)
            Assert.That(batch[i].Ids, Is.EqualTo(BytePair.EncodeIds(texts[i])));
        Assert.That(BytePair.EncodeIdsBatch(texts, degree: 2), Is.EqualTo(batch.Select(tokens => tokens.Ids)));
    }

    [TestCase("a")]
    [TestCase("😀")]
    [TestCase(" ")]
    [TestCase("\n")]
    [TestCase("ab")]
    public void AMegabyteOfOneThingIsNoTrouble(string unit)
    {
        string text = string.Concat(Enumerable.Repeat(unit, 1_000_000 / Encoding.UTF8.GetByteCount(unit)));
        var merged = TokenizerTrainer.Train(TokenizerKind.BytePair, [string.Concat(Enumerable.Repeat(unit, 5000))],
            new TokenizerTrainingOptions { VocabularySize = 270, Pattern = SplitPattern.Gpt2 });
        var watch = System.Diagnostics.Stopwatch.StartNew();
        int[] ids = merged.EncodeIds(text);
        Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(10)));
        Assert.That(merged.Decode(ids), Is.EqualTo(text));
    }

    [Test]
    public void LongRowsMergeAsShortOnes()
    {
        var random = new Random(5);
        for (int i = 0; i < 300; i++)
        {
            string word = string.Concat(Enumerable.Range(0, random.Next(90, 130)).Select(_ => "etaoins"[random.Next(3)]));
            int[] whole = BytePair.EncodeIds(word);
            Assert.That(whole, Is.EqualTo(Naive(word)));
        }
    }

    // The definition, step by step: the pair of the smallest rank, the leftmost of equals.
    private static int[] Naive(string word)
    {
        var model = (Legato.Runtime.Text.Models.BpeModel)BytePair.Definition.Model;
        var ids = word.Select(unit => BytePair.IdOf(unit.ToString())!.Value).ToList();
        while (true)
        {
            int best = -1, rank = int.MaxValue, token = 0;
            for (int i = 0; i + 1 < ids.Count; i++)
                if (model.Merges.TryGet(ids[i], ids[i + 1], out var merge) && merge.Rank < rank)
                    (best, rank, token) = (i, merge.Rank, merge.Token);
            if (best < 0)
                return [.. ids];
            ids[best] = token;
            ids.RemoveAt(best + 1);
        }
    }

    private static void RoundTrip(TokenizerKind kind, int count) => RoundTrip(TextFixtures.Train(kind, 600, "<s>"), count);

    private static void RoundTrip(Tokenizer tokenizer, int count)
    {
        var random = new Random(11);
        for (int i = 0; i < count; i++)
        {
            // SentencePiece writes a space as U+2581, and so reads one as a space.
            string text = TextFixtures.RandomText(random, random.Next(40), wellFormed: true).Replace('\u2581', '-');
            string back = tokenizer.Decode(tokenizer.EncodeIds(text));
            if (back != text)
                Assert.That(back, Is.EqualTo(text));
        }
    }
}
