using Legato.Runtime.Cpu;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>What workers take and complete of a step.</summary>
[TestFixture]
public class StepProgressTests
{
    [Test]
    public void EachItemOfEachPartIsTakenOnceARun([Values(1, 2, 3, 5)] int threads, [Values(0, 1, 7, 100)] int items, [Values(1, 2)] int members)
    {
        const int runs = 20;
        using var team = new Team(new TeamOptions(threads, Pin: false));
        var progress = new StepProgress(threads, members);
        var taken = new int[runs * members * threads * items];
        for (int run = 1; run <= runs; run++)
            team.Run(worker =>
            {
                for (int member = 0; member < members; member++)
                {
                    while (progress.TryTake(run, member, worker.Index, items, 2, 30, out int first, out int count)) Take(member, worker.Index, first, count);
                    for (int other = 0; other < worker.Count; other++)
                        while (progress.TryTakeLast(run, member, other, items, 30, out int first, out int count)) Take(member, other, first, count);
                }

                void Take(int member, int part, int first, int count)
                {
                    for (int item = first; item < first + count; item++)
                        Interlocked.Increment(ref taken[(((run - 1) * members + member) * threads + part) * items + item]);
                }
            });
        Assert.That(taken, Is.All.EqualTo(1));
    }

    [Test]
    public void OwnItemsComeInOrderHalfOfThoseThatAreLeftAndOthersFromTheEnd()
    {
        var progress = new StepProgress(workers: 2);
        Assert.That(Own(1), Is.EqualTo((0, 8)), "no more than the most");
        Assert.That(Others(1), Is.EqualTo((16, 4)), "a third of what is left");
        Assert.That(Own(1), Is.EqualTo((8, 4)));
        Assert.That(Own(1), Is.EqualTo((12, 4)), "no fewer than the least are left");
        Assert.That(Others(1), Is.EqualTo((0, 0)));
        Assert.That(Own(1), Is.EqualTo((0, 0)));
        Assert.That(Others(2), Is.EqualTo((13, 7)), "all are there again in the next run, though the owner hasn't begun");

        (int First, int Count) Own(int run)
        {
            _ = progress.TryTake(run, 0, 0, 20, 3, 8, out int first, out int count);
            return (count == 0 ? 0 : first, count);
        }

        (int First, int Count) Others(int run)
        {
            _ = progress.TryTakeLast(run, 0, 0, 20, 8, out int first, out int count);
            return (count == 0 ? 0 : first, count);
        }
    }

    [Test]
    public void WhoComesWithAnOlderRunGetsNothingAndChangesNothing()
    {
        var progress = new StepProgress(workers: 2);
        Assert.That(progress.Claim(2), Is.Zero);
        Assert.That(progress.TryOwn(2, 1));
        Assert.That(progress.Agree(2, 7), Is.EqualTo(7));
        _ = progress.TryTake(2, 0, 0, 10, 1, 10, out _, out _);
        Assert.That(progress.Complete(2, 1, 2), Is.False);
        Assert.That(progress.Claim(1), Is.EqualTo(int.MaxValue));
        Assert.That(progress.TryOwn(1, 0), Is.False);
        Assert.That(progress.TryTake(1, 0, 0, 10, 1, 10, out _, out _), Is.False);
        Assert.That(progress.TryTakeLast(1, 0, 0, 10, 10, out _, out _), Is.False);
        Assert.That(progress.Complete(1, 1, 1), Is.False);
        Assert.That(progress.IsComplete(2), Is.False);
        Assert.That(progress.Complete(2, 1, 2));
        Assert.That(progress.IsComplete(1) && progress.IsComplete(2) && !progress.IsComplete(3));
        Assert.That(progress.Claim(2), Is.EqualTo(1));
        Assert.That(progress.Agree(2, 9), Is.EqualTo(7), "what the first has said");
        Assert.That(progress.Claim(3), Is.Zero);
    }
}
