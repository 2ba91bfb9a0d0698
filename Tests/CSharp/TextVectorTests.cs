using System.Text.Json;
using Legato.Runtime;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Text;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>Ids, offsets and texts of other libraries, for tokenizers that models ship with.</summary>
[TestFixture]
internal sealed class TextVectorTests
{
    private static JsonElement vectors;

    /// <summary>A file for each tokenizer there is.</summary>
    public static readonly string[] Files =
    [
        "gpt2/tokenizer.json.gz", "bert/tokenizer.json", "t5/tokenizer.json.gz", "phi-3/tokenizer.json.gz", "llama2/tokenizer.model",
        "sentencepiece/test_model.model", "sentencepiece/test_ja_model.model", "sentencepiece/seqio_sentencepiece.model",
        "tiktoken/r50k_base.tiktoken", "tiktoken/cl100k_base.tiktoken.gz",
    ];

    [TestCase("gpt2/tokenizer.json", "gpt2/tokenizer.json.gz")]
    [TestCase("gpt2/tokenizer.json", "gpt2/encoder.json")]
    [TestCase("gpt2/tokenizer.json", "gpt2/vocab.bpe")]
    [TestCase("bert/tokenizer.json", "bert/tokenizer.json")]
    [TestCase("bert/tokenizer.json", "bert/vocab.txt")]
    [TestCase("t5/tokenizer.json", "t5/tokenizer.json.gz")]
    [TestCase("phi-3/tokenizer.json", "phi-3/tokenizer.json.gz")]
    [TestCase("llama2/tokenizer.model", "llama2/tokenizer.model")]
    [TestCase("sentencepiece/test_model.model", "sentencepiece/test_model.model")]
    [TestCase("sentencepiece/test_ja_model.model", "sentencepiece/test_ja_model.model")]
    [TestCase("sentencepiece/seqio_sentencepiece.model", "sentencepiece/seqio_sentencepiece.model")]
    [TestCase("tiktoken/r50k_base", "tiktoken/r50k_base.tiktoken")]
    [TestCase("tiktoken/cl100k_base", "tiktoken/cl100k_base.tiktoken.gz")]
    public void GivesTheReferenceIdsOffsetsAndText(string name, string file)
    {
        var tokenizer = Tokenizer.Load(Path.Combine(Folder(), file));
        Check(tokenizer, name, EncodeOptions.AsShipped);
    }

    [TestCase("gpt2/tokenizer.json", "gpt2/tokenizer.json.gz")]
    [TestCase("bert/tokenizer.json", "bert/tokenizer.json")]
    [TestCase("t5/tokenizer.json", "t5/tokenizer.json.gz")]
    [TestCase("phi-3/tokenizer.json", "phi-3/tokenizer.json.gz")]
    [TestCase("llama2/tokenizer.model", "llama2/tokenizer.model")]
    [TestCase("sentencepiece/test_model.model", "sentencepiece/test_model.model")]
    [TestCase("tiktoken/cl100k_base", "tiktoken/cl100k_base.tiktoken.gz")]
    public void IsTheSameAfterSavingAndLoading(string name, string file)
    {
        var original = Tokenizer.Load(Path.Combine(Folder(), file));
        using var folder = new TemporaryFolder();
        original.Save(folder.Path);
        var saved = Tokenizer.Load(folder.Path);
        Assert.That(saved.Hash, Is.EqualTo(original.Hash));
        var options = new EncodeOptions { SkipUncovered = true };
        foreach (var text in vectors.GetProperty("texts").EnumerateArray())
            Assert.That(saved.Encode(text.GetString()!, options).Ids, Is.EqualTo(original.Encode(text.GetString()!, options).Ids), name);
    }

