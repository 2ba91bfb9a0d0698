using System.Diagnostics;
using Legato.Runtime.Devices;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Launches in order, executed by a team in one run. A launch waits for earlier ones only where it touches what one since the last
/// wait wrote, or writes what one read. It waits until their work is done, by whomever, not until every worker has come: a worker
/// that the system has stopped is waited for only where it alone can do what is left.
/// </summary>
internal sealed class CpuProgram
{
    private readonly Team team;
    private readonly CpuLaunch[] launches;
    private readonly StepProgress[] progress;

    /// <summary>Of each launch the first since the last that waited.</summary>
    private readonly int[] since;
    private readonly Action<Worker> body;
    private readonly long[]? ticks;
    private readonly List<CpuAccess> earlier = [], own = [];
    private readonly OwnWeights[] weights;
    private readonly Waiting[] waiting;
    private long runs;
    private int run;

    public CpuProgram(Team team, CpuLaunch[] launches, bool measures)
    {
        this.team = team;
        this.launches = launches;
        progress = [.. launches.Select(launch => new StepProgress(team.Count, launch.Members))];
        since = new int[launches.Length];
        weights = [.. Enumerable.Range(0, team.Count).Select(_ => new OwnWeights())];
        waiting = [.. weights.Select(own => new Waiting(this, own))];
        foreach (CpuLaunch launch in launches)
            launch.Weights = weights;
        ticks = measures ? new long[launches.Length] : null;
        body = measures ? ExecuteMeasured : Execute;
    }

    /// <summary>How many launches wait for earlier ones.</summary>
    public int Waits { get; private set; }

    public void Bind(ReadOnlySpan<long> dimensions)
    {
        foreach (CpuLaunch launch in launches)
            launch.Bind(dimensions);
        PlaceWaits();
        PlaceReadingAhead();
        PlaceWeights();
    }

    public void Run()
    {
        if (run == int.MaxValue)
        {
            run = 0;
            foreach (StepProgress step in progress)
                step.Clear();
        }
        run++;
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

    private void PlaceWaits()
    {
        earlier.Clear();
        Waits = 0;
        int first = 0;
        for (int i = 0; i < launches.Length; i++)
        {
            own.Clear();
            launches[i].Access(own);
            launches[i].AwaitsEarlier = MustWait();
            if (launches[i].AwaitsEarlier)
            {
                earlier.Clear();
                first = i;
                Waits++;
            }
            since[i] = first;
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
        for (int i = 0; i < launches.Length; i++)
        {
            if (launches[i].AwaitsEarlier)
                waiting[worker.Index].ForAll(worker, since[i - 1], i);
            RunLaunch(worker, i);
            // Only now: what a product reads drives all else out of the cache.
            launches[i].Following?.ReadAhead(worker);
        }
        if (launches.Length > 0)
            waiting[worker.Index].ForAll(worker, since[^1], launches.Length);
    }

    private void ExecuteMeasured(Worker worker)
    {
        for (int i = 0; i < launches.Length; i++)
        {
            worker.Barrier();
            long start = Stopwatch.GetTimestamp();
            RunLaunch(worker, i);
            worker.Barrier();
            if (worker.Index == 0)
                ticks![i] += Stopwatch.GetTimestamp() - start;
        }
    }

    private void RunLaunch(Worker worker, int i)
    {
        CpuLaunch launch = launches[i];
        worker.Enter(progress[i], run);
        if (launch.Alone)
        {
            // Whoever comes first, for all launches up to the next that waits: one may need what another leaves.
            if (progress[since[i]].TryOwn(run, worker.Index))
            {
                launch.Run(worker);
                worker.Complete(1, 1);
            }
        }
        else if (!launch.CountsUnits)
        {
            launch.Run(worker);
            worker.Arrive();
        }
        else if (!progress[i].IsComplete(run))
        {
            launch.Run(worker);
        }
    }

    /// <summary>What a worker does while launches aren't done: it takes what others have left, reads ahead, and at last does what they have in hand.</summary>
    private sealed class Waiting(CpuProgram program, OwnWeights weights) : IIdleWork
    {
        private Worker? worker;
        private int from, next;

        /// <summary>Waits until launches [from, next) are done.</summary>
        public void ForAll(Worker worker, int from, int next)
        {
            (this.worker, this.from, this.next) = (worker, from, next);
            for (int i = from; i < next; i++)
                worker.Await(program.progress[i], program.run, this);
        }

        public bool Step() => Help(inHand: false) || ReadAhead() || Help(inHand: true);

        private bool ReadAhead() => next < program.launches.Length && weights.ReadAhead(program.launches[next].FirstWeights).Step();

        private bool Help(bool inHand)
        {
            for (int i = from; i < next; i++)
            {
                if (program.progress[i].IsComplete(program.run))
                    continue;
                worker!.Enter(program.progress[i], program.run);
                if (inHand ? program.launches[i].ComputeInHand(worker) : program.launches[i].ComputeLeft(worker))
                    return true;
            }
            return false;
        }
    }
}
