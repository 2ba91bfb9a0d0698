using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>Products of one left matrix: as one where all suit the same way, else one after the other.</summary>
internal sealed class CpuProductRunLaunch : CpuLaunch
{
    private readonly CpuMatrixProductLaunch[] members;
    private readonly int[] chains;
    private readonly MatrixProductArgs[] args;
    private readonly CpuScratch scratch;
    private readonly int workers;
    private bool skinny, byColumns;

    public CpuProductRunLaunch(ProductRun run, CpuLowering lowering)
        : base(NameOf(run), run.Chains.SelectMany(chain => chain).Aggregate(Cost.Zero, (sum, product) => sum + product.Cost), lowering)
    {
        members = [.. run.Chains.SelectMany(chain => chain).Select(product => new CpuMatrixProductLaunch(product, lowering))];
        chains = [.. run.Chains.Select(chain => chain.Count)];
        args = new MatrixProductArgs[members.Length];
        scratch = lowering.ProductScratch;
        workers = lowering.Device.Threads;
    }

    public override bool IsProduct => true;

    public override bool CountsUnits => skinny;

    public override int Members => members.Length;

    private MatrixProductSkinnyRun SkinnyRun => new(args, chains);

    private MatrixProductByColumns ByColumns => new(args, chains, workers, MatrixProductTile.For(CpuIsaChoice.Active));

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        foreach (CpuMatrixProductLaunch member in members)
            member.Bind(dimensions);
        for (int i = 0; i < members.Length; i++)
            args[i] = members[i].Args;
        skinny = members.All(member => member.SuitsRun) && args.All(member => MatrixProductSkinny.StoredByColumns(member) == MatrixProductSkinny.StoredByColumns(args[0]));
        byColumns = !skinny && ByColumns.Suits;
        if (byColumns)
            scratch.Reserve(ByColumns.ScratchBytes);
    }

    public override void Access(List<CpuAccess> accesses)
    {
        foreach (CpuMatrixProductLaunch member in members)
            member.Access(accesses);
        accesses.Add(CpuLowering.ProductScratchAccess(byColumns));
    }

    public override void Run(Worker worker)
    {
        if (skinny)
            SkinnyRun.Run(worker, scratch.Address, scratch.Bytes, WeightsOf(worker), FirstWeights);
        else if (byColumns)
            ByColumns.Run(worker, scratch.Address);
        else
            RunApart(worker);
    }

    public override bool ComputeLeft(Worker worker) => skinny && SkinnyRun.ComputeLeft(worker, scratch.Address, scratch.Bytes);

    public override bool ComputeInHand(Worker worker) => skinny && SkinnyRun.ComputeInHand(worker);

    public override void AddWeights(int worker, OwnWeights weights)
    {
        if (skinny)
        {
            SkinnyRun.AddWeights(worker, workers, weights);
            return;
        }
        // Apart, each is a step of its own, but the program knows only this one.
        foreach (CpuMatrixProductLaunch member in members)
        {
            (member.Weights, member.FirstWeights) = (Weights, weights.Count);
            member.AddWeights(worker, weights);
        }
    }

    private void RunApart(Worker worker)
    {
        for (int i = 0; i < members.Length; i++)
        {
            if (i > 0)
                worker.Barrier();
            members[i].Run(worker);
        }
    }

    /// <summary>The members' names, what they have in common once.</summary>
    private static string NameOf(ProductRun run)
    {
        string[] names = [.. run.Chains.SelectMany(chain => chain).Select(product => product.Name)];
        string group = names[0][..(names[0].LastIndexOf('.') + 1)];
        return names.All(name => name.StartsWith(group, StringComparison.Ordinal))
            ? group + string.Join('+', names.Select(name => name[group.Length..]))
            : string.Join(" + ", names);
    }
}
