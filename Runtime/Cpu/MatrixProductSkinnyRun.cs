namespace Legato.Runtime.Cpu;

/// <summary>
/// Skinny products of one left matrix, computed as one: workers claim stretches of columns, chain after chain. A stretch is
/// computed of all members of its chain, in their order, so that a later one's epilogue finds what it reads of an earlier one.
/// </summary>
internal static unsafe class MatrixProductSkinnyRun
{
    /// <summary>Columns of all members of a chain.</summary>
    /// <param name="First">The chain's first member.</param>
    /// <param name="Members">How many it has; 0 where no stretch is left.</param>
    private readonly record struct Stretch(int First, int Members, int Start, int End);

    /// <param name="members">The products, chain by chain.</param>
    /// <param name="chains">How many products each chain has.</param>
    /// <param name="scratch">What the member that needs most says, in place of the members' own.</param>
    public static void Run(Worker worker, ReadOnlySpan<MatrixProductArgs> members, ReadOnlySpan<int> chains, nint scratch)
    {
        // The first stretches are dealt out and the others claimed one ahead, so that what comes next is known, and fetched.
        Stretch current = Find(worker.Index, members, chains, worker.Count);
        while (current.Members > 0)
        {
            Stretch following = Find(worker.Count + worker.Claim(), members, chains, worker.Count);
            for (int i = current.First; i < current.First + current.Members; i++)
            {
                byte* next = i + 1 < current.First + current.Members ? Start(members[i + 1], current)
                    : following.Members > 0 ? Start(members[following.First], following)
                    : null;
                Compute(worker, members[i], current, next, scratch);
            }
            current = following;
        }
    }

    /// <summary>Fetches what a worker will begin with.</summary>
    public static void Prefetch(Worker worker, ReadOnlySpan<MatrixProductArgs> members, ReadOnlySpan<int> chains)
    {
        Stretch first = Find(worker.Index, members, chains, worker.Count);
        if (first.Members > 0 && MatrixProductSkinny.StoredByColumns(members[first.First]))
            MatrixProductSkinnyColumns.Prefetch(members[first.First], first.Start);
    }

    private static void Compute(Worker worker, in MatrixProductArgs args, in Stretch stretch, byte* next, nint scratch)
    {
        float* sums = (float*)(scratch + (nint)(MatrixProductSkinny.WorkerScratchBytes(args) * worker.Index));
        MatrixProductSkinny.Compute(args, stretch.Start, stretch.End, sums, next);
        args.Epilogue?.Invoke(0, 0, args.M, stretch.Start, stretch.End);
    }

    private static Stretch Find(int item, ReadOnlySpan<MatrixProductArgs> members, ReadOnlySpan<int> chains, int workers)
    {
        int first = 0;
        foreach (int length in chains)
        {
            int columns = members[first].N, width = MatrixProductSkinny.Claim(members[first], workers), items = MatrixProduct.Divide(columns, width);
            if (item < items)
                return new Stretch(first, length, item * width, Math.Min(columns, (item + 1) * width));
            item -= items;
            first += length;
        }
        return default;
    }

    private static byte* Start(in MatrixProductArgs args, in Stretch stretch) =>
        MatrixProductSkinny.StoredByColumns(args) ? MatrixProductSkinnyColumns.Column(args, stretch.Start) : null;
}
