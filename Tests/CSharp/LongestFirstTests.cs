using System.Collections.Concurrent;
using Legato.Runtime;
using Legato.Runtime.Cuda;
using NUnit.Framework;

namespace Legato.Tests;

[TestFixture]
public class LongestFirstTests
{
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(20);

    /// <summary>All threads are kept busy until what is looked at waits; then one takes it all.</summary>
    [Test]
    public void TheLongestIsTakenFirst()
    {
        using var busy = new CountdownEvent(Environment.ProcessorCount);
        using var go = new SemaphoreSlim(0);
        using var taken = new CountdownEvent(4);
        List<int> order = [];
        using var work = new LongestFirst(text =>
        {
            if (text == "busy")
            {
                busy.Signal();
                go.Wait();
                return;
            }
            order.Add(text.Length);
            taken.Signal();
        });
        work.Begin(Enumerable.Repeat("busy", Environment.ProcessorCount));
        bool all = busy.Wait(Long);
        work.Begin(["12", "1", "1234", "123"]);
        go.Release();
        all &= taken.Wait(Long);
        go.Release(Environment.ProcessorCount);
        work.Finish();
        Assert.That(all);
        Assert.That(order, Is.EqualTo(new[] { 4, 3, 2, 1 }));
    }

    [Test]
    public void WhatComesWhileSomeIsUnderWayIsBegunBesideIt()
    {
        if (Environment.ProcessorCount == 1)
            Assert.Ignore("one processor does one after another");
        using var second = new ManualResetEventSlim();
        using var work = new LongestFirst(text =>
        {
            if (text == "first")
                Assert.That(second.Wait(Long));
            else
                second.Set();
        });
        work.Begin(["first"]);
        work.Begin(["second"]);
        work.Finish();
        Assert.That(second.IsSet);
    }

    [Test]
    public void NothingIsBegunWhileOtherWorkIsDone()
    {
        int done = 0;
        using var work = new LongestFirst(_ => Interlocked.Increment(ref done));
        work.Begin(["a", "b"]);
        (int before, int meanwhile) = work.Alone(() =>
        {
            int before = done;
            work.Begin(["c", "d", "e"]);
            Thread.Sleep(50);
            return (before, work.Alone(() => done));
        });
        work.Finish();
        Assert.That((before, meanwhile, done), Is.EqualTo((2, 2, 5)));
    }

    [Test]
    public void AMistakeStopsNoOther()
    {
        int done = 0;
        using var work = new LongestFirst(text =>
        {
            if (text == "mistake")
                throw new LegatoException("it doesn't compile");
            _ = Interlocked.Increment(ref done);
        });
        work.Begin(["a", "mistake", "b"]);
        work.Finish();
        Assert.That(done, Is.EqualTo(2));
    }

    [Test]
    public void WhatIsWithdrawnWhileItWaitsIsLeftOut()
    {
        using var withdrawn = new CancellationTokenSource();
        var done = new ConcurrentBag<string>();
        using var work = new LongestFirst(done.Add);
        _ = work.Alone(() =>
        {
            work.Begin(["first"], withdrawn.Token);
            work.Begin(["second"]);
            withdrawn.Cancel();
            return 0;
        });
        work.Finish();
        Assert.That(done, Is.EqualTo(new[] { "second" }));
    }

    [Test]
    public void WhatWaitsIsGivenUpAndNoMoreBegun()
    {
        int begun = 0;
        using var started = new CountdownEvent(Environment.ProcessorCount);
        using var go = new ManualResetEventSlim();
        var work = new LongestFirst(text =>
        {
            _ = Interlocked.Increment(ref begun);
            started.Signal();
            go.Wait();
        });
        work.Begin(Enumerable.Repeat("text", Environment.ProcessorCount + 5));
        Assert.That(started.Wait(Long));
        Task ended = Task.Run(work.Dispose);
        Assert.That(ended.Wait(50), Is.False, "what is under way is awaited");
        go.Set();
        Assert.That(ended.Wait(Long));
        work.Begin(["late"]);
        work.Finish();
        Assert.That(begun, Is.EqualTo(Environment.ProcessorCount));
    }
}
