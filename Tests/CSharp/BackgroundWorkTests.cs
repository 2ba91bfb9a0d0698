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
    public void WhatIsGivenUpTellsNothing()
    {
        var work = new BackgroundWork();
        work.Begin(() => throw new InvalidOperationException());
        Assert.That(work.Abandon, Throws.Nothing);
        Assert.That(work.Finish, Throws.Nothing);
    }
}
