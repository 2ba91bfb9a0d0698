using System.Diagnostics;
using Legato.Runtime.Devices;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Launches in order, executed by a team in one run. A barrier stands between two launches only where the later one
/// touches what one since the last barrier wrote, or writes what one read.
/// </summary>
internal sealed class CpuProgram
{
    private readonly Team team;
    private readonly CpuLaunch[] launches;
    private readonly Action<Worker> body;
    private readonly long[]? ticks;
    private readonly List<CpuAccess> earlier = [], own = [];
    private readonly OwnWeights[] weights;
    private long runs;

    public CpuProgram(Team team, CpuLaunch[] launches, bool measures)
    {
        this.team = team;
        this.launches = launches;
        weights = [.. Enumerable.Range(0, team.Count).Select(_ => new OwnWeights())];
        foreach (CpuLaunch launch in launches)
            launch.Weights = weights;
        ticks = measures ? new long[launches.Length] : null;
        body = measures ? ExecuteMeasured : Execute;
    }

    /// <summary>How many barriers a run passes, those inside of steps aside.</summary>
    public int Barriers { get; private set; }

    public void Bind(ReadOnlySpan<long> dimensions)
    {
        foreach (CpuLaunch launch in launches)
            launch.Bind(dimensions);
        PlaceBarriers();
        PlaceReadingAhead();
        PlaceWeights();
    }

    public void Run()
    {
        team.Run(body);
        runs++;
    }

    /// <summary>The measured times, the steps of one name together, the longest first.</summary>
    public IReadOnlyList<StepTime> Times()
    {
        if (ticks is null)
            return [];
        return [.. launches
            .Select((launch, i) => (launch, seconds: (double)ticks[i] / Stopwatch.Frequency))
            .GroupBy(t => t.launch.Name)
            .Select(g => new StepTime(
                g.Key, runs * g.Count(), g.Sum(t => t.seconds), (double)runs * g.Sum(t => t.launch.Flops), (double)runs * g.Sum(t => t.launch.Bytes)))
            .OrderByDescending(t => t.Seconds)];
    }

    private void PlaceBarriers()
    {
        earlier.Clear();
        Barriers = 0;
        int claimSets = 1;
        foreach (CpuLaunch launch in launches)
        {
            own.Clear();
            launch.Access(own);
            claimSets += launch.Claims ? 1 : 0;
            launch.AfterBarrier = claimSets > Team.ClaimSets || MustWait();
            if (launch.AfterBarrier)
            {
                earlier.Clear();
                claimSets = 1;
                Barriers++;
            }
            earlier.AddRange(own);
        }
    }

    private void PlaceReadingAhead()
    {
        CpuLaunch? product = null;
        foreach (CpuLaunch launch in launches)
        {
            launch.Following = null;
            if (launch.ReadsAhead && product is not null)
                product.Following = launch;
            if (launch.IsProduct)
                product = launch;
        }
    }

    private void PlaceWeights()
    {
        for (int worker = 0; worker < team.Count; worker++)
        {
            weights[worker].Clear();
            foreach (CpuLaunch launch in launches)
            {
                launch.FirstWeights = weights[worker].Count;
                launch.AddWeights(worker, weights[worker]);
            }
        }
    }

    private bool MustWait()
    {
        foreach (CpuAccess access in own)
            foreach (CpuAccess before in earlier)
                if (before.Orders(access))
                    return true;
        return false;
    }

    private void Execute(Worker worker)
    {
        foreach (CpuLaunch launch in launches)
        {
            if (launch.AfterBarrier)
                worker.Barrier(weights[worker.Index].ReadAhead(launch.FirstWeights));
            else if (launch.Claims)
                worker.NextClaims();
            launch.Run(worker);
            // Only now: what a product reads drives all else out of the cache.
            launch.Following?.ReadAhead(worker);
        }
    }

    private void ExecuteMeasured(Worker worker)
    {
        for (int i = 0; i < launches.Length; i++)
        {
            worker.Barrier();
            long start = Stopwatch.GetTimestamp();
            launches[i].Run(worker);
            worker.Barrier();
            if (worker.Index == 0)
                ticks![i] += Stopwatch.GetTimestamp() - start;
        }
    }
}
