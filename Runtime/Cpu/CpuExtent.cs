using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>An extent that is evaluated without a search for names.</summary>
internal sealed class CpuExtent
{
    private readonly (long Coefficient, int[] Factors)[] terms;

    public CpuExtent(Plan plan, Extent extent) =>
        terms = [.. extent.Terms.Select(t => (t.Coefficient, t.Factors.Select(name => Find(plan, name)).ToArray()))];

    /// <summary>The value at these values of the plan's dimensions, in their order.</summary>
    public long Evaluate(ReadOnlySpan<long> dimensions)
    {
        long sum = 0;
        foreach ((long coefficient, int[] factors) in terms)
        {
            long product = coefficient;
            foreach (int factor in factors)
                product *= dimensions[factor];
            sum += product;
        }
        return sum;
    }

    /// <summary>The value as a size of a matrix or an attention.</summary>
    /// <exception cref="TooLargeException">It is beyond what one product takes.</exception>
    public int Size(ReadOnlySpan<long> dimensions) => Evaluate(dimensions) is var size && size <= int.MaxValue
        ? (int)size
        : throw new TooLargeException($"one matrix product would have {size} rows or columns; it takes up to {int.MaxValue}", remedy: "choose a smaller batch or sequence");

    private static int Find(Plan plan, string name)
    {
        for (int i = 0; i < plan.Dimensions.Count; i++)
            if (plan.Dimensions[i].Name == name)
                return i;
        throw new InvalidOperationException($"the plan of {plan.Model} uses a dimension '{name}' that it doesn't declare");
    }
}
