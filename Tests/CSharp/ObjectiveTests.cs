using Legato.Runtime;
using Legato.Runtime.Data;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>What objectives make of text, and that they make the same of it each time.</summary>
public sealed class ObjectiveTests
{
    private const int Length = 128, Vocabulary = 1000;
    private static readonly int[] Text = [.. Enumerable.Range(100, Length + 1)];
    private static readonly int[] Sentinels = [.. Enumerable.Range(0, 40).Select(i => 999 - i)];

    private static readonly MaskedObjective Masked = new(0.15, 3, Vocabulary, [110]);
    private static readonly SpanCorruption Spans = new(0.15, 3, Sentinels);
    private static readonly Denoising Denoise = new(0.3, 3, 3, 4, [119, 139, 159]);
    private static readonly FillInTheMiddle Middle = new(1, 0.5, 5, 6, 7);

    private static readonly Objective[] All = [Objective.Causal, Masked, Spans, Denoise, Middle];

    private static (int[] Tokens, int[] Labels) Row(Objective objective, long row, int length = Length)
    {
        var batch = new RowBatch(1, new RowShape(length));
        var random = new RowRandom(7, row);
        objective.Fill(Text.AsSpan(0, length + 1), ref random, batch[0]);
        return (batch.Tokens, batch.Labels);
    }

    [TestCaseSource(nameof(All))]
    public void ARowIsAFunctionOfItsSeedAndItsPlace(Objective objective)
    {
        Assert.That(Row(objective, 5), Is.EqualTo(Row(objective, 5)));
        if (objective is not CausalObjective)
            Assert.That(Row(objective, 5).Tokens, Is.Not.EqualTo(Row(objective, 6).Tokens));
    }

    [TestCaseSource(nameof(All))]
    public void ABatchIsTheSameAfterAResumption(Objective objective)
    {
        TokenRange range = TokenRange.All(TokenData.Of([.. Enumerable.Range(0, 2000).Select(i => 10 + i % 900)], Vocabulary, "hash"));
        var shape = new RowShape(64);
        RowBatch batch = new(4, shape), again = new(4, shape);
        var batches = new WindowBatches(range, 4, shape, 3, objective);
        for (long step = 0; step < 9; step++)
            batches.Fill(step, batch);
        new WindowBatches(range, 4, shape, 3, objective).Fill(8, again);

        Assert.That(again.Tokens, Is.EqualTo(batch.Tokens));
        Assert.That(again.Labels, Is.EqualTo(batch.Labels));
        Assert.That(batch.Labels.Any(l => l == Objective.Ignored), Is.EqualTo(objective is SourceAndTarget or MaskedObjective));
    }

    private static readonly Objective[] Moving = [Spans, Denoise, Middle];

    [TestCaseSource(nameof(Moving))]
    public void APackedRowHoldsAnExampleOfEachDocument(Objective objective)
    {
        // A document's tokens lie in a hundred of its own; what the assistant didn't say is given.
        int[] lengths = [1, 2, 30, 5, 40, 17, 60];
        int[] text = [.. lengths.SelectMany((length, document) => Enumerable.Range(0, length).Select(i =>
            100 * (document + 1) + i | (i == 0 ? TokenMarks.Begins : 0) | (i % 7 == 3 ? TokenMarks.Given : 0)))];
        TokenRange range = TokenRange.All(TokenData.Of(text, Vocabulary, "hash"));
        var shape = new RowShape(Length, IsPacked: true);
        for (long seed = 0; seed < 50; seed++)
        {
            var batch = new RowBatch(1, shape);
            new WindowBatches(range, 1, shape, seed, objective).Fill(0, batch);
            int[] specials = [.. Sentinels, 3, 4, 5, 6, 7];
            int told = 0;
            for (int start = 0, end; start < Length; start = end)
            {
                end = start;
                while (end < Length && batch.Starts[end] == start)
                    end++;
                Assert.That(end, Is.GreaterThan(start), "a start that no place has");
                int[] tokens = batch.Tokens[start..end], labels = batch.Labels[start..end];
                int[] own = [.. tokens.Except(specials).Select(token => token / 100).Distinct()];
                Assert.That(own, Has.Length.LessThanOrEqualTo(1), "documents are mixed");
                for (int i = 0; i < labels.Length; i++)
                {
                    if (labels[i] < 0)
                        continue;
                    told++;
                    Assert.That(labels[i] % 100 % 7, Is.Not.EqualTo(3).Or.Matches<int>(_ => specials.Contains(labels[i])), "a given token is told");
                    Assert.That(specials.Contains(labels[i]) || own.Length == 0 || labels[i] / 100 == own[0], "another document's token is told");
                    if (i + 1 < labels.Length)
                        Assert.That(labels[i], Is.EqualTo(tokens[i + 1]), "a label isn't the next token");
                }
                Assert.That(end == Length || labels[^1] == Objective.Ignored, "a document's end tells something");
            }
            Assert.That(told, Is.Positive);
        }
    }

