using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>A plan on a GPU: its arena, its workspaces, and its steps as a program for the device's stream.</summary>
internal sealed class CudaExecutable : IExecutable, IStepTimings, IStepWays
{
    /// <summary>Buffers that a refusal names.</summary>
    private const int Named = 4;

    private readonly CudaResources resources;
    private readonly CudaMemory arena;
    private readonly CudaProgram program;
    private readonly CudaMemory[] persistentMemories;
    private int boundVersion;
    private bool disposed;

    public CudaExecutable(CudaDevice device, Plan plan, IReadOnlyDictionary<string, IDeviceMemory> persistent)
    {
        Plan = plan;
        resources = new CudaResources(device, plan);
        foreach (PlanBuffer buffer in plan.Buffers)
            if (buffer.IsPersistent)
                resources.Memories[buffer.Id] = PersistentBuffers.Find<CudaMemory>(plan, buffer, persistent);
        persistentMemories = [.. resources.Memories.Values.Distinct()];
        RequireArena(device, plan);
        arena = new CudaMemory(device, plan.ArenaBytes);
        try
        {
            foreach (PlanBuffer buffer in plan.Buffers)
                if (!buffer.IsPersistent)
                    resources.Memories[buffer.Id] = arena.Slice(buffer.Offset, plan.Maximum(buffer.Bytes));
            using (CudaProgram setup = Prepare(plan.Setup, measures: false))
            {
                setup.Run();
                device.Finish();
            }
            program = Prepare(plan.Steps, device.MeasuresSteps);
            if (!device.IsOnPaper)
                new CudaProductsAhead(device).Keep(plan, resources.OfLibrary);
            device.BeginLoading(program.Load);
        }
        catch
        {
            Release();
            throw;
        }
    }

    public Plan Plan { get; }

    /// <summary>How many launches a run is.</summary>
    public int Launches => program.Launches;

    public IReadOnlyList<StepTime> StepTimes => program.Times();

    public IReadOnlyList<StepWay> StepWays => program.Ways();

    public void Bind(string dimension, long value) => resources.Bindings.Bind(dimension, value);

    public IDeviceMemory Memory(PlanBuffer buffer) => resources.Memories[buffer.Id];

    public void Run()
    {
        Queue();
        resources.Device.Finish();
    }

    public void Queue()
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        resources.Device.FinishLoading();
        foreach (CudaMemory memory in persistentMemories)
            _ = memory.Address;
        resources.Device.MakeCurrent();
        if (boundVersion != resources.Bindings.Version)
        {
            program.Bind(resources.Bindings.Values);
            boundVersion = resources.Bindings.Version;
        }
        program.Run();
    }

    public void Dispose()
    {
        if (disposed)
            return;
        disposed = true;
        resources.Device.AwaitLoading();
        if (DebugLevel.ShowsTimes)
            Console.Error.WriteLine(StepTimeTable.Format($"{Plan.Purpose.ToString().ToLowerInvariant()} {Plan.Model}", StepTimes));
        resources.Device.MakeCurrent();
        program.Dispose();
        Release();
    }

    private static void RequireArena(CudaDevice device, Plan plan)
    {
        long free = device.BytesFree;
        if (plan.ArenaBytes <= free)
            return;
        IEnumerable<string> largest = plan.Buffers.Where(b => !b.IsPersistent)
            .OrderByDescending(b => plan.Maximum(b.Bytes)).Take(Named).Select(b => $"{b.Name} {plan.Maximum(b.Bytes)}");
        throw new LegatoException(
            $"the {plan.Purpose.ToString().ToLowerInvariant()} plan of {plan.Model} takes {plan.ArenaBytes} bytes beside its parameters, and {free} are free on {device.Information.Name}",
            $"the largest: {string.Join(", ", largest)}", CudaError.MemoryRemedy);
    }

    private CudaProgram Prepare(IReadOnlyList<Step> steps, bool measures)
    {
        resources.Device.MakeCurrent();
        var prepared = new CudaProgram(resources.Device, CudaLowering.Lower(resources, steps), measures);
        prepared.Bind(resources.Bindings.Values);
        Timeline.Mark("launches bound");
        return prepared;
    }

    private void Release()
    {
        arena.Dispose();
        resources.Dispose();
    }
}
