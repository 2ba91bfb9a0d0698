namespace Legato.Runtime.Cpu;

/// <summary>
/// One thread of a <see cref="Team"/>, as the code that it executes sees it. All workers of a run execute the same code;
/// they divide the work by <see cref="Index"/> or by claims, and meet at barriers.
/// </summary>
public sealed class Worker
{
    private readonly Team team;

    internal Worker(Team team, int index) => (this.team, Index, Progress) = (team, index, team.Progress);

    /// <summary>This worker's number, from 0 to <see cref="Count"/> - 1.</summary>
    public int Index { get; }

    /// <summary>How many workers execute the run.</summary>
    public int Count => team.Count;

    /// <summary>What is taken and done of the step at hand.</summary>
    internal StepProgress Progress { get; private set; }

    /// <summary>The number of the program's run.</summary>
    internal int RunNumber { get; private set; }

    internal WorkInHand Hand { get; } = new();

    /// <summary>
    /// Waits for all workers; what any of them wrote before is visible to all after. Claims count from 0 again.
    /// Every worker must pass the same barriers in the same order.
    /// </summary>
    public void Barrier() => team.Barrier(Progress);

    /// <summary>The next work item since the last barrier, or of the step: 0, 1, 2, … each given to exactly one worker.</summary>
    public int Claim() => Progress.Claim(RunNumber);

    /// <summary>Claims the next work item of <paramref name="count"/>; false once all are given away.</summary>
    public bool TryClaim(int count, out int item) => (item = Claim()) < count;

    /// <summary>
    /// Waits until <paramref name="counter"/>, which other workers increase, has reached <paramref name="value"/>.
    /// The work waited for must be in a peer's hands already, or the wait never ends.
    /// </summary>
    public void AwaitAtLeast(ref int counter, int value) => team.AwaitAtLeast(ref counter, value);

    /// <summary>Goes on to a step; claims count from 0. Every worker enters the same steps in the same order.</summary>
    internal void Enter(StepProgress progress, int run) => (Progress, RunNumber) = (progress, run);

    /// <summary>What the first worker that comes to the step says.</summary>
    internal int Agree(int value) => Progress.Agree(RunNumber, value);

    /// <summary>Whether this worker is the one that does alone what one does of the step.</summary>
    internal bool TryOwn() => Progress.TryOwn(RunNumber, Index);

    /// <summary>How many claimed items have ended, with one of this worker's.</summary>
    internal int End() => Progress.End(RunNumber);

    /// <summary>Says that so many more units of all are done of the step at hand.</summary>
    internal void Complete(int units, int all) => team.Complete(Progress, RunNumber, units, all);

    /// <summary>Says that this worker has done its part of the step at hand, which counts no units.</summary>
    internal void Arrive() => team.Arrive(Progress, RunNumber);

    /// <summary>Waits until all of a step is done, by whomever.</summary>
    internal void Await(StepProgress step, int run, IIdleWork idle) => team.Await(step, run, idle);

    internal WorkInHand HandOf(int worker) => team.HandOf(worker);

    internal void ThrowIfFailed() => team.ThrowIfFailed();

    /// <summary>Whether the results that this worker has in hand may be written to where all see them.</summary>
    internal bool TryHandIn(out long seen)
    {
        team.BeforeHandingIn?.Invoke(this);
        seen = Hand.Own;
        return Hand.TryHandIn(seen);
    }
}
