using Legato.Runtime;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Cpu;
using Legato.Runtime.Data;
using Legato.Runtime.Generation;
using Legato.Runtime.Text;
using Legato.Runtime.Text.Training;
using NUnit.Framework;

namespace Legato.Tests;

public sealed class GenerationTests
{
    private const int Vocabulary = 256;

    private static readonly Tokenizer Bytes = TokenizerTrainer.Train(TokenizerKind.Byte, []);

    private static readonly int[][] Prompts = [[5, 9], [1], [7, 7, 7, 7, 7, 7, 7, 7, 7], [200, 3, 3], [4, 4, 4, 4]];

    private static GeneratedRow[] Generate(
        int[][] prompts, GenerationOptions options, int batch = 8, int chunk = 4, int context = 64, Action<GeneratedToken>? onToken = null,
        CancellationToken cancellation = default, int runsAhead = 1, Tokenizer? tokenizer = null)
    {
        var plans = new BigramPlans(Vocabulary);
        using var memory = new ModelMemory(new BigramDevice(plans.Optimizer) { RunsAhead = runsAhead });
        using var generator = new Generator(plans, memory, new GeneratorSizes(batch, context, chunk), tokenizer ?? Bytes);
        // The device computes by itself what the weights would say.
        _ = memory.Parameter("table");
        return generator.Generate(prompts, options, onToken, cancellation);
    }

    private static GenerationOptions Greedy(int tokens) => new(tokens) { Sampling = Sampling.Greedy };

    [Test]
    public void GreedyRowsFollowTheModel([Values(1, 2, 3, 8)] int batch, [Values(1, 3, 4, 16)] int chunk)
    {
        GeneratedRow[] rows = Generate(Prompts, Greedy(12), batch, chunk);

        for (int r = 0; r < Prompts.Length; r++)
        {
            var expected = Prompts[r].ToList();
            for (int i = 0; i < 12; i++)
                expected.Add((int)((expected.Select((token, place) => (place + 1L) * token).Sum() + 1) % Vocabulary));
            Assert.That(rows[r].Tokens, Is.EqualTo(expected.Skip(Prompts[r].Length)));
            Assert.That(rows[r].Reason, Is.EqualTo(FinishReason.Length));
        }
    }

    [Test]
    public void ASampledRowDoesNotDependOnItsBatch()
    {
        var options = new GenerationOptions(10) { Seed = 100 };
        GeneratedRow[] together = Generate(Prompts, options);
        for (int r = 0; r < Prompts.Length; r++)
            Assert.That(Generate([Prompts[r]], options with { Seed = 100 + r })[0].Tokens, Is.EqualTo(together[r].Tokens));
        Assert.That(Generate(Prompts, options with { Seed = 200 })[0].Tokens, Is.Not.EqualTo(together[0].Tokens));
    }

    [Test]
    public void WhatIsDoneAheadOfAnEndIsDiscarded([Values(2, 4, 64)] int runsAhead)
    {
        GenerationOptions options = new(20) { Seed = 3 };
        GeneratedRow[] free = Generate(Prompts, options);
        options = options with { EndTokens = [free[1].Tokens[4], free[2].Tokens[9]], Stop = [free[0].Text[6..8]] };
        List<GeneratedToken> streamed = [], ahead = [];
        GeneratedRow[] rows = Generate(Prompts, options, onToken: streamed.Add), again = Generate(Prompts, options, onToken: ahead.Add, runsAhead: runsAhead);
        for (int r = 0; r < rows.Length; r++)
            Assert.That((again[r].Reason, again[r].Text, string.Join(' ', again[r].Tokens)), Is.EqualTo((rows[r].Reason, rows[r].Text, string.Join(' ', rows[r].Tokens))));
        Assert.That(rows.Select(r => r.Reason).Distinct(), Has.Member(FinishReason.EndToken).And.Member(FinishReason.StopText));
        Assert.That(ahead, Is.EqualTo(streamed));
    }

    [Test]
    public void StreamedTextIsTheText()
    {
        var streamed = new string[Prompts.Length];
        GeneratedRow[] rows = Generate(Prompts, new GenerationOptions(20) { Seed = 1 }, onToken: t => streamed[t.Row] += t.Text);

        Assert.That(streamed, Is.EqualTo(rows.Select(r => r.Text)));
        for (int r = 0; r < rows.Length; r++)
            Assert.That(rows[r].Text, Is.EqualTo(Bytes.Decode([.. rows[r].Tokens])));
    }

    [Test]
    public void TextKeepsTheSpaceBetweenItAndThePrompt()
    {
        Tokenizer words = TextFixtures.Train(TokenizerKind.Unigram, Vocabulary, "<unk>");
        GeneratedRow[] rows = Generate(Prompts, new GenerationOptions(20) { Seed = 1 }, tokenizer: words);

        for (int r = 0; r < rows.Length; r++)
            Assert.That(words.Decode(Prompts[r]) + rows[r].Text, Is.EqualTo(words.Decode([.. Prompts[r], .. rows[r].Tokens])));
        Assert.That(rows.Any(row => row.Text.StartsWith(' ')), Is.True);
    }

