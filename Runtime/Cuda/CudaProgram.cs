using Legato.Runtime.Devices;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Launches in order on the device's stream. The second run under the same dimensions is captured as a graph, which the
/// ones after it replay: one call to the driver for all steps.
/// </summary>
internal sealed class CudaProgram(CudaDevice device, CudaLaunch[] launches, bool measures) : IDisposable
{
    /// <summary>Graphs that are kept, one for each binding of the dimensions.</summary>
    private const int MostGraphs = 32;

    private const int CaptureOfThisThread = 1;

    private readonly OrderedDictionary<string, nint> graphs = [];
    private readonly HashSet<string> seen = [];
    private readonly CudaStopwatch? stopwatch = measures ? new CudaStopwatch(launches.Length) : null;
    private string key = "";
    private string? boundKey;
    private nint current;
    private long runs;

    public int Launches => launches.Length;

    private long Measured => runs > 1 ? runs - 1 : runs;

    /// <summary>Takes the values of the plan's dimensions.</summary>
    public void Bind(ReadOnlySpan<long> dimensions)
    {
        key = string.Join(' ', dimensions.ToArray());
        current = graphs.GetValueOrDefault(key);
        if (current == 0)
            BindLaunches(dimensions);
    }

    /// <summary>As <see cref="CudaLaunch.Load"/>, of all launches.</summary>
    public void Load()
    {
        foreach (CudaLaunch launch in launches)
            launch.Load();
    }

    /// <summary>Gives all launches to the stream.</summary>
    public void Run()
    {
        runs++;
        if (stopwatch is not null)
            RunMeasured();
        else if (current != 0)
            CudaError.Check(Driver.GraphLaunch(current, device.Stream), "replaying a plan");
        else if (seen.Add(key) || device.IsOnPaper)
            EnqueueAfterAll();
        else
            Capture();
    }

    /// <summary>The measured times, the steps of one name together, the longest first.</summary>
    public IReadOnlyList<StepTime> Times() => stopwatch is null
        ? []
        : [.. launches
            .Select((launch, i) => (launch, seconds: stopwatch.Seconds[i]))
            .GroupBy(t => t.launch.Name)
            .Select(g => new StepTime(
                g.Key, Measured * g.Count(), g.Sum(t => t.seconds), (double)Measured * g.Sum(t => t.launch.Flops), (double)Measured * g.Sum(t => t.launch.Bytes)))
            .OrderByDescending(t => t.Seconds)];

    /// <summary>How launches are computed for which a way was chosen.</summary>
    public IReadOnlyList<StepWay> Ways() => [.. launches.Where(launch => launch.Way is not null).Select(launch => new StepWay(launch.Name, launch.Way!))];

    public void Dispose()
    {
        foreach (nint graph in graphs.Values)
            _ = Driver.GraphExecDestroy(graph);
        graphs.Clear();
        stopwatch?.Dispose();
    }

    private void BindLaunches(ReadOnlySpan<long> dimensions)
    {
        if (boundKey == key)
            return;
        foreach (CudaLaunch launch in launches)
            launch.Bind(dimensions);
        boundKey = key;
    }

    // A graph begins when all before it is done. Kernels that are launched one by one may start before the last of another plan
    // has ended, which may write what they take for given.
    private void EnqueueAfterAll()
    {
        device.Synchronize("running a plan");
        Enqueue();
    }

    private void Enqueue()
    {
        foreach (CudaLaunch launch in launches)
            launch.Enqueue(device.Stream);
    }

    private void Capture()
    {
        CudaError.Check(Driver.StreamBeginCapture(device.Stream, CaptureOfThisThread), "capturing a plan");
        Enqueue();
        CudaError.Check(Driver.StreamEndCapture(device.Stream, out nint graph), "capturing a plan");
        CudaError.Check(Driver.GraphInstantiate(out current, graph, 0), "making a graph of a plan");
        _ = Driver.GraphDestroy(graph);
        if (graphs.Count == MostGraphs)
            Forget();
        graphs[key] = current;
        CudaError.Check(Driver.GraphLaunch(current, device.Stream), "replaying a plan");
    }

    private void Forget()
    {
        device.Synchronize("running a plan");
        _ = Driver.GraphExecDestroy(graphs.GetAt(0).Value);
        graphs.RemoveAt(0);
    }

    private void RunMeasured()
    {
        for (int i = 0; i < launches.Length; i++)
        {
            stopwatch!.Start(i, device.Stream);
            launches[i].Enqueue(device.Stream);
            stopwatch.Stop(i, device.Stream);
        }
        device.Synchronize("running a plan");
        // The first run loads code; it counts only where no other follows.
        if (runs == 2)
            stopwatch!.Clear();
        stopwatch!.Add();
    }
}
