namespace Legato.Runtime.Cpu;

/// <summary>
/// Skinny products of one left matrix, computed as one. Each worker has its own part of every chain's columns, which it reads in
/// one piece, as memory likes it best; what is left they claim, so that they end together. Columns are computed of all
/// members of their chain, in their order, so that a later one's epilogue finds what it reads of an earlier one.
/// </summary>
internal static unsafe class MatrixProductSkinnyRun
{
    /// <summary>The part of the columns that isn't claimed, in eighths; all where a narrower piece of rows would be read at half the speed.</summary>
    private const int OwnColumnsEighths = 6, OwnRowsEighths = 8;

    /// <summary>Columns of all members of a chain.</summary>
    /// <param name="First">The chain's first member.</param>
    /// <param name="Members">How many it has; 0 where nothing is left.</param>
    private readonly record struct Stretch(int First, int Members, int Start, int End);

    /// <param name="members">The products, chain by chain.</param>
    /// <param name="chains">How many products each chain has.</param>
    /// <param name="scratch">As large as the member that needs most says, in place of the members' own.</param>
    public static void Run(Worker worker, ReadOnlySpan<MatrixProductArgs> members, ReadOnlySpan<int> chains, nint scratch, long scratchBytes)
    {
        float* sums = MatrixProduct.OwnScratch(worker, scratch, scratchBytes);
        int own = 0;
        Stretch current = Own(worker, members, chains, own);
        while (current.Members > 0)
        {
            // Known one ahead, so that it can be fetched.
            Stretch following = ++own < chains.Length ? Own(worker, members, chains, own) : Claimed(worker.Claim(), members, chains, worker.Count);
            for (int i = current.First; i < current.First + current.Members; i++)
            {
                byte* next = i + 1 < current.First + current.Members ? Start(members[i + 1], current)
                    : following.Members > 0 ? Start(members[following.First], following)
                    : null;
                Compute(worker, members[i], current, next, sums);
            }
            current = following;
        }
    }

    /// <summary>Fetches what a worker will begin with.</summary>
    public static void Prefetch(Worker worker, ReadOnlySpan<MatrixProductArgs> members, ReadOnlySpan<int> chains)
    {
        Stretch first = Own(worker, members, chains, 0);
        if (MatrixProductSkinny.StoredByColumns(members[0]))
            MatrixProductSkinnyColumns.Prefetch(members[0], first.Start);
    }

    private static void Compute(Worker worker, in MatrixProductArgs args, in Stretch stretch, byte* next, float* sums)
    {
        MatrixProductSkinny.Compute(args, stretch.Start, stretch.End, sums, next);
        if (stretch.Start < stretch.End)
            args.Epilogue?.Invoke(0, 0, args.M, stretch.Start, stretch.End);
    }

    /// <summary>A worker's own part of a chain; it may be empty.</summary>
    private static Stretch Own(Worker worker, ReadOnlySpan<MatrixProductArgs> members, ReadOnlySpan<int> chains, int chain)
    {
        int first = 0;
        for (int i = 0; i < chain; i++)
            first += chains[i];
        int width = OwnColumns(members[first], worker.Count);
        return new Stretch(first, chains[chain], worker.Index * width, (worker.Index + 1) * width);
    }

    private static Stretch Claimed(int item, ReadOnlySpan<MatrixProductArgs> members, ReadOnlySpan<int> chains, int workers)
    {
        int first = 0;
        foreach (int length in chains)
        {
            ref readonly MatrixProductArgs args = ref members[first];
            int width = MatrixProductSkinny.Claim(args, workers), start = OwnColumns(args, workers) * workers + item * width;
            if (start < args.N)
                return new Stretch(first, length, start, Math.Min(args.N, start + width));
            item -= MatrixProduct.Divide(args.N - OwnColumns(args, workers) * workers, width);
            first += length;
        }
        return default;
    }

    private static int OwnColumns(in MatrixProductArgs args, int workers)
    {
        int eighths = MatrixProductSkinny.StoredByColumns(args) ? OwnColumnsEighths : OwnRowsEighths, grain = MatrixProductSkinny.Grain(args);
        return (int)((long)args.N * eighths / (8 * workers)) / grain * grain;
    }

    private static byte* Start(in MatrixProductArgs args, in Stretch stretch) =>
        MatrixProductSkinny.StoredByColumns(args) ? MatrixProductSkinnyColumns.Column(args, stretch.Start) : null;
}
