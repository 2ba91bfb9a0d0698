using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>How a <see cref="CpuDevice"/> is made.</summary>
/// <param name="Threads">Workers; null for one a physical core that the process may use.</param>
/// <param name="Pin">Whether each worker is bound to a core of its own.</param>
/// <param name="MeasureSteps">Whether executables time their steps, which puts a barrier around each.</param>
public sealed record CpuDeviceOptions(int? Threads = null, bool Pin = true, bool MeasureSteps = false)
{
    public const int MostThreads = 1024;
}

/// <summary>The processor: one team of workers that executes whole plans, and kernels compiled for its vectors.</summary>
public sealed class CpuDevice : IDevice
{
    private long bytesAllocated;

    public CpuDevice(CpuDeviceOptions? options = null)
        : this(options ?? new CpuDeviceOptions(), CpuIsaChoice.Active)
    {
    }

    /// <summary>For the fused kernels of another instruction set than the process's.</summary>
    internal CpuDevice(CpuDeviceOptions options, CpuIsa isa)
    {
        Team = new Team(new TeamOptions(options.Threads ?? 0, options.Pin));
        Kernels = new KernelCompiler(isa);
        MeasuresSteps = options.MeasureSteps || DebugLevel.ShowsTimes;
    }

    public string Name => "cpu";

    /// <summary>How many workers execute a plan.</summary>
    public int Threads => Team.Count;

    public long BytesAllocated => Interlocked.Read(ref bytesAllocated);

    internal Team Team { get; }

    internal KernelCompiler Kernels { get; }

    internal bool MeasuresSteps { get; }

    public IDeviceMemory Allocate(long bytes) => new CpuMemory(this, bytes);

    /// <summary>Bytes that the plan's kernels take beside its buffers: packed panels, partial sums, widened operands.</summary>
    public long WorkingBytes(Plan plan)
    {
        using var resources = new CpuResources(this, plan, CpuMemory.Unbacked);
        foreach (PlanBuffer buffer in plan.Buffers)
            resources.Memories[buffer.Id] = CpuMemory.Unbacked(plan.Maximum(buffer.Bytes));
        CpuLowering.ReserveWorkingMemory(resources, [.. plan.Setup, .. plan.Steps]);
        return resources.WorkingBytes;
    }

    public IExecutable Compile(Plan plan, IReadOnlyDictionary<string, IDeviceMemory> persistent) =>
        new CpuExecutable(this, plan, persistent);

    public void Dispose() => Team.Dispose();

    internal void Count(long bytes) => Interlocked.Add(ref bytesAllocated, bytes);
}
