namespace Legato.Runtime.Cpu;

/// <summary>
/// Skinny products of one left matrix, computed as one. Each worker has its own part of every chain's columns, which it reads in
/// one piece, as memory likes it best; what is left they claim, so that they end together. Who finds nothing more takes of the last
/// product what another, whom the system may have stopped, has left. Columns are computed of all members of their chain, in their
/// order, so that a later one's epilogue finds what it reads of an earlier one.
/// </summary>
/// <param name="members">The products, chain by chain.</param>
/// <param name="chains">How many products each chain has.</param>
internal readonly unsafe ref struct MatrixProductSkinnyRun(ReadOnlySpan<MatrixProductArgs> members, ReadOnlySpan<int> chains)
{
    /// <summary>The part of the columns that isn't claimed, in eighths; all where a narrower piece of rows would be read at half the speed.</summary>
    private const int OwnColumnsEighths = 7, OwnRowsEighths = 8;

    private readonly ReadOnlySpan<MatrixProductArgs> members = members;
    private readonly ReadOnlySpan<int> chains = chains;

    /// <summary>Columns of all members of a chain.</summary>
    /// <param name="First">The chain's first member.</param>
    /// <param name="Members">How many it has; 0 where nothing is left.</param>
    private readonly record struct Stretch(int First, int Members, int Start, int End);

    /// <param name="scratch">As large as the member that needs most says, in place of the members' own.</param>
    /// <param name="weights">The worker's own weights of a whole run of a program, if there is one.</param>
    /// <param name="first">Where among them those begin that <see cref="AddWeights"/> adds for these products.</param>
    public void Run(Worker worker, nint scratch, long scratchBytes, OwnWeights? weights, int first)
    {
        ReadOnlySpan<WeightPiece> own = weights is null ? [] : weights.Pieces;
        nint lead = weights?.TakeLead(first) ?? 0;
        float* sums = MatrixProduct.OwnScratch(worker, scratch, scratchBytes);
        Stretch claimed = default;
        for (int chain = 0; chain < chains.Length; chain++)
        {
            // Known one ahead, so that it can be fetched.
            if (chain + 1 == chains.Length)
                claimed = Claimed(worker.Claim(), worker.Count);
            Stretch current = Own(chain, worker.Index, worker.Count);
            for (int i = current.First; i < current.First + current.Members; i++)
                if (i + 1 < members.Length)
                    lead = Compute(i, current, current, sums, default, own, ++first, lead);
                else
                    TakeOwn(worker, current, sums, Piece(claimed), own, ++first, lead);
        }
        while (claimed.Members > 0)
        {
            Stretch current = claimed;
            claimed = Claimed(worker.Claim(), worker.Count);
            for (int i = current.First; i < current.First + current.Members; i++)
                Compute(i, current, current, sums, i + 1 < current.First + current.Members ? Piece(i + 1, current) : Piece(claimed), own, first, lead: 0);
        }
        for (int i = 1; i < worker.Count; i++)
            TakeOf(worker, (worker.Index + i) % worker.Count, sums);
    }

    /// <summary>Adds a worker's own parts in the order in which it reads them.</summary>
    public void AddWeights(int worker, int workers, OwnWeights weights)
    {
        for (int chain = 0; chain < chains.Length; chain++)
        {
            Stretch own = Own(chain, worker, workers);
            for (int i = own.First; i < own.First + own.Members; i++)
                weights.Add(Piece(i, own));
        }
    }

    /// <summary>The worker's own part of the last product, half of what is left at a time: the rest is there to be taken.</summary>
    private void TakeOwn(Worker worker, in Stretch own, float* sums, WeightPiece claimed, ReadOnlySpan<WeightPiece> weights, int next, nint lead)
    {
        int member = members.Length - 1;
        while (worker.TryTake(Items(own), out int item, out int count))
            lead = Compute(member, Part(own, item, count), own, sums, claimed, weights, next, lead);
    }

    private void TakeOf(Worker worker, int other, float* sums)
    {
        Stretch part = Own(chains.Length - 1, other, worker.Count);
        while (worker.TryTakeOther(other, Items(part), out int item, out int count))
        {
            Stretch taken = Part(part, item, count);
            Compute(members.Length - 1, taken, taken, sums, default, [], 0, lead: 0);
        }
    }

    /// <summary>Of how many items of columns a worker's part consists.</summary>
    private int Items(in Stretch part) => MatrixProduct.Divide(part.End - part.Start, ItemColumns(part));

    private Stretch Part(in Stretch part, int item, int count)
    {
        int start = part.Start + item * ItemColumns(part);
        return part with { Start = start, End = Math.Min(part.End, start + count * ItemColumns(part)) };
    }

    /// <summary>A narrower piece of rows would be read at half the speed.</summary>
    private int ItemColumns(in Stretch part)
    {
        ref readonly MatrixProductArgs args = ref members[^1];
        return MatrixProductSkinny.StoredByColumns(args) ? MatrixProductSkinny.Grain(args) : Math.Max(1, part.End - part.Start);
    }

    /// <param name="whole">What is read in one piece with the columns.</param>
    /// <returns>How many bytes from the next column on are in the cache.</returns>
    private nint Compute(
        int member, in Stretch stretch, in Stretch whole, float* sums, WeightPiece claimed, ReadOnlySpan<WeightPiece> own, int next, nint lead)
    {
        if (stretch.Start == stretch.End)
            return lead;
        ref readonly MatrixProductArgs args = ref members[member];
        lead = MatrixProductSkinny.Compute(args, stretch.Start, stretch.End, sums, new WeightOrder(Piece(member, whole), claimed, own, next, lead));
        args.Epilogue?.Invoke(0, 0, args.M, stretch.Start, stretch.End);
        return lead;
    }

    private WeightPiece Piece(in Stretch stretch) => stretch.Members == 0 ? default : Piece(stretch.First, stretch);

    private WeightPiece Piece(int member, in Stretch stretch) => MatrixProductSkinny.Weights(members[member], stretch.Start, stretch.End);

    /// <summary>A worker's own part of a chain; it may be empty.</summary>
    private Stretch Own(int chain, int worker, int workers)
    {
        int first = 0;
        foreach (int length in chains[..chain])
            first += length;
        int width = OwnColumns(members[first], workers);
        return new Stretch(first, chains[chain], worker * width, (worker + 1) * width);
    }

    private Stretch Claimed(int item, int workers)
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
}
