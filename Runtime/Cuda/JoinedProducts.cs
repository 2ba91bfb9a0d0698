using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>What becomes of products that are computed as one.</summary>
internal enum ProductJoin
{
    /// <summary>They read one left matrix, and each gives a result.</summary>
    Beside,

    /// <summary>They are summed.</summary>
    Summed,

    /// <summary>Two read one left matrix, and the result is made of an element of each.</summary>
    Combined,
}

/// <summary>
/// Products that follow one another and may be computed as one: they read one left matrix, or each adds to what the one before
/// has given, which nothing else reads.
/// </summary>
/// <param name="HaveBias">Whether a vector is added to the rows of each.</param>
/// <param name="Combination">What is made of two products' elements where they are combined, as <see cref="CombinedElements"/> gives it.</param>
internal sealed record JoinedProducts(IReadOnlyList<Step.MatrixProduct> Steps, ProductJoin Join, bool HaveBias, string? Combination = null)
{
    /// <summary>Those that begin with a run's first; null where it stands alone.</summary>
    public static JoinedProducts? Beside(ProductRun run)
    {
        Step.MatrixProduct[] steps = [.. run.Chains.Where(chain => chain.Count == 1).Select(chain => chain[0])];
        bool hasBias = HasBias(steps.Length > 0 ? steps[0] : run.Chains[0][0]);
        return steps.Length == run.Length && steps.Length > 1 && steps.All(step => !step.Accumulate && IsPlain(step) && HasBias(step) == hasBias)
            ? new JoinedProducts(steps, ProductJoin.Beside, hasBias)
            : null;
    }

    /// <summary>Those that are summed from a step on; null where there is no sum.</summary>
    /// <param name="isPassing">Whether nothing reads a view but the step after the one that writes it.</param>
    /// <param name="overlap">Whether two views may touch the same memory.</param>
    public static JoinedProducts? Summed(IEnumerable<Step> following, Func<BufferView, bool> isPassing, Func<BufferView, BufferView, bool> overlap)
    {
        var steps = new List<Step.MatrixProduct>();
        foreach (Step step in following)
        {
            if (step is not Step.MatrixProduct { Accumulate: false, Batch.Count: 0 } next || !(steps.Count == 0 ? next.Epilogue is null : Adds(steps[^1], next, isPassing)))
                break;
            steps.Add(next);
        }
        // What is read must still be there when the sum is written.
        while (steps.Count > 1 && steps.Any(s => overlap(s.Left.View, steps[^1].Output.View) || overlap(s.Right.View, steps[^1].Output.View)))
            steps.RemoveAt(steps.Count - 1);
        return steps.Count > 1 ? new JoinedProducts(steps, ProductJoin.Summed, false) : null;
    }

    /// <summary>The two that a run is, where the second one's epilogue makes the result of an element of each, and nothing else reads the first; else null.</summary>
    /// <param name="isPassing">As in <see cref="Summed"/>.</param>
    /// <param name="bounds">The values that a size may have.</param>
    public static JoinedProducts? Combined(ProductRun run, Func<BufferView, bool> isPassing, Func<Extent, IntegerRange> bounds) =>
        run.Chains is [[{ Accumulate: false, Epilogue: null } first, { Accumulate: false } second]] && first.Output.HasStridesOf(second.Output)
        && isPassing(first.Output.View) && CombinedElements.Of(first, second, bounds) is { } combination
            ? new JoinedProducts([first, second], ProductJoin.Combined, false, combination)
            : null;

    private static bool Adds(Step.MatrixProduct sum, Step.MatrixProduct next, Func<BufferView, bool> isPassing) =>
        next.M.Equals(sum.M) && next.N.Equals(sum.N) && sum.Output.HasStridesOf(next.Output)
        && ProductEpilogue.Of(next) is { Bias: null, GeluInput: null, Addend: { } addend }
        && next.EpilogueOperands[addend - 1].Equals(sum.Output.View) && isPassing(sum.Output.View);

    private static bool IsPlain(Step.MatrixProduct step) => step.Epilogue is null || ProductEpilogue.Of(step) is { Addend: null, GeluInput: null };

    private static bool HasBias(Step.MatrixProduct step) => step.Epilogue is not null;
}