    // Models that put spaces behind words, with and without extra spaces removed.
    [TestCase("bpe_true")]
    [TestCase("bpe_false")]
    [TestCase("unigram_true")]
    [TestCase("unigram_false")]
    public void SpacesBehindWordsAreThoseOfSentencePiece(string name)
    {
        string goldens = Path.Combine(Goldens(), "sentencepiece");
        using var document = JsonDocument.Parse(File.ReadAllText(Path.Combine(goldens, "vectors.json")));
        var tokenizer = Tokenizer.Load(Path.Combine(goldens, name + ".model"));
        using var folder = new TemporaryFolder();
        tokenizer.Save(folder.Path);
        var saved = Tokenizer.Load(folder.Path);
        var rows = document.RootElement.GetProperty("models").GetProperty(name).EnumerateArray();
        foreach (var (text, row) in document.RootElement.GetProperty("texts").EnumerateArray().Zip(rows))
        {
            int[] ids = Ints(row.GetProperty("ids"));
            Assert.That(tokenizer.EncodeIds(text.GetString(), EncodeOptions.AsShipped), Is.EqualTo(ids), text.GetString());
            Assert.That(tokenizer.Decode(ids), Is.EqualTo(row.GetProperty("decoded").GetString()), text.GetString());
            Assert.That(saved.EncodeIds(text.GetString(), EncodeOptions.AsShipped), Is.EqualTo(ids), text.GetString());
        }
    }

    // As tokenizer.json's own library reads it, a regular expression's ^ and $ stand at every line.
    [Test]
    public void ASavedSentencePieceModelTellsTheTextsEndsFromThoseOfLines()
    {
        using var folder = new TemporaryFolder();
        Tokenizer.Load(Path.Combine(Folder(), "sentencepiece/test_model.model")).Save(folder.Path);
        string json = File.ReadAllText(folder.File("tokenizer.json"));
        Assert.That(json, Does.Contain(@"\\A +").And.Contain(@"+\\z"));
        Assert.That(json, Does.Not.Contain("\"^").And.Not.Contain("$\""));
    }

    // Wherever the pieces end, the settings behind them are missing.
    [Test]
    public void AModelThatWasCutIsRefused()
    {
        byte[] whole = File.ReadAllBytes(Path.Combine(Folder(), "llama2/tokenizer.model"));
        using var folder = new TemporaryFolder();
        foreach (int pieces in new[] { 1, 300, 20_000, 32_000 })
        {
            int end = 0;
            for (int i = 0; i < pieces; i++)
                end += 2 + whole[end + 1];
            Assert.That(whole[end], Is.EqualTo(pieces == 32_000 ? 0x12 : 0x0A), "where the next field begins");
            File.WriteAllBytes(folder.File("cut.model"), whole[..end]);
            Assert.That(() => Tokenizer.Load(folder.File("cut.model")), Throws.InstanceOf<LegatoException>().With.Message.Contains("cut off"));
        }
    }

    [Test]
    public void ARankFileThatWasCutIsRefusedWhateverItsName()
    {
        string[] lines = File.ReadAllLines(Path.Combine(Folder(), "tiktoken/r50k_base.tiktoken"));
        using var folder = new TemporaryFolder();
        File.WriteAllLines(folder.File("r50k_base.tiktoken"), lines[..^1]);
        Assert.That(() => Tokenizer.Load(folder.File("r50k_base.tiktoken")), Throws.InstanceOf<LegatoException>().With.Message.Contains("of 50255 tokens"));
    }

    [TestCase("tiktoken/cl100k_base.tiktoken.gz", "<|endoftext|>", 100257)]
    [TestCase("llama2/tokenizer.model", "</s>", 2)]
    [TestCase("gpt2/vocab.bpe", "<|endoftext|>", 50256)]
    public void SpecialTokensInATextCountWhenAskedFor(string file, string token, int id)
    {
        var tokenizer = Tokenizer.Load(Path.Combine(Folder(), file));
        var bare = new EncodeOptions { WithoutAddedTokens = true };
        Assert.That(tokenizer.EncodeIds(token, bare with { SpecialTokens = SpecialTokensInText.Recognise }), Is.EqualTo(new[] { id }));
        Assert.That(tokenizer.EncodeIds(token, bare), Does.Not.Contain(id));
    }

    // Whole, by what we write; and as other programs write it, in GGUF's own words.
    [TestCaseSource(nameof(Files))]
    public void GgufGivesTheSameIds(string file)
    {
        var original = Tokenizer.Load(Path.Combine(Folder(), file));
        using var folder = new TemporaryFolder();
        GgufWriter.Write(folder.File("whole.gguf"), original.ToGguf(), []);
        var whole = Tokenizer.Load(folder.File("whole.gguf"));
        Assert.That(whole.Hash, Is.EqualTo(original.Hash));
        AssertSameIds(whole, original);
        if (TextGgufTests.InGgufsWords(Path.Combine(Folder(), file)) is not { } words)
            return;
        GgufWriter.Write(folder.File("words.gguf"), words, []);
        AssertSameIds(Tokenizer.Load(folder.File("words.gguf")), original);
    }

