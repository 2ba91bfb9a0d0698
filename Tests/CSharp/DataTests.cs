using System.Runtime.InteropServices;
using Legato.Runtime;
using Legato.Runtime.Data;
using Legato.Runtime.Text;
using Legato.Runtime.Text.Chat;
using Legato.Runtime.Text.Training;
using NUnit.Framework;

namespace Legato.Tests;

public sealed class DataTests
{
    private static readonly Tokenizer Bytes = TokenizerTrainer.Train(TokenizerKind.Byte, []);

    private readonly TemporaryFolder folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => folder.Dispose();

    [Test]
    public void TokenFilesHoldWhatWasTokenised()
    {
        Directory.CreateDirectory(folder.File("texts/inner"));
        File.WriteAllText(folder.File("texts/b.txt"), "second Straße\n");
        File.WriteAllText(folder.File("texts/a.txt"), "\uFEFFfirst\n", new System.Text.UTF8Encoding(true));
        File.WriteAllText(folder.File("texts/inner/c.txt"), "third");
        File.WriteAllBytes(folder.File("texts/picture.png"), [0, 1, 2]);
        string path = folder.File("tokens");

        TokenFile.Write(path, TextFiles.Find(folder.File("texts")), Bytes);

        using TokenData data = TokenData.OpenVerified(path, TextFiles.Find(folder.File("texts")).Paths);
        var tokens = new int[data.Count];
        data.Read(0, tokens);
        string text = Bytes.Decode(tokens);
        Assert.That(text, Does.Contain("first\n").And.Contain("second Straße\n").And.Contain("third"));
        Assert.That(text.IndexOf("first", StringComparison.Ordinal), Is.LessThan(text.IndexOf("second", StringComparison.Ordinal)));
        Assert.That(data.TokenizerHash, Is.EqualTo(Bytes.Hash).IgnoreCase);
        Assert.That(data.Vocabulary, Is.EqualTo(Bytes.VocabularySize));
    }

    [Test]
    public void ADamagedTokenFileIsRefused()
    {
        string text = folder.File("damaged.txt");
        File.WriteAllText(text, "some text to damage");
        string path = folder.File("damaged-tokens");
        TokenFile.Write(path, TextFiles.Find(text), Bytes);
        byte[] sound = File.ReadAllBytes(path);

        File.WriteAllBytes(path, sound[..^1]);
        Assert.That(() => TokenData.Open(path), Throws.TypeOf<LegatoException>().With.Message.Contains("damaged"));
        File.WriteAllBytes(path, [1, .. sound[1..]]);
        Assert.That(() => TokenData.Open(path), Throws.TypeOf<LegatoException>().With.Message.Contains("no token file"));
        File.WriteAllBytes(path, []);
        Assert.That(() => TokenData.Open(path), Throws.TypeOf<LegatoException>().With.Message.Contains("no token file"));
        sound[^1] ^= 1;
        File.WriteAllBytes(path, sound);
        Assert.That(() => TokenData.OpenVerified(path, [text]), Throws.TypeOf<LegatoException>().With.Message.Contains("checksum"));
        sound[^1] ^= 1;
        File.WriteAllBytes(path, sound);
        using TokenData data = TokenData.OpenVerified(path, [text]);
        Assert.That(data.Count, Is.GreaterThan(0));
    }

    [Test]
    public void UnusableFilesAreNamed()
    {
        File.WriteAllText(folder.File("empty.txt"), "");
        File.WriteAllBytes(folder.File("binary.txt"), [65, 0, 66]);
        File.WriteAllBytes(folder.File("latin.txt"), [65, 0xE9, 66]);
        Directory.CreateDirectory(folder.File("no-texts"));

        Refused(() => TextFiles.Find(folder.File("absent.txt")), "absent.txt", "no such file");
        Refused(() => TextFiles.Find(folder.File("no-texts")), "no-texts", "no .txt file");
        Refused(() => Tokenise("empty.txt"), "empty.txt", "empty");
        Refused(() => Tokenise("binary.txt"), "binary.txt", "byte 1 is zero");
        Refused(() => Tokenise("latin.txt"), "latin.txt", "byte 1 is 0xE9");
        Assert.That(File.Exists(folder.File("out")), Is.False);
    }

