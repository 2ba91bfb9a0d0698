using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>A plan on the CPU: its arena, its scratch, and its steps as a program for the device's team.</summary>
internal sealed class CpuExecutable : IExecutable, IStepTimings
{
    private readonly DimensionBindings bindings;
    private readonly Dictionary<int, CpuMemory> memories = [];
    private readonly CpuMemory arena;
    private readonly CpuScratch productScratch;
    private readonly CpuProgram program;
    private int boundVersion;

    public CpuExecutable(CpuDevice device, Plan plan, IReadOnlyDictionary<string, IDeviceMemory> persistent)
    {
        Plan = plan;
        bindings = new DimensionBindings(plan);
        productScratch = new CpuScratch(device);
        foreach (PlanBuffer buffer in plan.Buffers)
            if (buffer.IsPersistent)
                memories[buffer.Id] = PersistentBuffers.Find<CpuMemory>(plan, buffer, persistent);
        arena = new CpuMemory(device, plan.ArenaBytes);
        try
        {
            foreach (PlanBuffer buffer in plan.Buffers)
                if (!buffer.IsPersistent)
                    memories[buffer.Id] = arena.Slice(buffer.Offset, plan.Maximum(buffer.Bytes));
            CpuProgram setup = Prepare(device, plan.Setup, measures: false);
            setup.Run();
            program = Prepare(device, plan.Steps, device.MeasuresSteps);
        }
        catch
        {
            Release();
            throw;
        }
    }

    public Plan Plan { get; }

    public IReadOnlyList<StepTime> StepTimes => program.Times();

    /// <summary>How many barriers a run passes between its steps.</summary>
    internal int Barriers => program.Barriers;

    public void Bind(string dimension, long value) => bindings.Bind(dimension, value);

    public IDeviceMemory Memory(PlanBuffer buffer) => memories[buffer.Id];

    public void Run()
    {
        if (boundVersion != bindings.Version)
        {
            program.Bind(bindings.Values);
            boundVersion = bindings.Version;
        }
        program.Run();
    }

    public void Dispose()
    {
        if (DebugLevel.ShowsTimes)
            Console.Error.WriteLine(StepTimeTable.Format($"{Plan.Purpose.ToString().ToLowerInvariant()} {Plan.Model}", StepTimes));
        Release();
    }

    private CpuProgram Prepare(CpuDevice device, IReadOnlyList<Step> steps, bool measures)
    {
        var prepared = new CpuProgram(device.Team, CpuLowering.Lower(device, Plan, steps, memories, productScratch), measures);
        prepared.Bind(bindings.Values);
        return prepared;
    }

    private void Release()
    {
        arena.Dispose();
        productScratch.Dispose();
    }
}