    private static void AssertSameIds(Tokenizer tokenizer, Tokenizer original)
    {
        var options = new EncodeOptions { SkipUncovered = true, WithoutAddedTokens = true };
        foreach (var text in vectors.GetProperty("texts").EnumerateArray())
            Assert.That(tokenizer.EncodeIds(text.GetString(), options), Is.EqualTo(original.EncodeIds(text.GetString(), options)), text.GetString());
    }

    private static string Goldens([System.Runtime.CompilerServices.CallerFilePath] string here = "") =>
        Path.Combine(Path.GetDirectoryName(here)!, "..", "Goldens");

    [Test]
    public void PairsAreFramedAsTheReferenceDoes()
    {
        foreach (string name in new[] { "gpt2/tokenizer.json.gz", "bert/tokenizer.json", "t5/tokenizer.json.gz", "phi-3/tokenizer.json.gz" })
        {
            var tokenizer = Tokenizer.Load(Path.Combine(Folder(), name));
            var pair = vectors.GetProperty("tokenizers").GetProperty(name.Replace(".gz", "")).GetProperty("pair");
            var tokens = tokenizer.EncodePair(pair.GetProperty("a").GetString()!, pair.GetProperty("b").GetString()!);
            Assert.That(tokens.Ids, Is.EqualTo(Ints(pair.GetProperty("ids"))), name);
            Assert.That(tokens.TypeIds, Is.EqualTo(Ints(pair.GetProperty("type_ids"))), name);
        }
    }

    [Test]
    public void ABeginTokenComesFirstWhereTheModelIsOfTheLlamaLine()
    {
        string folder = SharedFolder.Require("data/stories260K");
        var tokenizer = Tokenizer.Load(folder);
        using var texts = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "encode.json")));
        foreach (var text in texts.RootElement.EnumerateObject())
            Assert.That(tokenizer.EncodeIds(text.Name), Is.EqualTo(Ints(text.Value)));
    }

    private static string Folder()
    {
        string folder = SharedFolder.Require("data/tokenizers");
        if (vectors.ValueKind == JsonValueKind.Undefined)
            vectors = TextFixtures.ReadGzipJson(Path.Combine(folder, "vectors.json.gz"));
        return folder;
    }

    private static int[] Ints(JsonElement array) => [.. array.EnumerateArray().Select(item => item.GetInt32())];

    private static void Check(Tokenizer tokenizer, string name, EncodeOptions options)
    {
        var rows = vectors.GetProperty("tokenizers").GetProperty(name).GetProperty("rows");
        int number = 0;
        foreach (var row in rows.EnumerateArray())
        {
            string text = vectors.GetProperty("texts")[number++].GetString()!;
            var plain = tokenizer.Encode(text, options with { WithoutAddedTokens = true });
            int[] expected = Ints(row.GetProperty("plain"));
            Assert.That(plain.Ids, Is.EqualTo(expected), text);
            if (row.TryGetProperty("offsets", out var offsets))
                Assert.That(plain.Offsets.Select(span => (Characters(text, span.Start), Characters(text, span.End))),
                    Is.EqualTo(offsets.EnumerateArray().Select(pair => (pair[0].GetInt32(), pair[1].GetInt32()))), text);
            if (row.TryGetProperty("ids", out var framed))
            {
                expected = Ints(framed);
                Assert.That(tokenizer.Encode(text, options).Ids, Is.EqualTo(expected), text);
                Assert.That(tokenizer.EncodeIds(text, options), Is.EqualTo(expected), text);
            }
            Assert.That(tokenizer.Decode(expected), Is.EqualTo(row.GetProperty("decoded").GetString()), text);
        }
    }

    private static int Characters(string text, int end) => text.AsSpan(0, end).ToArray().Count(unit => !char.IsLowSurrogate(unit));
}