    [Test]
    public void OfMaskedTokensTheSharesAreThoseOfThePaper()
    {
        int told = 0, masked = 0, kept = 0, all = 0;
        for (long row = 0; row < 500; row++)
        {
            (int[] tokens, int[] labels) = Row(Masked, row);
            Assert.That(labels[10], Is.EqualTo(Objective.Ignored), "a spared token was chosen");
            for (int i = 0; i < Length; i++, all++)
            {
                if (labels[i] == Objective.Ignored)
                {
                    Assert.That(tokens[i], Is.EqualTo(Text[i]));
                    continue;
                }
                Assert.That(labels[i], Is.EqualTo(Text[i]));
                told++;
                masked += tokens[i] == 3 ? 1 : 0;
                kept += tokens[i] == Text[i] ? 1 : 0;
            }
        }
        Assert.That((double)told / all, Is.EqualTo(0.15).Within(0.005));
        Assert.That((double)masked / told, Is.EqualTo(0.8).Within(0.015));
        Assert.That((double)kept / told, Is.EqualTo(0.1).Within(0.015));
    }

    [Test]
    public void CutSpansAndWhatIsLeftMakeTheText()
    {
        double cut = 0, spans = 0;
        for (long row = 0; row < 200; row++)
        {
            (int[] source, int[] target) = Parts(Row(Spans, row));
            Assert.That(target[^1], Is.EqualTo(Sentinels[target.Count(Sentinels.Contains) - 1]));
            var restored = new List<int>();
            foreach (int token in source)
                if (Array.IndexOf(Sentinels, token) is var n and >= 0)
                {
                    int start = Array.IndexOf(target, token) + 1, end = Array.IndexOf(target, Sentinels[n + 1]);
                    Assert.That(end, Is.GreaterThan(start), "a span is empty");
                    restored.AddRange(target[start..end]);
                }
                else
                {
                    restored.Add(token);
                }
            Assert.That(restored, Is.EqualTo(Text[..restored.Count]));
            (cut, spans) = (cut + (double)target.Count(t => !Sentinels.Contains(t)) / restored.Count, spans + target.Count(Sentinels.Contains) - 1);
            Assert.That(source.Length + target.Length, Is.InRange(Length - 2, Length + 1));
        }
        Assert.That(cut / 200, Is.EqualTo(0.15).Within(0.01));
        Assert.That(spans / 200, Is.EqualTo(0.15 * 115 / 3).Within(0.5));
    }

    [Test]
    public void ADenoisedTextIsWholeInItsTarget()
    {
        double masked = 0, all = 0;
        bool moved = false;
        for (long row = 0; row < 500; row++)
        {
            (int[] source, int[] target) = Parts(Row(Denoise, row));
            Assert.That(target, Is.EqualTo(Text[..target.Length]));
            Assert.That(source[^1], Is.EqualTo(4));
            int[] kept = [.. source[..^1].Where(t => t != 3)];
            Assert.That(kept, Is.Unique.And.SubsetOf(target));
            moved |= !kept.SequenceEqual(kept.Order());
            (masked, all) = (masked + target.Length - kept.Length, all + target.Length);
        }
        Assert.That(masked / all, Is.EqualTo(0.3).Within(0.02));
        Assert.That(moved, Is.True, "no sentence was ever moved");
    }

