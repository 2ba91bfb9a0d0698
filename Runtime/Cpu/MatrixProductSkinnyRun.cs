namespace Legato.Runtime.Cpu;

/// <summary>
/// Skinny products of one left matrix, computed as one. Each worker has its own part of every product's columns, which it reads in
/// one piece, as memory likes it best. Who is done with its own helps: it takes what others, whom the system may have stopped, have left,
/// reads ahead what comes next, and at last computes what they have in hand. A chain's products have the same columns, and
/// a later one's epilogue reads what earlier ones have written: so a part of it is begun when the same part of those is done.
/// </summary>
/// <param name="members">The products, chain by chain, their weights all stored by rows or all by columns.</param>
/// <param name="chains">How many products each chain has.</param>
internal readonly unsafe ref struct MatrixProductSkinnyRun(ReadOnlySpan<MatrixProductArgs> members, ReadOnlySpan<int> chains)
{
    /// <summary>
    /// Weights that are read for what is in hand: few enough that little is lost where a worker is stopped, so many that taking and
    /// handing in are little beside it.
    /// </summary>
    private const int LeastBytesInHand = 256 << 10, MostBytesInHand = 1 << 20;

    /// <summary>Columns of another's work in hand, after which to look whether it has been done.</summary>
    private const int ColumnsBetweenLooks = 64;

    private readonly ReadOnlySpan<MatrixProductArgs> members = members;
    private readonly ReadOnlySpan<int> chains = chains;

    /// <summary>Columns that stay together: the same for all, so that the parts of a chain's members are of the same columns.</summary>
    private readonly int grain = Grain(members);

    /// <param name="scratch">As large as the member that needs most says, in place of the members' own.</param>
    /// <param name="weights">The worker's own weights of a whole run of a program, if there is one.</param>
    /// <param name="first">Where among them those begin that <see cref="AddWeights"/> adds for these products.</param>
    public void Run(Worker worker, nint scratch, long scratchBytes, OwnWeights? weights, int first)
    {
        ReadOnlySpan<WeightPiece> own = weights is null ? [] : weights.Pieces;
        nint lead = weights?.TakeLead(first) ?? 0;
        float* sums = MatrixProduct.OwnScratch(worker, scratch, scratchBytes);
        for (int chain = 0, member = 0; chain < chains.Length; chain++)
            for (int i = 0; i < chains[chain]; i++, member++)
            {
                if (i > 0)
                    AwaitPart(worker, member - 1);
                WeightPiece whole = Piece(member, Start(member, worker.Index, worker.Count), Start(member, worker.Index + 1, worker.Count));
                first++;
                while (TryTake(worker, member, out ColumnWork work))
                    lead = Compute(worker, work, sums, new WeightOrder(whole, own, first, lead));
            }
        weights?.LeaveLead(first, lead);
    }

    /// <summary>Adds a worker's own parts in the order in which it reads them.</summary>
    public void AddWeights(int worker, int workers, OwnWeights weights)
    {
        for (int member = 0; member < members.Length; member++)
            weights.Add(Piece(member, Start(member, worker, workers), Start(member, worker + 1, workers)));
    }

    /// <summary>Half of what is left of the worker's own part: the rest is there to be taken.</summary>
    private bool TryTake(Worker worker, int member, out ColumnWork work)
    {
        int items = Items(member, worker.Index, worker.Count);
        bool taken = worker.Progress.TryTake(
            worker.RunNumber, member, worker.Index, items, LeastItems(member, worker.Count), MostItems(member, worker.Count), out int item, out int count);
        work = taken ? PartOf(member, worker.Index, worker.Count, item, count) : default;
        return taken;
    }

    /// <summary>Computes some of the first other worker's part that has something left; false where there is nothing.</summary>
    public bool ComputeLeft(Worker worker, nint scratch, long scratchBytes)
    {
        float* sums = MatrixProduct.OwnScratch(worker, scratch, scratchBytes);
        for (int chain = 0, first = 0; chain < chains.Length; first += chains[chain++])
            for (int i = 1; i < worker.Count; i++)
            {
                int other = (worker.Index + i) % worker.Count;
                for (int member = first; member < first + chains[chain]; member++)
                {
                    int items = Items(member, other, worker.Count);
                    if (worker.Progress.TryTakeLast(worker.RunNumber, member, other, items, MostItems(member, worker.Count), out int item, out int count))
                    {
                        ColumnWork work = PartOf(member, other, worker.Count, item, count);
                        Compute(worker, work, sums, new WeightOrder(Piece(member, work.Start, work.End), [], 0));
                        return true;
                    }
                    if (!worker.Progress.IsPartComplete(worker.RunNumber, member, other, items))
                        break;
                }
            }
        return false;
    }

    /// <summary>Computes what another worker has in hand, unless it hands it in meanwhile; false where there is nothing.</summary>
    public bool ComputeInHand(Worker worker)
    {
        for (int i = 1; i < worker.Count; i++)
        {
            WorkInHand hand = worker.HandOf((worker.Index + i) % worker.Count);
            if (!hand.Look(worker.Progress, out ColumnWork work, out long seen))
                continue;
            for (int n = work.Start; n < work.End; n += ColumnsBetweenLooks)
            {
                if (!hand.IsStill(seen))
                    return true;
                int end = Math.Min(work.End, n + ColumnsBetweenLooks);
                Stage(worker, work, n, end, new WeightOrder(Piece(work.Member, n, end), [], 0));
            }
            if (hand.TryHandIn(seen))
                HandIn(worker, hand, seen, work);
            return true;
        }
        return false;
    }

    /// <summary>Waits until a worker's own part of a member is done, of which another may have taken some.</summary>
    private void AwaitPart(Worker worker, int member)
    {
        SpinWait spin = default;
        while (!worker.Progress.IsPartComplete(worker.RunNumber, member, worker.Index, Items(member, worker.Index, worker.Count)))
        {
            worker.ThrowIfFailed();
            if (!ComputeInHand(worker))
                spin.SpinOnce(sleep1Threshold: -1);
        }
    }

    /// <returns>How many bytes from the next column on are in the cache.</returns>
    private nint Compute(Worker worker, in ColumnWork work, float* sums, WeightOrder weights)
    {
        ref readonly MatrixProductArgs args = ref members[work.Member];
        if (!StaysInHand)
        {
            MatrixProductSkinny.Compute(args, work.Start, work.End, sums, weights);
            Finish(worker, work);
            return 0;
        }
        worker.Hand.Take(worker.Progress, work);
        nint lead = Stage(worker, work, work.Start, work.End, weights);
        if (worker.TryHandIn(out long seen))
            HandIn(worker, worker.Hand, seen, work);
        return lead;
    }

    /// <summary>Computes columns into the worker's own results.</summary>
    private nint Stage(Worker worker, in ColumnWork work, int n0, int n1, WeightOrder weights)
    {
        ref readonly MatrixProductArgs args = ref members[work.Member];
        int width = work.End - work.Start;
        float* results = worker.Hand.Results - work.Start;
        if (args.Accumulate)
            MatrixProductSkinnyColumns.Copy((float*)args.C + n0, args.CRowStride, results + n0, width, args.M, n1 - n0);
        return MatrixProductSkinny.Compute(args with { C = (nint)results, CRowStride = width }, n0, n1, null, weights);
    }

    /// <summary>Writes what this worker has found to where all see it.</summary>
    private void HandIn(Worker worker, WorkInHand hand, long seen, in ColumnWork work)
    {
        ref readonly MatrixProductArgs args = ref members[work.Member];
        int width = work.End - work.Start;
        try
        {
            MatrixProductSkinnyColumns.Copy(worker.Hand.Results, width, (float*)args.C + work.Start, args.CRowStride, args.M, width);
            Finish(worker, work);
        }
        finally
        {
            hand.HandedIn(seen);
        }
    }

    /// <summary>Only once the epilogue is through: then others may go on.</summary>
    private void Finish(Worker worker, in ColumnWork work)
    {
        ref readonly MatrixProductArgs args = ref members[work.Member];
        args.Epilogue?.Invoke(0, 0, args.M, work.Start, work.End);
        if (chains.Length < members.Length)
            worker.Progress.CompletePart(worker.RunNumber, work.Member, work.Part, work.Items);
        int all = 0;
        foreach (ref readonly MatrixProductArgs member in members)
            all += member.N;
        worker.Complete(work.End - work.Start, all);
    }

    /// <summary>Rows of weights are read in pieces too large to be computed twice.</summary>
    private bool StaysInHand => MatrixProductSkinny.StoredByColumns(members[0]);

    private static int Grain(ReadOnlySpan<MatrixProductArgs> members)
    {
        int most = 0;
        foreach (ref readonly MatrixProductArgs member in members)
            most = Math.Max(most, MatrixProductSkinny.Grain(member));
        return most;
    }

    /// <summary>Where a worker's part of a member begins, and the one before ends.</summary>
    private int Start(int member, int worker, int workers)
    {
        int columns = members[member].N;
        return worker == workers ? columns : (int)((long)columns * worker / workers) / grain * grain;
    }

    private ColumnWork PartOf(int member, int part, int workers, int item, int count)
    {
        int start = Start(member, part, workers), end = Start(member, part + 1, workers), width = ItemColumns(member, workers);
        return new ColumnWork(member, start + item * width, Math.Min(end, start + (item + count) * width), part, count);
    }

    /// <summary>Of how many items of columns a worker's part consists.</summary>
    private int Items(int member, int part, int workers) =>
        MatrixProduct.Divide(Start(member, part + 1, workers) - Start(member, part, workers), ItemColumns(member, workers));

    /// <summary>A narrower piece of rows would be read at half the speed.</summary>
    private int ItemColumns(int member, int workers)
    {
        int columns = members[member].N;
        return StaysInHand ? MatrixProduct.RoundUp(MatrixProduct.Divide(columns, StepProgress.MostItems), grain) : columns;
    }

    private int LeastItems(int member, int workers) => (int)(LeastBytesInHand / ItemBytes(member, workers)) + 1;

    private int MostItems(int member, int workers)
    {
        int results = members[member].M * ItemColumns(member, workers);
        return StaysInHand ? (int)Math.Max(1, Math.Min(WorkInHand.MostFloats / results, MostBytesInHand / ItemBytes(member, workers))) : 1;
    }

    private long ItemBytes(int member, int workers)
    {
        ref readonly MatrixProductArgs args = ref members[member];
        return (long)args.K * args.BElementSize * ItemColumns(member, workers);
    }

    private WeightPiece Piece(int member, int start, int end) => MatrixProductSkinny.Weights(members[member], start, end);
}
