using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>What the steps of a plan on the CPU share.</summary>
/// <param name="allocate">Gives working memory of so many bytes.</param>
internal sealed class CpuResources(CpuDevice device, Plan plan, Func<long, CpuMemory> allocate) : IDisposable
{
    /// <summary>Ids of memory beside the plan's buffers go down from here.</summary>
    private const int FirstWorkspace = -16;

    private readonly List<CpuMemory> workspaces = [];

    public CpuDevice Device => device;

    public Plan Plan => plan;

    /// <summary>Memory of each buffer, by its id.</summary>
    public Dictionary<int, CpuMemory> Memories { get; } = [];

    public DimensionBindings Bindings { get; } = new(plan);

    /// <summary>How the plan's steps read its parameters.</summary>
    public PanelUses PanelUses { get; } = new(plan);

    /// <summary>Working memory of all matrix products.</summary>
    public CpuScratch ProductScratch { get; } = new(allocate);

    /// <summary>Working memory of all attention steps.</summary>
    public CpuScratch AttentionScratch { get; } = new(allocate);

    /// <summary>Bytes of all working memory.</summary>
    public long WorkingBytes => ProductScratch.Bytes + AttentionScratch.Bytes + workspaces.Sum(w => w.Bytes);

    /// <summary>Memory that a step needs beside the plan's; its id.</summary>
    public int AddWorkspace(long bytes)
    {
        int id = FirstWorkspace - workspaces.Count;
        workspaces.Add(allocate(bytes));
        Memories[id] = workspaces[^1];
        return id;
    }

    public void Dispose()
    {
        foreach (CpuMemory workspace in workspaces)
            workspace.Dispose();
        ProductScratch.Dispose();
        AttentionScratch.Dispose();
    }
}
