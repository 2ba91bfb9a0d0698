using Legato.Runtime.Cuda;
using NUnit.Framework;

namespace Legato.Tests;

[TestFixture]
public class BackgroundWorkTests
{
    [Test]
    public void PiecesAreDoneInTheirOrder()
    {
        var work = new BackgroundWork();
        List<int> done = [];
        int here = Environment.CurrentManagedThreadId;
        for (int i = 0; i < 100; i++)
        {
            int piece = i;
            work.Begin(() => done.Add(Environment.CurrentManagedThreadId == here ? -1 : piece));
        }
        work.Finish();
        Assert.That(done, Is.EqualTo(Enumerable.Range(0, 100)));
    }

    [Test]
    public void AMistakeIsToldThoughMoreWasBegunAfterIt()
    {
        var work = new BackgroundWork();
        bool isDone = false;
        work.Begin(() => throw new InvalidOperationException("the first"));
        work.Begin(() => isDone = true);
        Assert.That(work.Finish, Throws.InvalidOperationException.With.Message.EqualTo("the first"));
        Assert.That(isDone, Is.False, "what was begun after it");
        work.Begin(() => isDone = true);
        Assert.That(work.Finish, Throws.Nothing, "it has been told");
        Assert.That(isDone);
    }

    [Test]
    public void AtTheEndWhatIsUnderWayIsAwaitedAndNothingMoreIsDone()
    {
        using var under = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        var work = new BackgroundWork();
        List<string> done = [];
        work.Begin(() =>
        {
            under.Set();
            go.Wait();
            done.Add("under way");
        });
        work.Begin(() => done.Add("waiting"));
        under.Wait();
        var end = new Thread(work.End);
        end.Start();
        Assert.That(SpinWait.SpinUntil(() => end.ThreadState == ThreadState.WaitSleepJoin, TimeSpan.FromSeconds(20)), "what is under way is awaited");
        go.Set();
        end.Join();
        work.Begin(() => done.Add("late"));
        work.Finish();
        Assert.That(done, Is.EqualTo(new[] { "under way" }));
    }

    [Test]
    public void WhatIsGivenUpTellsNothing()
    {
        var work = new BackgroundWork();
        work.Begin(() => throw new InvalidOperationException());
        Assert.That(work.Abandon, Throws.Nothing);
        Assert.That(work.Finish, Throws.Nothing);
    }
}
