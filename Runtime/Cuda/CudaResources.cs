using Legato.Runtime.Cpu;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>What the steps of a plan on a GPU share.</summary>
internal sealed class CudaResources(CudaDevice device, Plan plan) : IDisposable
{
    private readonly List<CudaMemory> kept = [];
    private readonly Dictionary<string, CudaMemory> shared = [];

    public CudaDevice Device => device;

    public Plan Plan => plan;

    /// <summary>Memory of each buffer, by its id.</summary>
    public Dictionary<int, CudaMemory> Memories { get; } = [];

    public DimensionBindings Bindings { get; } = new(plan);

    /// <summary>How cuBLASLt computes the products that it was chosen for.</summary>
    public Dictionary<ProductShape, ProductAlgorithm> OfLibrary { get; } = [];

    /// <summary>Memory that each step has for itself while it runs.</summary>
    public CudaScratch Scratch { get; } = new(device);

    /// <summary>Memory beside the plan's that keeps what a step writes there until its next launch.</summary>
    public CudaMemory Keep(long bytes)
    {
        kept.Add(new CudaMemory(device, bytes));
        return kept[^1];
    }

    /// <summary>Memory that all steps of one use keep together: as large as the largest asks for.</summary>
    public CudaMemory Keep(string use, long bytes)
    {
        if (shared.TryGetValue(use, out CudaMemory? memory) && memory.Bytes >= bytes)
            return memory;
        return shared[use] = Keep(bytes);
    }

    public void Dispose()
    {
        foreach (CudaMemory memory in kept)
            memory.Dispose();
        Scratch.Dispose();
    }
}

/// <summary>A view in one execution of a step.</summary>
/// <param name="Type">Of its elements.</param>
/// <param name="Start">Where its buffer starts among all memory of the plan, in bytes: views whose ranges meet may lie over each other.</param>
/// <param name="Alignment">Elements to a multiple of which its address is aligned.</param>
internal sealed record CudaView(CudaMemory Memory, string Name, ScalarType Type, nint Start, nint End, CpuExtent Offset, int Alignment)
{
    public nint Address(ReadOnlySpan<long> dimensions) => Memory.Address + (nint)(Offset.Evaluate(dimensions) * Type.Size());

    public bool Overlaps(CudaView other) => Start < other.End && other.Start < End;
}