    [Test]
    public void AnEpochVisitsEveryWindowOnce([Values(1, 2, 5, 8, 9, 100, 257)] int windows)
    {
        const int sequence = 4;
        TokenRange range = TokenRange.All(Counting(windows * sequence + 3));
        var batches = new WindowBatches(range, rows: 1, new RowShape(sequence), seed: 7);
        var batch = new RowBatch(1, new RowShape(sequence));
        var starts = new List<int>();
        for (int step = 0; step < batches.Count; step++)
        {
            batches.Fill(step, batch);
            starts.Add(batch.Tokens[0]);
            Assert.That(batch.Labels, Is.EqualTo(batch.Tokens.Select(t => t + 1)));
        }
        starts.Sort();
        Assert.That(starts.Distinct().Count(), Is.EqualTo(batches.Count));
        Assert.That(starts.Zip(starts.Skip(1), (a, b) => b - a), Is.All.EqualTo(sequence));
    }

    [Test]
    public void ABatchIsAFunctionOfSeedAndStep()
    {
        TokenRange range = TokenRange.All(Counting(1000));
        int[] Batch(long seed, long step)
        {
            var batch = new RowBatch(3, new RowShape(8));
            new WindowBatches(range, 3, new RowShape(8), seed).Fill(step, batch);
            return batch.Tokens;
        }

        Assert.That(Batch(1, 50), Is.EqualTo(Batch(1, 50)));
        Assert.That(Batch(1, 50), Is.Not.EqualTo(Batch(2, 50)));
        Assert.That(Batch(1, 50), Is.Not.EqualTo(Batch(1, 51)));
        Assert.That(Batch(1, 0), Is.Not.EqualTo(Batch(1, 41)), "the second epoch has an order of its own");
    }

    [Test]
    public void FillingABatchAllocatesNothing([Values] bool isPacked)
    {
        var shape = new RowShape(16, IsPacked: isPacked);
        var batches = new WindowBatches(TokenRange.All(Counting(10_000)), 4, shape, 1);
        var batch = new RowBatch(4, shape);
        batches.Fill(0, batch);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int step = 1; step < 100; step++)
            batches.Fill(step, batch);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    [Test]
    public void TheHeldOutPartIsTheTail()
    {
        (TokenRange train, TokenRange heldOut) = TokenRange.Split(Counting(100), 0.1);
        Assert.That((train.Start, train.Length, heldOut.Start, heldOut.Length), Is.EqualTo((0L, 90L, 90L, 10L)));
        Assert.That(() => TokenRange.Split(Counting(100), 1), Throws.TypeOf<LegatoException>());
    }

    [Test]
    public void AWindowLongerThanTheDataIsRefused()
    {
        Assert.That(
            () => new WindowBatches(TokenRange.All(Counting(8)), 1, new RowShape(8), 1),
            Throws.TypeOf<LegatoException>().With.Message.Contains("9 tokens").And.Message.Contains("has 8"));
        Assert.That(() => new WindowBatches(TokenRange.All(Counting(9)), 1, new RowShape(8), 1), Throws.Nothing);
    }

    [Test]
    public void EvaluationGoesThroughTheRangeInOrder()
    {
        var shape = new RowShape(8);
        var batches = new EvaluationBatches(TokenRange.All(Counting(50)), 2, shape);
        Assert.That(batches.Count, Is.EqualTo(3));
        batches.Fill(1);
        Assert.That(batches.Batch.Tokens, Is.EqualTo(Enumerable.Range(16, 16)));
        Assert.That(new EvaluationBatches(TokenRange.All(Counting(50)), 2, shape, most: 1).Count, Is.EqualTo(1));
        Assert.That(new EvaluationBatches(TokenRange.All(Counting(12)), 4, shape).Count, Is.EqualTo(1));
    }

