using Legato.Runtime.Cpu;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>What the steps of a plan on a GPU share.</summary>
internal sealed class CudaResources(CudaDevice device, Plan plan) : IDisposable
{
    private readonly List<CudaMemory> workspaces = [];
    private readonly Dictionary<string, CudaMemory> shared = [];

    public CudaDevice Device => device;

    public Plan Plan => plan;

    /// <summary>Memory of each buffer, by its id.</summary>
    public Dictionary<int, CudaMemory> Memories { get; } = [];

    public DimensionBindings Bindings { get; } = new(plan);

    /// <summary>Memory that a step has to itself beside the plan's.</summary>
    public CudaMemory AddWorkspace(long bytes)
    {
        workspaces.Add(new CudaMemory(device, bytes));
        return workspaces[^1];
    }

    /// <summary>Memory that steps of one use take in turn, one after the other: as large as the largest asks for.</summary>
    public CudaMemory Share(string use, long bytes)
    {
        if (shared.TryGetValue(use, out CudaMemory? memory) && memory.Bytes >= bytes)
            return memory;
        return shared[use] = AddWorkspace(bytes);
    }

    public void Dispose()
    {
        foreach (CudaMemory workspace in workspaces)
            workspace.Dispose();
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
