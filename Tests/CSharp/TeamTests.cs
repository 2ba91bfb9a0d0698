using Legato.Runtime;
using Legato.Runtime.Cpu;
using NUnit.Framework;

namespace Legato.Tests;

[TestFixture]
public class TeamTests
{
    private static readonly int[] Sizes = [1, 2, 3, 5];

    [Test]
    public void EveryWorkerExecutesTheRunOnce([ValueSource(nameof(Sizes))] int threads)
    {
        using var team = new Team(new TeamOptions(threads, Pin: false));
        for (int run = 0; run < 50; run++)
        {
            var executed = new int[threads];
            team.Run(worker => executed[worker.Index]++);
            Assert.That(executed, Is.All.EqualTo(1));
        }
    }

    [Test]
    public void NobodyPassesABarrierBeforeAllHaveCome([ValueSource(nameof(Sizes))] int threads)
    {
        using var team = new Team(new TeamOptions(threads, Pin: false));
        int arrived = 0, early = 0;
        team.Run(worker =>
        {
            for (int step = 1; step <= 300; step++)
            {
                Interlocked.Increment(ref arrived);
                worker.Barrier();
                if (Volatile.Read(ref arrived) < step * threads) Interlocked.Increment(ref early);
                worker.Barrier();
            }
        });
        Assert.That(early, Is.Zero);
    }

    [Test]
    public void ABarrierHoldsWhileAPeerSleeps()
    {
        using var team = new Team(new TeamOptions(2, Pin: false));
        bool awake = false, seen = false;
        team.Run(worker =>
        {
            if (worker.Index == 0)
            {
                Thread.Sleep(30);
                Volatile.Write(ref awake, true);
            }
            worker.Barrier();
            if (worker.Index == 1) seen = Volatile.Read(ref awake);
        });
        Assert.That(seen);
    }

    [Test]
    public void EachItemIsClaimedOnceAStep([ValueSource(nameof(Sizes))] int threads)
    {
        const int steps = 20, items = 100;
        using var team = new Team(new TeamOptions(threads, Pin: false));
        var claimed = new int[steps * items];
        team.Run(worker =>
        {
            for (int step = 0; step < steps; step++)
            {
                while (worker.TryClaim(items, out int item)) Interlocked.Increment(ref claimed[step * items + item]);
                worker.Barrier();
            }
        });
        Assert.That(claimed, Is.All.EqualTo(1));
    }

    [Test]
    public void TheCallersThreadIsWorkerZeroAndMayRunAfterwardsWhereItMightBefore([Values] bool pin)
    {
        static string Allowed() => OperatingSystem.IsLinux()
            ? File.ReadLines("/proc/thread-self/status").First(line => line.StartsWith("Cpus_allowed_list", StringComparison.Ordinal)) : "";
        using var team = new Team(new TeamOptions(2, pin));
        string before = Allowed();
        Thread? zero = null;
        team.Run(worker =>
        {
            if (worker.Index == 0) zero = Thread.CurrentThread;
        });
        Assert.That(zero, Is.SameAs(Thread.CurrentThread));
        Assert.That(Allowed(), Is.EqualTo(before));
    }

    [Test]
    public void AFailureReachesTheCallerAndTheTeamStaysUsable([ValueSource(nameof(Sizes))] int threads)
    {
        using var team = new Team(new TeamOptions(threads, Pin: false));
        for (int round = 0; round < 20; round++)
        {
            Assert.That(() => team.Run(worker =>
            {
                worker.Barrier();
                if (worker.Index == worker.Count - 1) throw new FormatException("broken");
                worker.Barrier();
            }), Throws.TypeOf<FormatException>().With.Message.EqualTo("broken"));
            int executed = 0;
            team.Run(worker =>
            {
                worker.Barrier();
                Interlocked.Increment(ref executed);
            });
            Assert.That(executed, Is.EqualTo(threads));
        }
    }

    [Test]
    public void AFailureReleasesWhoAwaitsACounter()
    {
        using var team = new Team(new TeamOptions(2, Pin: false));
        int counter = 0;
        Assert.That(() => team.Run(worker =>
        {
            if (worker.Index == 0) throw new FormatException("broken");
            worker.AwaitAtLeast(ref counter, 1);
        }), Throws.TypeOf<FormatException>());
    }

    [Test]
    public void RunsFromSeveralThreadsQueueUp()
    {
        using var team = new Team(new TeamOptions(2, Pin: false));
        int inside = 0, overlaps = 0, runs = 0;
        Parallel.For(0, 40, _ => team.Run(worker =>
        {
            if (worker.Index != 0) return;
            if (Interlocked.Increment(ref inside) != 1) Interlocked.Increment(ref overlaps);
            runs++;
            Interlocked.Decrement(ref inside);
        }));
        Assert.That((overlaps, runs), Is.EqualTo((0, 40)));
    }

    [Test]
    public void ARunAllocatesNothing()
    {
        using var team = new Team(new TeamOptions(2, Pin: false));
        Action<Worker> body = worker => worker.Barrier();
        team.Run(body);
        // The count is the whole process's, so the round that others disturb least counts.
        long least = long.MaxValue;
        for (int round = 0; round < 10; round++)
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            for (int i = 0; i < 100; i++) team.Run(body);
            least = Math.Min(least, GC.GetTotalAllocatedBytes(precise: true) - before);
        }
        Assert.That(least, Is.LessThan(100 * 16));
    }

    [Test]
    public void AWorkerCannotStartARun()
    {
        using var team = new Team(new TeamOptions(1, Pin: false));
        Assert.That(() => team.Run(_ => team.Run(_ => { })), Throws.InvalidOperationException);
    }

    [Test]
    public void ADisposedTeamRefusesRuns()
    {
        var team = new Team(new TeamOptions(2));
        team.Run(worker => worker.Barrier());
        team.Dispose();
        team.Dispose();
        Assert.That(() => team.Run(_ => { }), Throws.TypeOf<ObjectDisposedException>());
    }

    [TestCase(-1, 0), TestCase(5000, 0), TestCase(1, -1)]
    public void ImpossibleOptionsAreRefused(int threads, int firstCore) =>
        Assert.That(() => new Team(new TeamOptions(threads, FirstCore: firstCore)), Throws.TypeOf<LegatoException>());
}
