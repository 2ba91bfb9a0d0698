using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>A kernel over its operands, before it is spelled.</summary>
internal sealed record CudaKernelCall(string Name, Cost Cost, Kernel Kernel, CudaView[] Views)
{
    /// <summary>Where the sums of its parts go, by the operand that holds the parts: nothing else is done with those.</summary>
    public IReadOnlyDictionary<int, CudaView>? Results { get; init; }

    /// <summary>Whether it touches what another writes, or writes what another touches.</summary>
    public bool Conflicts(CudaKernelCall other)
    {
        for (int i = 0; i < Views.Length; i++)
            for (int j = 0; j < other.Views.Length; j++)
                if ((Writes(i) || other.Writes(j)) && Views[i].Overlaps(other.Views[j]))
                    return true;
        return false;
    }

    private bool Writes(int operand) => Kernel.Operands[operand].Access != Access.Read;
}

/// <summary>
/// Kernels in an order in which those that needn't wait for each other stand together: a stage's kernels may run at once, and
/// each stands in the first stage after all that it must follow.
/// </summary>
internal sealed class CudaKernelStages
{
    private readonly List<List<CudaKernelCall>> stages = [];

    public IReadOnlyList<IReadOnlyList<CudaKernelCall>> All => stages;

    public void Add(CudaKernelCall call)
    {
        int stage = stages.FindLastIndex(s => s.Exists(call.Conflicts)) + 1;
        if (stage == stages.Count)
            stages.Add([]);
        stages[stage].Add(call);
    }
}
