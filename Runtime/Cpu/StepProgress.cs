using System.Runtime.InteropServices;

namespace Legato.Runtime.Cpu;

/// <summary>
/// What has been taken and what has been done of one step in one run. Each count carries the number of its run, and whoever comes
/// with an older one is refused: so nothing is cleared between two runs, and a worker that the system has stopped does no harm
/// when it comes late.
/// </summary>
/// <param name="workers">How many execute the run.</param>
/// <param name="members">How many products the step consists of, of which each worker has a part; at least 1.</param>
internal sealed class StepProgress(int workers, int members = 1)
{
    /// <summary>How many items a part may have.</summary>
    public const int MostItems = ushort.MaxValue;

    private readonly Part[] parts = new Part[workers * members];
    private Counts counts;

    /// <summary>The next item: 0, 1, 2, …, each given once; none that exists to who comes too late.</summary>
    public int Claim(int run) => Add(ref counts.Claimed, run, 1, out int before) ? before : int.MaxValue;

    /// <summary>How many items have ended, with this one.</summary>
    public int End(int run) => Add(ref counts.Ended, run, 1, out int before) ? before + 1 : 0;

    /// <summary>What the first who asks in a run says.</summary>
    public int Agree(int run, int value) => Set(ref counts.Agreed, run, value);

    /// <summary>Whether this worker is the one that takes a step, or several, for itself alone: who asks first.</summary>
    public bool TryOwn(int run, int worker) => Set(ref counts.Owner, run, worker) == worker;

    /// <summary>Says that so many more units of all are done; true for who completes the step.</summary>
    public bool Complete(int run, int units, int all) => Complete(ref counts.Units, run, units, all);

    /// <summary>
    /// Says that a worker has done its part of a step that counts no units; true for the last of all. A word of its own: products of
    /// such a step may count theirs.
    /// </summary>
    public bool Arrive(int run, int all) => Complete(ref counts.Arrived, run, 1, all);

    /// <summary>Whether all units are done, in this run or, for who comes too late, in a later one.</summary>
    public bool IsComplete(int run) => Volatile.Read(ref counts.Completed) >= run;

    /// <summary>
    /// The next items of a worker's own part of a member, which has so many: half of those that are left, in ascending order; all where
    /// fewer than <paramref name="least"/> would be taken or left, and never more than <paramref name="most"/>. False once all are
    /// taken, by whomever.
    /// </summary>
    public bool TryTake(int run, int member, int worker, int items, int least, int most, out int first, out int count) =>
        TryTake(run, member, worker, items, fromEnd: false, least, most, out first, out count);

    /// <summary>Some of the last items that are left of another worker's part: a third, but no more than <paramref name="most"/>.</summary>
    public bool TryTakeLast(int run, int member, int worker, int items, int most, out int first, out int count) =>
        TryTake(run, member, worker, items, fromEnd: true, least: 1, most, out first, out count);

    /// <summary>Says that so many items of a part are done.</summary>
    public void CompletePart(int run, int member, int worker, int items) => Add(ref parts[member * workers + worker].Done, run, items, out _);

    /// <summary>Whether all items of a part are done.</summary>
    public bool IsPartComplete(int run, int member, int worker, int items) =>
        !Of(Volatile.Read(ref parts[member * workers + worker].Done), run, out int done) || done >= items;

    /// <summary>Forgets all; nobody may be using it.</summary>
    public void Clear()
    {
        counts = default;
        Array.Clear(parts);
    }

    private static long Word(int run, int count) => (long)run << 32 | (uint)count;

    /// <summary>A word's count in this run; false if it is of a later one.</summary>
    private static bool Of(long word, int run, out int count)
    {
        int of = (int)(word >> 32);
        count = of == run ? (int)word : 0;
        return of <= run;
    }

    private bool TryTake(int run, int member, int worker, int items, bool fromEnd, int least, int most, out int first, out int count)
    {
        ref long taken = ref parts[member * workers + worker].Taken;
        while (true)
        {
            long seen = Volatile.Read(ref taken);
            (first, count) = (0, 0);
            if (!Of(seen, run, out int both))
                return false;
            (int front, int back) = (both & MostItems, both >>> 16);
            int left = items - front - back;
            count = Math.Min(most, fromEnd ? (left + 2) / 3 : Half(left, least));
            first = fromEnd ? items - back - count : front;
            if (count == 0)
                return false;
            if (Interlocked.CompareExchange(ref taken, Word(run, both + (fromEnd ? count << 16 : count)), seen) == seen)
                return true;
        }
    }

    /// <summary>All where fewer than the least would be taken or left.</summary>
    private static int Half(int left, int least)
    {
        int half = Math.Max(least, (left + 1) / 2);
        return left - half < least ? left : half;
    }

    private bool Complete(ref long word, int run, int units, int all)
    {
        if (!Add(ref word, run, units, out int before) || before + units < all)
            return false;
        Volatile.Write(ref counts.Completed, run);
        return true;
    }

    private static bool Add(ref long word, int run, int count, out int before)
    {
        while (true)
        {
            long seen = Volatile.Read(ref word);
            if (!Of(seen, run, out before))
                return false;
            if (Interlocked.CompareExchange(ref word, Word(run, before + count), seen) == seen)
                return true;
        }
    }

    /// <summary>Sets a word unless it has been in this run; what it is then. A later run's is nobody's: -1.</summary>
    private static int Set(ref long word, int run, int value)
    {
        while (true)
        {
            long seen = Volatile.Read(ref word);
            if (!Of(seen, run, out int before))
                return -1;
            if (before != 0)
                return before - 1;
            if (Interlocked.CompareExchange(ref word, Word(run, value + 1), seen) == seen)
                return value;
        }
    }

    /// <summary>Alone on their cache lines.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 192)]
    private struct Counts
    {
        [FieldOffset(64)] public long Claimed;
        [FieldOffset(72)] public long Ended;
        [FieldOffset(80)] public long Units;
        [FieldOffset(88)] public long Agreed;
        [FieldOffset(96)] public long Owner;
        [FieldOffset(104)] public long Arrived;
        [FieldOffset(112)] public int Completed;
    }

    /// <summary>A worker's part: how many items have been taken from its front and, above, from its back; how many are done.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 192)]
    private struct Part
    {
        [FieldOffset(64)] public long Taken;
        [FieldOffset(72)] public long Done;
    }
}
