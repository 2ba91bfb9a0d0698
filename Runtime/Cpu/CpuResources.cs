using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>What the steps of a plan on the CPU share.</summary>
internal sealed class CpuResources(CpuDevice device, Plan plan) : IDisposable
{
    public CpuDevice Device => device;

    public Plan Plan => plan;

    /// <summary>Memory of each buffer, by its id.</summary>
    public Dictionary<int, CpuMemory> Memories { get; } = [];

    public DimensionBindings Bindings { get; } = new(plan);

    /// <summary>Working memory of all matrix products.</summary>
    public CpuScratch ProductScratch { get; } = new(device);

    /// <summary>Working memory of all attention steps.</summary>
    public CpuScratch AttentionScratch { get; } = new(device);

    public void Dispose()
    {
        ProductScratch.Dispose();
        AttentionScratch.Dispose();
    }
}
