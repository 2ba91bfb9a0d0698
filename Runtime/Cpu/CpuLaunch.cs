using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// One execution of a step. Loops are written out, so that a step in a loop has a launch for each iteration, with
/// addresses of its own.
/// </summary>
internal abstract class CpuLaunch(string name, Cost cost, CpuLowering lowering)
{
    /// <summary>Below so many bytes and operations a step is done before other workers would have begun.</summary>
    private const long SmallWork = 16 << 10;

    private readonly CpuExtent flops = lowering.Extent(cost.Flops), bytes = lowering.Extent(cost.Bytes);

    public string Name => name;

    public long Flops { get; private set; }

    public long Bytes { get; private set; }

    /// <summary>Whether one worker executes the step alone; known once bound.</summary>
    public bool Alone { get; protected set; }

    /// <summary>
    /// Whether the step says itself how much of it is done, so that it may be over before every worker has come to it; else it is when
    /// every worker has done its part. Known once bound.
    /// </summary>
    public virtual bool CountsUnits => false;

    /// <summary>Of how many products, of which each worker has a part, the step consists.</summary>
    public virtual int Members => 1;

    /// <summary>Whether the step waits for earlier ones to be done; known once all are bound.</summary>
    public bool AwaitsEarlier { get; set; }

    /// <summary>Takes the values of the plan's dimensions.</summary>
    public virtual void Bind(ReadOnlySpan<long> dimensions)
    {
        Flops = flops.Evaluate(dimensions);
        Bytes = bytes.Evaluate(dimensions);
    }

    /// <summary>Adds what the step reads and writes.</summary>
    public abstract void Access(List<CpuAccess> accesses);

    /// <summary>This worker's part of the step; all of it where it is alone.</summary>
    public abstract void Run(Worker worker);

    /// <summary>Does a little of what others have left of the step; false where there is nothing.</summary>
    public virtual bool ComputeLeft(Worker worker) => false;

    /// <summary>Does what another has in hand of the step; false where there is nothing.</summary>
    public virtual bool ComputeInHand(Worker worker) => false;

    /// <summary>Adds the weights that a worker reads in pieces, as many for every worker; only once bound.</summary>
    public virtual void AddWeights(int worker, OwnWeights weights)
    {
    }

    /// <summary>The weights of all steps, by worker; known once all are bound.</summary>
    public OwnWeights[] Weights { get; set; } = [];

    /// <summary>Where among a worker's weights this step's begin.</summary>
    public int FirstWeights { get; set; }

    /// <summary>Whether the step reads so much that the cache should be filled before it begins; known once bound.</summary>
    public virtual bool ReadsAhead => false;

    /// <summary>Reads what this worker will begin the step with, while others are still at an earlier one; it may not be written yet.</summary>
    public virtual void ReadAhead(Worker worker)
    {
    }

    public virtual bool IsProduct => false;

    /// <summary>What <see cref="ReadsAhead"/> after this product and before the next one; known once all are bound.</summary>
    public CpuLaunch? Following { get; set; }

    /// <summary>Whether sharing wouldn't pay. A step that states no cost is taken for a large one.</summary>
    protected bool IsSmall => Math.Max(Flops, Bytes) is > 0 and < SmallWork;

    /// <summary>The worker's weights of all steps.</summary>
    protected OwnWeights WeightsOf(Worker worker) => Weights[worker.Index];

    protected void Read(List<CpuAccess> accesses, CpuView? view)
    {
        if (view is not null)
            accesses.Add(new CpuAccess(view.Range, Writes: false, Alone));
    }

    protected void Write(List<CpuAccess> accesses, CpuView? view)
    {
        if (view is not null)
            accesses.Add(new CpuAccess(view.Range, Writes: true, Alone));
    }
}
