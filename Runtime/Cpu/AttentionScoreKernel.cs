using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>A tile of scores of one head: positions, both ends included.</summary>
internal readonly record struct ScoreTile(long Batch, long Head, long FirstQuery, long LastQuery, long FirstKey, long LastKey);

/// <summary>A compiled kernel over a tile of scores, with the sizes that it refers to bound.</summary>
internal sealed unsafe class AttentionScoreKernel
{
    /// <summary>Positions b, h, q0, q1, k0, k1, and the distance of neighbours on the axis that is not contiguous.</summary>
    public static readonly string[] Arguments = ["b", "h", "q0", "q1", "k0", "k1", "row"];

    private readonly CompiledKernel kernel;
    private readonly long[] sizes;

    public AttentionScoreKernel(CompiledKernel kernel)
    {
        this.kernel = kernel;
        sizes = new long[kernel.Extents.Count];
    }

    /// <summary>Takes the values of the plan's dynamic dimensions.</summary>
    public void Bind(Func<string, long> dimension)
    {
        for (int i = 0; i < sizes.Length; i++)
            sizes[i] = kernel.Extents[i].Evaluate(dimension);
    }

    public void Run(nint* operands, in ScoreTile tile, long row)
    {
        long* arguments = stackalloc long[Arguments.Length + sizes.Length];
        (arguments[0], arguments[1]) = (tile.Batch, tile.Head);
        (arguments[2], arguments[3]) = (tile.FirstQuery, tile.LastQuery + 1);
        (arguments[4], arguments[5]) = (tile.FirstKey, tile.LastKey + 1);
        arguments[6] = row;
        for (int i = 0; i < sizes.Length; i++)
            arguments[Arguments.Length + i] = sizes[i];
        kernel.Code((nint)operands, (nint)arguments, 0, long.MaxValue);
    }
}
