using System.Text;
using Legato.Runtime.Data;
using NUnit.Framework;

namespace Legato.Tests;

public sealed class CorpusTests
{
    [Test]
    public void TheCorpusIsWhatItsScoreCallsRight()
    {
        string text = Corpus.Write(seed: 3, characters: 200_000);
        CorpusScore score = CorpusScore.Of(text);

        Assert.That(score.Sentences, Is.GreaterThan(1000));
        Assert.That(score.Sums, Is.GreaterThan(5000));
        Assert.That((score.AcceptedShare, score.RightShare), Is.EqualTo((1.0, 1.0)));
    }

    [Test]
    public void EqualSeedsWriteEqualText()
    {
        Assert.That(Corpus.Write(5, 10_000), Is.EqualTo(Corpus.Write(5, 10_000)));
        Assert.That(Corpus.Write(5, 10_000), Is.Not.EqualTo(Corpus.Write(6, 10_000)));
    }

    [Test]
    public void HeldOutSumsAreNeverShown()
    {
        foreach (string line in Corpus.Write(1, 500_000).Split('\n'))
            if (Sum.TryParse(line, out Sum sum, out _))
                Assert.That(sum.IsHeldOut || new Sum(sum.Right, sum.Left).IsHeldOut, Is.False, line);
        Assert.That(Sum.HeldOut, Has.Count.InRange(600, 1000));
        Assert.That(Sum.HeldOut, Does.Contain(new Sum(Sum.HeldOut[0].Right, Sum.HeldOut[0].Left)));
    }

    [TestCase("Tom found a red kite near the river and took it home.", true)]
    [TestCase("One day, the ducks lost two old boats by the sea, but Mia found them.", true)]
    [TestCase("She was so proud with her tiny drum that she sang all day.", true)]
    [TestCase("Mia gave an egg to the twins, and they thanked her.", true)]
    [TestCase("Tom found an red kite near the river and took it home.", false)]
    [TestCase("Tom found a old kite near the river and took it home.", false)]
    [TestCase("Tom found three red kites near the river and took it home.", false)]
    [TestCase("Tom found a red kite near the river and took them home.", false)]
    [TestCase("Mia was so proud with her tiny drum that he sang all day.", false)]
    [TestCase("Mia gave an egg to the twins, and she thanked her.", false)]
    [TestCase("Mia gave an egg to the twins, and they thanked him.", false)]
    [TestCase("The twins was sad because Tom had taken their ball.", false)]
    [TestCase("tom found a red kite near the river and took it home.", false)]
    [TestCase("Tom found a red kite near the river and took it home", false)]
    [TestCase("Tom found a red kite near the river and took it home..", false)]
    [TestCase("Tom.", false)]
    [TestCase("", false)]
    public void TheGrammarKnowsItsSentences(string sentence, bool accepted) =>
        Assert.That(Grammar.Accepts(sentence), Is.EqualTo(accepted));

    [Test]
    public void AChangedWordIsNearlyAlwaysNoticed()
    {
        var random = new Random(1);
        int noticed = 0;
        for (int round = 0; round < 500; round++)
        {
            var text = new StringBuilder();
            Grammar.Opening(round % Grammar.HeroKinds).Write(text, random.Next);
            int place = random.Next(text.Length);
            text[place] = text[place] == 'x' ? 'y' : 'x';
            noticed += Grammar.Accepts(text.ToString()) ? 0 : 1;
        }
        Assert.That(noticed, Is.EqualTo(500));
    }

    [Test]
    public void OnlyWholeSentencesCount()
    {
        CorpusScore score = CorpusScore.Of(
            "12+34=46\n12+34=47\n1234\nTom found a red kite near the river and took it home. He found it.\nMia gave an egg to Tom, and he thanked her. One day, Mi");

        Assert.That(score, Is.EqualTo(new CorpusScore(Sentences: 3, Accepted: 2, Sums: 3, Right: 1)));
        Assert.That(CorpusScore.Of(""), Is.EqualTo(default(CorpusScore)));
        Assert.That(CorpusScore.Of("12+3"), Is.EqualTo(default(CorpusScore)));
    }

    [Test]
    public void AnswersAreComparedToTheLineEnd()
    {
        Sum[] sums = [new(12, 34), new(56, 78), new(10, 10)];
        Assert.That(CorpusScore.OfAnswers(sums, ["46\n", "134", "201"]), Is.EqualTo(new CorpusScore(0, 0, 3, 2)));
    }
}
