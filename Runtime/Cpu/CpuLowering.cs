using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>Turns the steps of a plan into launches: loops written out, views resolved, kernels compiled.</summary>
internal sealed class CpuLowering
{
    /// <summary>Spaces below 0 are no persistent buffers.</summary>
    private const int ArenaSpace = -1, ProductScratchSpace = -2, AttentionScratchSpace = -3;

    private readonly CpuResources resources;
    private readonly Dictionary<int, PlanBuffer> buffers;
    private readonly Dictionary<Extent, CpuExtent> extents = [];
    private readonly Dictionary<string, long> loopVariables = [];
    private readonly Dictionary<Kernel, KernelSplit?> splits = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<Kernel, CompiledKernel> kernels = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<(long Elements, int Number), int> workspaces = [];
    private readonly ProductRuns runs;
    private readonly List<CpuLaunch> launches = [];

    private CpuLowering(CpuResources resources)
    {
        this.resources = resources;
        buffers = resources.Plan.Buffers.ToDictionary(b => b.Id);
        Dimension = name => resources.Bindings[name];
        runs = new ProductRuns((x, y) => View(x).Range.Overlaps(View(y).Range));
    }

    public CpuDevice Device => resources.Device;

    public CpuScratch ProductScratch => resources.ProductScratch;

    public CpuScratch AttentionScratch => resources.AttentionScratch;

    /// <summary>The values that the plan's dimensions have at the time of the call.</summary>
    public Func<string, long> Dimension { get; }

    /// <summary>Attention steps lay out the scratch each in its own way.</summary>
    public static CpuAccess AttentionScratchAccess { get; } = new(new CpuRange(AttentionScratchSpace, 0, 1), Writes: true, Alone: false);

    public static CpuLaunch[] Lower(CpuResources resources, IReadOnlyList<Step> steps)
    {
        var lowering = new CpuLowering(resources);
        IReadOnlyList<Step> wide = lowering.Widened(steps);
        resources.PanelUses.Add(wide);
        lowering.CompileKernels(wide);
        lowering.Add(wide);
        return [.. lowering.launches];
    }

    /// <summary>Lowers for the working memory alone: no kernel is compiled, nothing can be run.</summary>
    public static void ReserveWorkingMemory(CpuResources resources, IReadOnlyList<Step> steps)
    {
        var lowering = new CpuLowering(resources);
        IReadOnlyList<Step> wide = lowering.Widened(steps);
        resources.PanelUses.Add(wide);
        resources.PanelUses.Lay(resources.Memories);
        lowering.Add(lowering.WithoutKernels(wide));
        foreach (CpuLaunch launch in lowering.launches)
            launch.Bind(resources.Bindings.Values);
    }

    /// <summary>Small products leave each worker its own part of the scratch, large ones lay it out together.</summary>
    public static CpuAccess ProductScratchAccess(bool together) => new(new CpuRange(ProductScratchSpace, 0, 1), together, Alone: false);

    public CpuExtent Extent(Extent extent)
    {
        if (!extents.TryGetValue(extent, out CpuExtent? compiled))
            extents[extent] = compiled = new CpuExtent(resources.Plan, extent);
        return compiled;
    }

    /// <summary>A view as it lies in the iteration of the enclosing loops that is being written out.</summary>
    public CpuView View(BufferView view)
    {
        Extent offset = view.Offset;
        foreach (LoopStride loop in view.Loops)
            offset += Plans.Extent.Of(loopVariables[loop.Variable]) * loop.Stride;
        PlanBuffer buffer = buffers[view.Buffer];
        long bytes = resources.Plan.Maximum(buffer.Bytes);
        CpuRange range = buffer.IsPersistent || workspaces.ContainsValue(buffer.Id)
            ? new CpuRange(buffer.Id, 0, bytes)
            : new CpuRange(ArenaSpace, buffer.Offset, buffer.Offset + bytes);
        return new CpuView(resources.Memories[buffer.Id], buffer, range, Extent(offset));
    }

    public CpuView[] Views(IReadOnlyList<BufferView> views) => [.. views.Select(View)];

    public CpuExtent[] Extents(IReadOnlyList<Extent> list) => [.. list.Select(Extent)];

    /// <summary>A kernel's code; its text is looked at once a plan.</summary>
    public CompiledKernel Compile(Kernel kernel)
    {
        if (!kernels.TryGetValue(kernel, out CompiledKernel? compiled))
            kernels[kernel] = compiled = Device.Kernels.Compile(kernel);
        return compiled;
    }

    /// <summary>Compiles all kernels at once, so that cores share the work.</summary>
    private void CompileKernels(IReadOnlyList<Step> steps)
    {
        var distinct = new Dictionary<string, Kernel>();
        Collect(steps);
        Parallel.ForEach(distinct.Values, kernel => Device.Kernels.Compile(kernel));

        void Collect(IReadOnlyList<Step> list)
        {
            foreach (Step step in list)
                if (step is Step.Loop loop)
                    Collect(loop.Body);
                else if (step is Step.Fused { Kernel: var fused })
                    CollectFused(fused, Split(fused));
                else if (step is Step.MatrixProduct { Epilogue: { } epilogue })
                    distinct.TryAdd(epilogue.Text, epilogue);
                else if (step is Step.GroupedProduct { Epilogue: { } groupedEpilogue })
                    distinct.TryAdd(groupedEpilogue.Text, groupedEpilogue);
        }

        void CollectFused(Kernel kernel, KernelSplit? split)
        {
            foreach (Kernel part in split is null ? [kernel] : new[] { split.Fold, split.Finish })
                distinct.TryAdd(part.Text, part);
        }
    }