    [Test]
    public void APackedRowKeepsItsDocumentsApart()
    {
        const int begins = TokenMarks.Begins, given = TokenMarks.Given, ignored = Objective.Ignored;
        int[] text = [1, 2, 3 | begins, 4 | given, 5, 6 | begins | given, 7, 8, 9 | begins];
        TokenData data = TokenData.Of(text, 10, new string('0', 64));
        RowBatch Rows(Objective objective)
        {
            var batches = new EvaluationBatches(TokenRange.All(data), 1, new RowShape(8, IsPacked: true), objective: objective);
            batches.Fill(0);
            return batches.Batch;
        }

        RowBatch row = Rows(Objective.Causal);
        Assert.That(row.Tokens, Is.EqualTo(new[] { 1, 2, 3, 4, 5, 6, 7, 8 }));
        Assert.That(row.Starts, Is.EqualTo(new[] { 0, 0, 2, 2, 2, 5, 5, 5 }));
        Assert.That(row.Labels, Is.EqualTo(new[] { 2, ignored, ignored, 5, ignored, 7, 8, ignored }));
        Assert.That(row.Told, Is.EqualTo(4));
        // A masked token is told where it stands.
        Assert.That(
            Rows(new MaskedObjective(1, 0, 10, [])).Labels,
            Is.EqualTo(new[] { 1, 2, 3, ignored, 5, ignored, 7, 8 }));
    }

    [Test]
    public void FilesAndSeparatorsEndDocuments()
    {
        File.WriteAllText(folder.File("one.txt"), "ab;c;");
        File.WriteAllText(folder.File("two.txt"), "de");
        string path = folder.File("documents");
        int separator = Bytes.EncodeIds(";")[0];
        Assert.That(TokenFile.Write(path, TextFiles.Find(folder.File("one.txt"), folder.File("two.txt")), Bytes, [separator]), Is.EqualTo(3));
        using TokenData data = TokenData.Open(path);
        var tokens = new int[data.Count];
        data.Read(0, tokens);
        string text = string.Concat(tokens.Select(t => (TokenMarks.BeginsDocument(t) ? "|" : "") + Bytes.Decode([TokenMarks.NumberOf(t)])));
        Assert.That(text, Is.EqualTo("|ab;|c;|de"));
        Assert.That(data.Vocabulary, Is.EqualTo(Bytes.VocabularySize));
    }

    [Test]
    public void OfAConversationTheAssistantsTokensAreTold()
    {
        string path = folder.File("chats.jsonl");
        File.WriteAllLines(path,
        [
            """{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"yo"}]}""",
            "",
            """{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"d"}]}""",
        ]);
        var template = ChatTemplates.Parse(
            "{% for m in messages %}{{ m['role'][0] }}{{ m['content'] }}.{% endfor %}{% if add_generation_prompt %}a{% endif %}");
        Assert.That(TokenFile.Write(folder.File("chats"), Conversations.Find(path), Bytes, template), Is.EqualTo(7));
        using TokenData data = TokenData.Open(folder.File("chats"));
        var tokens = new int[data.Count];
        data.Read(0, tokens);
        string Text(Func<int, bool> chosen) => string.Concat(
            tokens.Select(t => (TokenMarks.BeginsDocument(t) ? "|" : "") + (chosen(t) ? Bytes.Decode([TokenMarks.NumberOf(t)]) : "_")));
        Assert.That(Text(_ => true), Is.EqualTo("|uhi.ayo.|ua.ab.uc.ad."));
        Assert.That(Text(t => !TokenMarks.IsGiven(t)), Is.EqualTo("|_____yo.|____b.____d."));

        string marked = folder.File("marked.jsonl");
        File.WriteAllText(marked, "\uFEFF" + File.ReadAllText(path));
        Assert.That(TokenFile.Write(folder.File("marked"), Conversations.Find(marked), Bytes, template), Is.EqualTo(7), "with a byte order mark");
        File.WriteAllBytes(marked, [.. File.ReadAllBytes(path), 0xFF, (byte)'\n']);
        Assert.That(() => Conversations.Find(marked).ForEach(_ => { }), Throws.TypeOf<LegatoException>().With.Message.Contains("no UTF-8").And.Message.Contains("line 4"));

        File.AppendAllText(path, "{\"text\":\"no chat\"}\n");
        LegatoException error = Assert.Throws<LegatoException>(
            () => TokenFile.Write(folder.File("chats"), Conversations.Find(path), Bytes, template))!;
        Assert.That(error.Where, Does.EndWith("chats.jsonl, line 4"));
        string plain = folder.File("plain.txt");
        File.WriteAllText(plain, "no chat");
        Assert.That(() => Conversations.Find(path, plain), Throws.TypeOf<LegatoException>().With.Message.Contains("together"));
    }

