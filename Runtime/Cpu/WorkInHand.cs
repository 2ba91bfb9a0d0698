using System.Runtime.InteropServices;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Columns of products that a worker is computing. The system may stop the worker meanwhile, for thousands of times longer than
/// the columns take: so what it computes it keeps to itself, until it hands it in at once. Another worker, who has nothing else to
/// do, may compute the same and hand it in first; what the late one has found by then, of operands that may have been written over, is
/// thrown away. So every piece of work is handed in exactly once, and nobody waits for a worker that doesn't run, except in the
/// instants of taking and of handing in.
/// </summary>
internal sealed unsafe class WorkInHand
{
    /// <summary>Results that a worker may keep to itself.</summary>
    public const int MostFloats = 16 << 10;

    private const long Free = 0, InHand = 1, HandingIn = 2, States = 4;

    private PaddedLong word;
    private StepProgress? step;
    private ColumnWork work;

    /// <summary>What this worker has computed and not handed in, of its own work or of another's.</summary>
    public float* Results { get; private set; } = (float*)NativeMemory.AlignedAlloc(MostFloats * sizeof(float), 64);

    /// <summary>Says what the worker computes from now on.</summary>
    public void Take(StepProgress step, in ColumnWork work)
    {
        // Another may be handing in what this worker had before.
        SpinWait spin = default;
        while (Volatile.Read(ref word.Value) % States == HandingIn)
            spin.SpinOnce(sleep1Threshold: -1);
        // Nobody may see what is taken now under the word of what was in hand before.
        Volatile.WriteBarrier();
        long before = word.Value / States;
        (this.step, this.work) = (step, work);
        Volatile.Write(ref word.Value, (before + 1) * States + InHand);
    }

    /// <summary>What the worker has in hand of that step; <paramref name="seen"/> tells it from what it takes later.</summary>
    public bool Look(StepProgress of, out ColumnWork found, out long seen)
    {
        seen = Volatile.Read(ref word.Value);
        found = default;
        if (seen % States != InHand || !ReferenceEquals(step, of))
            return false;
        found = work;
        // Read before the word is read again.
        Volatile.ReadBarrier();
        return IsStill(seen);
    }

    /// <summary>Whether that work is still in hand.</summary>
    public bool IsStill(long seen) => Volatile.Read(ref word.Value) == seen;

    /// <summary>What the worker took last, for <see cref="TryHandIn"/>.</summary>
    public long Own => Volatile.Read(ref word.Value) / States * States + InHand;

    /// <summary>Whether results may be written to where all see them; <see cref="HandedIn"/> must follow. False if another has been faster.</summary>
    public bool TryHandIn(long seen) => Interlocked.CompareExchange(ref word.Value, seen - InHand + HandingIn, seen) == seen;

    public void HandedIn(long seen) => Volatile.Write(ref word.Value, seen - InHand + Free);

    /// <summary>After a run that failed.</summary>
    public void Clear() => word.Value = word.Value / States * States;

    public void FreeMemory()
    {
        NativeMemory.AlignedFree(Results);
        Results = null;
    }
}

/// <summary>Columns [Start, End) of one of a step's products.</summary>
/// <param name="Member">Which product.</param>
/// <param name="Part">To which worker's part they belong.</param>
/// <param name="Items">Of how many items of that part they are.</param>
internal readonly record struct ColumnWork(int Member, int Start, int End, int Part, int Items);