    [Test]
    public void TextThatWasHeldBackComesWithoutASecondToken()
    {
        GeneratedRow[] free = Generate(Prompts, Greedy(12));
        var streamed = new List<GeneratedToken>();
        // The last character might begin the stop text, which never comes.
        GeneratedRow[] rows = Generate(Prompts, Greedy(12) with { Stop = [free[0].Text[^1] + "\u0001\u0002"] }, onToken: streamed.Add);

        Assert.That(rows[0].Text, Is.EqualTo(free[0].Text));
        Assert.That(streamed.Count(t => t.Row == 0 && t.Token is null), Is.EqualTo(1));
        for (int r = 0; r < rows.Length; r++)
        {
            Assert.That(streamed.Where(t => t.Row == r && t.Token is not null).Select(t => t.Token!.Value), Is.EqualTo(rows[r].Tokens));
            Assert.That(string.Concat(streamed.Where(t => t.Row == r).Select(t => t.Text)), Is.EqualTo(rows[r].Text));
        }
    }

    [Test]
    public void AnEndTokenEndsItsRowAlone()
    {
        GeneratedRow[] free = Generate(Prompts, Greedy(12));
        int end = free[1].Tokens[4];
        GeneratedRow[] rows = Generate(Prompts, Greedy(12) with { EndTokens = [end] });

        Assert.That(rows[1].Reason, Is.EqualTo(FinishReason.EndToken));
        Assert.That(rows[1].Tokens, Is.EqualTo(free[1].Tokens.Take(4)));
        Assert.That(rows[2].Tokens, Is.EqualTo(free[2].Tokens.TakeWhile(t => t != end)));
    }

    [Test]
    public void ARowThatEndsAtOnceHasNoTokens()
    {
        int first = Generate(Prompts, Greedy(1))[0].Tokens[0];
        GeneratedRow[] rows = Generate(Prompts, Greedy(6) with { EndTokens = [first] });
        Assert.That(rows[0].Tokens, Is.Empty);
        Assert.That(rows[0].Text, Is.Empty);
    }

    [Test]
    public void AStopTextIsCutOff()
    {
        int[] prompt = [65, 66];
        GeneratedRow free = Generate([prompt], Greedy(30))[0];
        string stop = free.Text.Substring(5, 3);
        string streamed = "";
        GeneratedRow row = Generate([prompt], Greedy(30) with { Stop = ["never there", stop] }, onToken: t => streamed += t.Text)[0];

        Assert.That(row.Reason, Is.EqualTo(FinishReason.StopText));
        Assert.That(row.Text, Is.EqualTo(free.Text[..free.Text.IndexOf(stop, StringComparison.Ordinal)]));
        Assert.That(streamed, Is.EqualTo(row.Text));
    }

    [Test]
    public void ABeginningOfAStopTextComesOutAtTheEnd()
    {
        GeneratedRow free = Generate([[65, 66]], Greedy(8))[0];
        GeneratedRow row = Generate([[65, 66]], Greedy(8) with { Stop = [free.Text[^2..] + "more"] })[0];
        Assert.That(row.Text, Is.EqualTo(free.Text));
    }

    [Test]
    public void CancellationGivesWhatThereIs()
    {
        using var source = new CancellationTokenSource();
        int count = 0;
        GeneratedRow[] rows = Generate([[1], [2]], Greedy(30), onToken: _ => { if (++count == 6) source.Cancel(); }, cancellation: source.Token);
        Assert.That(rows.Select(r => r.Reason), Is.All.EqualTo(FinishReason.Cancelled));
        Assert.That(rows.Select(r => r.Tokens.Count), Is.All.EqualTo(3));
    }

    [Test]
    public void WhatCannotBeGeneratedIsRefusedBeforeAnythingRuns()
    {
        void Refused(int[] prompt, GenerationOptions options, string message) =>
            Assert.That(
                () => Generate([[1], prompt], options, onToken: _ => Assert.Fail("nothing should run")),
                Throws.TypeOf<LegatoException>().With.Message.Contains(message));

        Refused(new int[60], Greedy(5), "prompt 1 has 60 tokens; with 5 more it exceeds the context of 64");
        Refused([Vocabulary], Greedy(5), "outside the vocabulary");
        Refused([1], Greedy(-1), "can't be generated");
        Refused([1], new GenerationOptions(5) { Sampling = new Sampling(-1) }, "temperature");
        Refused([1], new GenerationOptions(5) { Sampling = new Sampling(TopP: 0) }, "top-p");
        Refused([1], new GenerationOptions(5) { Sampling = new Sampling(TopK: -1) }, "top-k");
        Refused([1], Greedy(5) with { Stop = [""] }, "stop string");
        Assert.That(Generate([new int[60]], Greedy(4))[0].Tokens, Has.Count.EqualTo(4), "a full context is not too much");
        Assert.That(Generate([[]], Greedy(2))[0].Tokens, Is.EqualTo(Generate([[0]], Greedy(2))[0].Tokens), "an empty prompt begins with the begin token");
        Assert.That(Generate([[1]], Greedy(0))[0].Tokens, Is.Empty);
    }