    private KernelSplit? Split(Kernel kernel)
    {
        if (!splits.TryGetValue(kernel, out KernelSplit? split))
            splits[kernel] = split = KernelSplit.Of(kernel);
        return split;
    }

    /// <summary>The steps in order, those that may be computed as one together.</summary>
    private void Add(IReadOnlyList<Step> steps)
    {
        for (int i = 0; i < steps.Count; i++)
            if (runs.At(steps, i) is { Length: > 1 } run)
            {
                launches.Add(new CpuProductRunLaunch(run, this));
                i += run.Length - 1;
            }
            else
            {
                Add(steps[i]);
            }
    }

    private void Add(Step step)
    {
        switch (step)
        {
            case Step.Loop loop:
                AddLoop(loop);
                break;
            case Step.Fused fused:
                AddFused(fused);
                break;
            case Step.MatrixProduct product:
                launches.Add(new CpuMatrixProductLaunch(product, this));
                break;
            case Step.Attention attention:
                launches.Add(new CpuAttentionLaunch(attention, this));
                break;
            case Step.AttentionGradient gradient:
                launches.Add(new CpuAttentionGradientLaunch(gradient, this));
                break;
            case Step.TopK topK:
                launches.Add(new CpuTopKLaunch(topK, this));
                break;
            case Step.Choose choose:
                launches.Add(new CpuChooseLaunch(choose, this));
                break;
            case Step.Dispatch dispatch:
                launches.Add(new CpuDispatchLaunch(dispatch, this));
                break;
            case Step.GroupedProduct product:
                launches.Add(new CpuGroupedProductLaunch(product, this));
                break;
            case Step.GroupedGradient gradient:
                launches.Add(new CpuGroupedGradientLaunch(gradient, this));
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(step), step.GetType().Name, "no known step");
        }
    }

    private void AddFused(Step.Fused step)
    {
        CpuView[] views = Views(step.Operands);
        if (Split(step.Kernel) is not { } split)
        {
            launches.Add(new CpuFusedLaunch(step, step.Kernel, views, this, resources.PanelUses.Lookup(step)));
            return;
        }
        CpuView[] all = [.. views, .. Enumerable.Range(0, split.Accumulators).Select(_ => Workspace(split.Pieces))];
        launches.Add(new CpuFusedLaunch(step, split.Fold, all, this));
        launches.Add(new CpuFusedLaunch(step with { Cost = Cost.Zero }, split.Finish, all, this));
    }

    /// <summary>float32 memory beside the plan's.</summary>
    private CpuView Workspace(long elements)
    {
        int id = resources.AddWorkspace(elements * sizeof(float));
        var buffer = new PlanBuffer(id, "workspace", BufferClass.Workspace, ScalarType.F32, [new PlanAxis("n", elements)], 0, 0, 0);
        return new CpuView(resources.Memories[id], buffer, new CpuRange(id, 0, elements * sizeof(float)), Extent(Plans.Extent.Zero));
    }

    /// <summary>The id of float32 memory that steps share, one after the other; several of one size differ in number.</summary>
    private int SharedWorkspace(Extent elements, int number)
    {
        long most = resources.Plan.Maximum(elements);
        if (workspaces.TryGetValue((most, number), out int id))
            return id;
        id = resources.AddWorkspace(most * sizeof(float));
        buffers[id] = new PlanBuffer(id, "workspace", BufferClass.Workspace, ScalarType.F32, [new PlanAxis("n", most)], 0, 0, 0);
        return workspaces[(most, number)] = id;
    }

    private IReadOnlyList<Step> Widened(IReadOnlyList<Step> steps) =>
        new CpuFloat32(view => buffers[view.Buffer].Type, SharedWorkspace).Rewrite(steps);

    /// <summary>The steps whose working memory depends on more than their kernels; that of fused kernels is reserved on the way.</summary>
    private IReadOnlyList<Step> WithoutKernels(IReadOnlyList<Step> steps, long times = 1)
    {
        var kept = new List<Step>();
        foreach (Step step in steps)
            switch (step)
            {
                case Step.Loop loop:
                    kept.Add(loop with { Body = WithoutKernels(loop.Body, times * loop.Count) });
                    break;
                case Step.Fused fused:
                    if (Split(fused.Kernel) is { } split)
                        resources.AddWorkspace(times * split.Accumulators * split.Pieces * sizeof(float));
                    break;
                case Step.MatrixProduct product:
                    kept.Add(product with { Epilogue = null, EpilogueOperands = [] });
                    break;
                case Step.GroupedProduct product:
                    kept.Add(product with { Epilogue = null, EpilogueOperands = [] });
                    break;
                default:
                    kept.Add(step);
                    break;
            }
        return kept;
    }

    private void AddLoop(Step.Loop loop)
    {
        for (long i = 0; i < loop.Count; i++)
        {
            loopVariables[loop.Variable] = loop.Reversed ? loop.Count - 1 - i : i;
            Add(loop.Body);
        }
        loopVariables.Remove(loop.Variable);
    }
}
