namespace Legato.Runtime.Cpu;

/// <summary>
/// One thread of a <see cref="Team"/>, as the code that it executes sees it. All workers of a run execute the same code;
/// they divide the work by <see cref="Index"/> or by claims, and meet at barriers.
/// </summary>
public sealed class Worker
{
    private readonly Team _team;
    private int _claimSet, _bank;

    internal Worker(Team team, int index) => (_team, Index) = (team, index);

    /// <summary>This worker's number, from 0 to <see cref="Count"/> - 1.</summary>
    public int Index { get; }

    /// <summary>How many workers execute the run.</summary>
    public int Count => _team.Count;

    /// <summary>
    /// Waits for all workers; what any of them wrote before is visible to all after. Claims count from 0 again.
    /// Every worker must pass the same barriers in the same order.
    /// </summary>
    public void Barrier() => Barrier(null);

    /// <summary>The same, with something to do as long as others are awaited.</summary>
    internal void Barrier(IIdleWork? idle)
    {
        _team.Barrier(idle);
        NextBank();
    }

    /// <summary>
    /// The next work item since the last barrier or <see cref="NextClaims"/>: 0, 1, 2, … each given to exactly one worker.
    /// </summary>
    public int Claim() => _team.Claim(_claimSet);

    /// <summary>Claims the next work item of <paramref name="count"/>; false once all are given away.</summary>
    public bool TryClaim(int count, out int item) => (item = Claim()) < count;

    /// <summary>
    /// The next items of this worker's own part of a step, which has so many: half of those that are left, in ascending order; false
    /// once all are taken, by whomever.
    /// </summary>
    internal bool TryTake(int items, out int first, out int count) => _team.TryTake(Index, PartSet, items, out first, out count);

    /// <summary>
    /// Some of the last items that are left of another worker's part, which has so many, once that worker has begun to take: what it
    /// did before is visible. False where it is as fast alone.
    /// </summary>
    internal bool TryTakeOther(int worker, int items, out int first, out int count) => _team.TryTakeOther(worker, PartSet, items, out first, out count);

    /// <summary>
    /// Claims count from 0 again without a barrier, for a step that needs nothing of the one before; every worker says so
    /// at the same place, at most <see cref="Team.ClaimSets"/> - 1 times between two barriers.
    /// </summary>
    public void NextClaims()
    {
        if (++_claimSet == Team.ClaimSets)
            throw new InvalidOperationException($"{Team.ClaimSets} sets of claims without a barrier");
    }

    /// <summary>
    /// Waits until <paramref name="counter"/>, which other workers increase, has reached <paramref name="value"/>.
    /// The work waited for must be in a peer's hands already, or the wait never ends.
    /// </summary>
    public void AwaitAtLeast(ref int counter, int value) => _team.AwaitAtLeast(ref counter, value);

    internal void Start() => NextBank();

    /// <summary>After a run in which workers passed different barriers.</summary>
    internal void Reset() => _bank = 0;

    private int PartSet => _bank * Team.ClaimSets + _claimSet;

    /// <summary>
    /// What was taken counts in two banks in turn: nobody looks at the one before this barrier any more, nor will before the next but
    /// one, so each worker clears its own there.
    /// </summary>
    private void NextBank()
    {
        for (; _claimSet >= 0; _claimSet--) _team.ClearPart(Index, PartSet);
        (_claimSet, _bank) = (0, 1 - _bank);
    }
}