    [Test]
    public void GreedyIsTheFirstOfTheLargest()
    {
        Assert.That(Sampler.Likeliest([1, 3, 2, 3]), Is.EqualTo(1));
        float[] row = [.. Enumerable.Range(0, 37).Select(i => i % 9 == 8 ? 0f : -i)];
        Assert.That(Sampler.Likeliest(row), Is.Zero);
        foreach (int at in new[] { 36, 33, 31, 16, 15 })
        {
            row[at] = 1;
            Assert.That(Sampler.Likeliest(row), Is.EqualTo(at), "the first of equals, wherever it lies");
        }
        foreach (int at in new[] { 3, 20, 34 })
            Assert.That(() => Sampler.Likeliest([.. row.Select((logit, i) => i == at ? float.NaN : logit)]), Throws.TypeOf<LegatoException>());
        Assert.That(() => Sampler.Likeliest([1, float.NaN]), Throws.TypeOf<LegatoException>());
        Assert.That(() => Sampler.Likeliest([float.NegativeInfinity, float.NegativeInfinity]), Throws.TypeOf<LegatoException>());
    }

    [Test]
    public void ChoicesStayInsideTopKAndTheNucleus()
    {
        var random = new Random(1);
        for (int round = 0; round < 2000; round++)
        {
            int n = random.Next(1, 40);
            float[] logits = [.. Enumerable.Range(0, n).Select(_ => round % 5 == 0 ? random.Next(3) : (float)(random.NextDouble() * 8))];
            var sampling = new Sampling(0.3 + random.NextDouble(), random.Next(0, n + 2), random.Next(3) == 0 ? 1 : 0.05 + 0.9 * random.NextDouble());
            int choice = Choose(new TokenChoice(n), logits, sampling, (uint)random.NextInt64(1L << 32));
            Assert.That(Admitted(logits, sampling, choice), $"{choice} of [{string.Join(", ", logits)}] with {sampling}");
        }
    }

    [Test]
    public void ChoicesHaveTheirProbabilities()
    {
        float[] logits = [0, 1, 2, -1, float.NegativeInfinity];
        var choice = new TokenChoice(5);
        var random = new CounterRandom(1, "test");
        foreach (Sampling sampling in new[] { new Sampling(1), new Sampling(0.7, TopK: 3), new Sampling(1.3, TopP: 0.9), new Sampling(1, 4, 0.8) })
        {
            var counts = new int[5];
            for (ulong i = 0; i < 20_000; i++)
                counts[Choose(choice, logits, sampling, random.Word(i))]++;
            double[] expected = Probabilities(logits, sampling);
            for (int token = 0; token < 5; token++)
                Assert.That(counts[token] / 20_000.0, Is.EqualTo(expected[token]).Within(0.015), $"{sampling}");
        }
    }

    [Test]
    public void ChoosingAllocatesNothing()
    {
        float[] logits = [.. Enumerable.Range(0, 1000).Select(i => (i * 37 % 101) / 10f)];
        var choice = new TokenChoice(1000);
        var sampling = new Sampling(0.8, 50, 0.9);
        Choose(choice, logits, sampling, 1u << 31);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
            Choose(choice, logits, sampling, (uint)i << 25);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private static int Choose(TokenChoice choice, float[] logits, Sampling sampling, uint word) =>
        choice.Choose(logits, (float)sampling.Temperature, sampling.TopK, (float)sampling.TopP, word);

    // The definition, slowly: k-th largest as a bound, then the smallest prefix of the sorted rest that reaches the share.
    private static double[] Probabilities(float[] logits, Sampling sampling)
    {
        int[] order = [.. Enumerable.Range(0, logits.Length).OrderByDescending(i => logits[i])];
        if (sampling.TopK > 0)
            order = [.. order.Take(sampling.TopK)];
        double[] weights = [.. order.Select(i => Math.Exp((logits[i] - logits[order[0]]) / sampling.Temperature))];
        double total = weights.Sum();
        double sum = 0;
        int kept = 0;
        while (kept < weights.Length && sum < sampling.TopP * total - 1e-12)
            sum += weights[kept++];
        var probabilities = new double[logits.Length];
        for (int i = 0; i < kept; i++)
            probabilities[order[i]] = weights[i] / sum;
        return probabilities;
    }

    // Equal logits may stand for each other.
    private static bool Admitted(float[] logits, Sampling sampling, int choice)
    {
        double[] probabilities = Probabilities(logits, sampling);
        return Enumerable.Range(0, logits.Length).Any(i => logits[i] == logits[choice] && probabilities[i] > 0);
    }
}
