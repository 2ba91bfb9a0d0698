namespace Legato.Runtime.Data;

/// <summary>The random numbers of one row of a run: the same whenever the row is made again.</summary>
public struct RowRandom(long seed, long row)
{
    private readonly CounterRandom numbers = new((long)CounterRandom.Mix((ulong)seed ^ CounterRandom.Mix((ulong)row)), "row");
    private ulong next;

    /// <summary>Uniform in [0, 1).</summary>
    public float Uniform() => numbers.Uniform(next++);

    /// <summary>Uniform in [0, <paramref name="bound"/>).</summary>
    public int Below(int bound) => numbers.Below(next++, bound);

    /// <summary>
    /// Poisson distributed (Knuth, The Art of Computer Programming 2, section 3.4.1): factors are drawn until their product
    /// falls below e to the −mean.
    /// </summary>
    public int Poisson(double mean)
    {
        double least = Math.Exp(-mean), product = Uniform();
        int count = 0;
        for (; product > least; count++)
            product *= Uniform();
        return count;
    }
}