    [Test]
    public void AMiddleIsAtTheEnd()
    {
        int suffixFirst = 0;
        for (long row = 0; row < 400; row++)
        {
            (int[] tokens, int[] labels) = Row(Middle, row);
            int[] sequence = [.. tokens, labels[^1]];
            Assert.That(tokens[1..], Is.EqualTo(labels[..^1]));
            int suffix = Array.IndexOf(sequence, 6), middle = Array.IndexOf(sequence, 7);
            Assert.That(sequence[0], Is.EqualTo(5));
            Assert.That(suffix, Is.LessThan(middle));
            int[] before = sequence[1..suffix], tail = sequence[(suffix + 1)..middle], rest = sequence[(middle + 1)..];
            // Suffix first: prefix and middle are one text behind the last mark.
            suffixFirst += before.Length == 0 && rest.Length > 0 && rest[0] == Text[0] ? 1 : 0;
            Assert.That((int[])[.. before, .. rest, .. tail], Is.EqualTo(Text[..(Length - 2)]));
        }
        Assert.That(suffixFirst / 400.0, Is.EqualTo(0.5).Within(0.1));
        Assert.That(Row(new FillInTheMiddle(0, 0.5, 5, 6, 7), 1).Tokens, Is.EqualTo(Text[..Length]));
    }

    [Test]
    public void PoissonNumbersHaveTheirMeanAndVariance()
    {
        var random = new RowRandom(1, 1);
        double[] drawn = [.. Enumerable.Range(0, 20_000).Select(_ => (double)random.Poisson(3))];
        double mean = drawn.Average();
        Assert.That(mean, Is.EqualTo(3).Within(0.05));
        Assert.That(drawn.Average(x => (x - mean) * (x - mean)), Is.EqualTo(3).Within(0.15));
    }

    [Test]
    public void RowsThatAreTooShortAreRefused()
    {
        TokenRange range = TokenRange.All(TokenData.Of(Text, Vocabulary, "hash"));
        Assert.That(() => new WindowBatches(range, 1, new RowShape(8), 1, Spans), Throws.TypeOf<LegatoException>().With.Message.Contains("at least 16"));
    }

    private const int Start = 1, End = 2, Source = 96;

    private static (int[] Source, int[] Tokens, int[] Labels) Apart(SourceAndTarget objective, long row)
    {
        SourceAndTarget framed = objective.Framed(Start, End);
        RowShape shape = framed.Beside(Source);
        var batch = new RowBatch(1, shape);
        var random = new RowRandom(7, row);
        framed.Fill(Text.AsSpan(0, framed.TextLength(shape)), ref random, batch[0]);
        return (batch.Source[..batch.SourceLengths[0]], batch.Tokens, [.. batch.Labels.Where(l => l != Objective.Ignored)]);
    }

    [Test]
    public void SourceAndTargetStandApartForAnEncoder()
    {
        foreach (SourceAndTarget objective in new SourceAndTarget[] { Spans, Denoise })
            for (long row = 0; row < 100; row++)
            {
                (int[] source, int[] tokens, int[] told) = Apart(objective, row);
                Assert.That(source[^1], Is.EqualTo(End));
                Assert.That(told[^1], Is.EqualTo(End));
                // Each target token is told from those before it, the first from the start.
                Assert.That(tokens[..told.Length], Is.EqualTo((int[])[Start, .. told[..^1]]));
                Assert.That(source.Length, Is.LessThanOrEqualTo(Source));
            }
        Assert.That(Apart(Spans, 1).Source, Has.Length.EqualTo(Source), "a source of spans is filled");
        (int[] cut, _, int[] target) = Apart(Spans, 3);
        int[] kept = [.. cut[..^1].Where(t => !Sentinels.Contains(t))], gone = [.. target[..^1].Where(t => !Sentinels.Contains(t))];
        Assert.That(kept.Concat(gone).Order(), Is.EqualTo(Text[..(kept.Length + gone.Length)]));
        (_, _, int[] whole) = Apart(Denoise, 3);
        Assert.That(whole[..^1], Is.EqualTo(Text[..(Source - 1)]));
    }

    // The target's tokens are those that a label counts for; the source is what stands before.
    private static (int[] Source, int[] Target) Parts((int[] Tokens, int[] Labels) row)
    {
        int first = Array.FindIndex(row.Labels, l => l != Objective.Ignored);
        return (row.Tokens[..(first + 1)], [.. row.Labels.Where(l => l != Objective.Ignored)]);
    }
}