    [Test]
    public void WhatHasNoEndIsRefused()
    {
        if (!OperatingSystem.IsLinux())
            Assert.Ignore("only Linux has a file without an end");
        string chats = folder.File("endless.jsonl");
        File.CreateSymbolicLink(chats, "/dev/zero");
        foreach (Action read in new Action[]
        {
            () => TextFiles.ForEachPiece("/dev/zero", _ => { }),
            () => Conversations.Find(chats).ForEach(_ => { }),
            () => Tokenizer.Load("/dev/zero"),
            () => EndlessFile.ReadWithin("/dev/zero", int.MaxValue),
        })
            Assert.That(() => read(), Throws.TypeOf<LegatoException>().With.Message.Contains("doesn't say where it ends"));
        string file = folder.File("five");
        File.WriteAllText(file, "12345");
        Assert.That(EndlessFile.ReadWithin(file, 5), Has.Length.EqualTo(5));
        Assert.That(EndlessFile.ReadWithin(file, 4), Is.Null);
    }

    [Test]
    public void AByteOrderMarkIsNoPartOfATokenizer()
    {
        string path = Path.Combine(Directory.CreateDirectory(folder.File("marked-tokenizer")).FullName, "tokenizer.json");
        Bytes.Save(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, [.. "\uFEFF"u8, .. File.ReadAllBytes(path)]);
        Assert.That(Tokenizer.Load(path).Hash, Is.EqualTo(Bytes.Hash));
    }

    [TestCase(1, "token", "1 token")]
    [TestCase(2, "token", "2 tokens")]
    [TestCase(0, "batch", "0 batches")]
    public void OneIsNotSeveral(int count, string noun, string told) => Assert.That(Counted.Of(count, noun), Is.EqualTo(told));

    [Test]
    public void NormalNumbersAreNormal()
    {
        var random = new CounterRandom(1, "weights");
        double sum = 0, squares = 0;
        for (ulong i = 0; i < 50_000; i++)
        {
            (float x, float y) = random.NormalPair(i);
            (sum, squares) = (sum + x + y, squares + x * x + y * y);
        }
        Assert.That(sum / 100_000, Is.EqualTo(0).Within(0.02));
        Assert.That(squares / 100_000, Is.EqualTo(1).Within(0.02));
        Assert.That(new CounterRandom(1, "a").Word(0), Is.Not.EqualTo(new CounterRandom(1, "b").Word(0)));
    }

    /// <summary>So many that some lie where vectors' own functions could round otherwise.</summary>
    [TestCase(0ul, (1 << 20) + 5)]
    [TestCase((1ul << 31) - 100, 1000)]
    [TestCase((1ul << 40) + 3, 1)]
    public void NormalNumbersByVectorsHaveTheSameBits(ulong pair, int count)
    {
        var random = new CounterRandom(7, "weights");
        float[] values = new float[count], expected = new float[count + 1];
        NormalVectors.Fill(values, random, pair, 0.02f);
        for (int i = 0; i < count; i += 2)
        {
            (float x, float y) = random.NormalPair(pair + (ulong)i / 2);
            (expected[i], expected[i + 1]) = (0.02f * x, 0.02f * y);
        }
        Assert.That(MemoryMarshal.Cast<float, int>(values).ToArray(), Is.EqualTo(MemoryMarshal.Cast<float, int>(expected.AsSpan(0, count)).ToArray()));
    }

    private static TokenData Counting(int count) => TokenData.Of([.. Enumerable.Range(0, count)], count, new string('0', 64));

    private void Tokenise(string name) => TokenFile.Write(folder.File("out"), TextFiles.Find(folder.File(name)), Bytes);

    private static void Refused(Action action, string where, string message)
    {
        LegatoException error = Assert.Throws<LegatoException>(() => action())!;
        Assert.That(error.Where, Does.EndWith(where));
        Assert.That(error.Message, Does.Contain(message));
    }
}
