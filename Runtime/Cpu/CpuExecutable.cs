using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>A plan on the CPU: its arena, its scratch, and its steps as a program for the device's team.</summary>
internal sealed class CpuExecutable : IExecutable, IStepTimings
{
    private readonly CpuResources resources;
    private readonly CpuMemory arena;
    private readonly CpuProgram program;
    private readonly CpuMemory[] persistentMemories;
    private readonly bool[] boundPanels;
    private int boundVersion;
    private bool disposed;

    public CpuExecutable(CpuDevice device, Plan plan, IReadOnlyDictionary<string, IDeviceMemory> persistent)
    {
        Plan = plan;
        resources = new CpuResources(device, plan, bytes => new CpuMemory(device, bytes));
        foreach (PlanBuffer buffer in plan.Buffers)
            if (buffer.IsPersistent)
                resources.Memories[buffer.Id] = PersistentBuffers.Find<CpuMemory>(plan, buffer, persistent);
        persistentMemories = [.. resources.Memories.Values.Distinct()];
        boundPanels = new bool[persistentMemories.Length];
        arena = new CpuMemory(device, plan.ArenaBytes);
        try
        {
            foreach (PlanBuffer buffer in plan.Buffers)
                if (!buffer.IsPersistent)
                    resources.Memories[buffer.Id] = arena.Slice(buffer.Offset, plan.Maximum(buffer.Bytes));
            Prepare(plan.Setup, measures: false).Run();
            program = Prepare(plan.Steps, device.MeasuresSteps);
        }
        catch
        {
            Release();
            throw;
        }
    }

    public Plan Plan { get; }

    public IReadOnlyList<StepTime> StepTimes => program.Times();

    /// <summary>How many steps wait for earlier ones.</summary>
    internal int Waits => program.Waits;

    public void Bind(string dimension, long value) => resources.Bindings.Bind(dimension, value);

    public IDeviceMemory Memory(PlanBuffer buffer) => resources.Memories[buffer.Id];

    public void Run()
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        foreach (CpuMemory memory in persistentMemories)
            _ = memory.Address;
        resources.PanelUses.Lay(resources.Memories);
        if (boundVersion != resources.Bindings.Version || IsLaidOtherwise())
            Bind(program);
        program.Run();
    }

    public void Dispose()
    {
        if (disposed)
            return;
        disposed = true;
        if (DebugLevel.ShowsTimes)
            Console.Error.WriteLine(StepTimeTable.Format($"{Plan.Purpose.ToString().ToLowerInvariant()} {Plan.Model}", StepTimes));
        Release();
    }

    private CpuProgram Prepare(IReadOnlyList<Step> steps, bool measures)
    {
        var prepared = new CpuProgram(resources.Device.Team, CpuLowering.Lower(resources, steps), measures);
        resources.PanelUses.Lay(resources.Memories);
        Bind(prepared);
        return prepared;
    }

    private void Bind(CpuProgram bound)
    {
        bound.Bind(resources.Bindings.Values);
        boundVersion = resources.Bindings.Version;
        for (int i = 0; i < boundPanels.Length; i++)
            boundPanels[i] = persistentMemories[i].Panels is not null;
    }

    /// <summary>Whether a memory that outlives the plan has been laid otherwise since its addresses were bound.</summary>
    private bool IsLaidOtherwise()
    {
        for (int i = 0; i < boundPanels.Length; i++)
            if (boundPanels[i] != persistentMemories[i].Panels is not null)
                return true;
        return false;
    }

    private void Release()
    {
        arena.Dispose();
        resources.Dispose();
    }
}
