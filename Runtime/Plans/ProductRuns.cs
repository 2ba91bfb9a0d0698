namespace Legato.Runtime.Plans;

/// <summary>
/// Products that follow one another, read one left matrix and may be computed as one: queries, keys and values of an attention,
/// gate and up of a gated MLP. Chains are independent of each other. Of the members of a chain, which are of one shape, an
/// element must be computed in the chain's order: epilogues of later ones read it in the outputs of earlier ones, each at
/// its own element alone.
/// </summary>
internal sealed record ProductRun(IReadOnlyList<IReadOnlyList<Step.MatrixProduct>> Chains)
{
    /// <summary>How many steps the run takes the place of.</summary>
    public int Length => Chains.Sum(chain => chain.Count);
}

/// <summary>Finds the runs of a list of steps.</summary>
/// <param name="overlap">Whether two views may touch the same memory.</param>
internal sealed class ProductRuns(Func<BufferView, BufferView, bool> overlap)
{
    /// <summary>The longest run that begins with that step; of length 1 if none may be joined to it, null if it is no product.</summary>
    public ProductRun? At(IReadOnlyList<Step> steps, int first)
    {
        if (steps[first] is not Step.MatrixProduct start)
            return null;
        List<List<Step.MatrixProduct>> chains = [[start]];
        for (int i = first + 1; i < steps.Count && steps[i] is Step.MatrixProduct next && IsBeside(start, next); i++)
            if (!TryAdd(chains, next))
                break;
        return new ProductRun(chains);
    }

    private static bool IsBeside(Step.MatrixProduct start, Step.MatrixProduct next) =>
        start.Batch.Count == 0 && next.Batch.Count == 0 && start.Left.Equals(next.Left) && start.M.Equals(next.M) && start.K.Equals(next.K);

    private bool TryAdd(List<List<Step.MatrixProduct>> chains, Step.MatrixProduct next)
    {
        List<Step.MatrixProduct>? followed = null;
        foreach (List<Step.MatrixProduct> chain in chains)
            foreach (Step.MatrixProduct earlier in chain)
            {
                BufferView[] inPlace = [.. next.EpilogueOperands.Where(view => overlap(earlier.Output.View, view))];
                if (!inPlace.All(view => IsReadInPlace(earlier, next, view)) || Conflict(earlier, next, inPlace))
                    return false;
                if (inPlace.Length == 0)
                    continue;
                if (followed is not null && followed != chain)
                    return false;
                followed = chain;
            }
        if (followed is null)
            chains.Add([next]);
        else
            followed.Add(next);
        return true;
    }

    /// <summary>Whether one of two products writes what the other reads or writes, what the later one reads in place aside.</summary>
    private bool Conflict(Step.MatrixProduct earlier, Step.MatrixProduct later, BufferView[] inPlace) =>
        Written(earlier).Any(written => Touched(later).Except(inPlace).Any(view => overlap(written, view)))
        || Written(later).Any(written => Touched(earlier).Any(view => overlap(written, view)));

    /// <summary>Whether an operand of the later product's epilogue is the earlier one's output, read at the epilogue's own element alone.</summary>
    private static bool IsReadInPlace(Step.MatrixProduct earlier, Step.MatrixProduct later, BufferView view)
    {
        if (!view.Equals(earlier.Output.View) || !earlier.N.Equals(later.N) || !earlier.Output.HasStridesOf(later.Output))
            return false;
        Statement[] statements = [.. later.Epilogue!.Body.SelectMany(s => s.Tree())];
        IEnumerable<Index> read = statements.SelectMany(s => s.Expressions()).SelectMany(e => e.AllLoads())
            .Where(load => load.Operand == 0 || later.EpilogueOperands[load.Operand - 1].Equals(view)).Select(load => load.At);
        IEnumerable<Index> written = statements.OfType<Statement.Store>().Select(store => store.At);
        return read.Concat(written).Distinct().Count() == 1;
    }

    private static IEnumerable<BufferView> Written(Step.MatrixProduct product) =>
        [product.Output.View, .. product.EpilogueOperands.Where((_, i) => product.Epilogue!.Operands[i + 1].Access != Access.Read)];

    private static IEnumerable<BufferView> Touched(Step.MatrixProduct product) =>
        [product.Left.View, product.Right.View, product.Output.View, .. product.EpilogueOperands];
}
