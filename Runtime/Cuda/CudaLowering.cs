using System.Collections.Concurrent;
using System.Numerics;
using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Turns the steps of a plan into launches: loops written out, views resolved, kernels spelled and compiled.</summary>
internal sealed partial class CudaLowering
{
    /// <summary>Alignments beyond so many elements are of no use.</summary>
    private const int LargestAlignment = 16;

    private readonly CudaResources resources;
    private readonly Dictionary<int, PlanBuffer> buffers;
    private readonly Dictionary<Extent, CpuExtent> extents = [];
    private readonly Dictionary<string, long> loopVariables = [];
    private readonly HashSet<CudaKernelText> texts = new(ReferenceEqualityComparer.Instance);
    private readonly string dimensions;
    private readonly List<Func<CudaLaunch>> pending = [];
    // Sources are long: the same string again is known without looking at its content.
    private readonly HashSet<string> wanted = new(ReferenceEqualityComparer.Instance);
    private readonly ProductRuns runs;
    private readonly ConcurrentDictionary<CudaKernelText, nint> functions = new(ReferenceEqualityComparer.Instance);
    private readonly ILookup<int, int> uses;

    private CudaLowering(CudaResources resources)
    {
        this.resources = resources;
        buffers = resources.Plan.Buffers.ToDictionary(b => b.Id);
        dimensions = string.Join(' ', resources.Plan.Dimensions.Select(d => $"{d.Name} {d.Minimum} {d.Maximum}"));
        uses = resources.Plan.Setup.Concat(resources.Plan.Steps).SelectMany(step => step.Buffers()).ToLookup(buffer => buffer);
        runs = new ProductRuns((x, y) => View(x).Overlaps(View(y)));
        Size = extent => extent.Evaluate(name => resources.Bindings[name]);
        Gathered = new CudaGatheredRows(this);
    }

    public CudaDevice Device => resources.Device;

    public CudaResources Resources => resources;

    /// <summary>Whether kernels wait by themselves for those ahead: of use where they are many and short.</summary>
    public bool StartsKernelsEarly => Device.OverlapsLaunches && resources.Plan.Purpose != Purpose.Train;

    /// <summary>Rows that steps have gathered by group.</summary>
    public CudaGatheredRows Gathered { get; }

    /// <summary>The products that cuBLASLt may compute.</summary>
    public List<CudaProductLaunch> Products { get; } = [];

    /// <summary>A size at the values that the plan's dimensions have at the time of the call.</summary>
    public Func<Extent, long> Size { get; }

    public static CudaLaunch[] Lower(CudaResources resources, IReadOnlyList<Step> steps)
    {
        var lowering = new CudaLowering(resources);
        lowering.Add(steps);
        resources.Scratch.Allocate();
        Timeline.Mark("steps lowered");
        lowering.LoadProposals();
        lowering.CompileKernels();
        Timeline.Mark("kernels compiled");
        return [.. lowering.pending.Select(make => make())];
    }

    public static void CheckOperands(Kernel kernel, CudaView[] views)
    {
        if (views.Length != kernel.Operands.Count)
            throw new InvalidOperationException($"kernel {kernel.Name} has {kernel.Operands.Count} operands, its step {views.Length}");
        for (int i = 0; i < views.Length; i++)
            if (views[i].Type != kernel.Operands[i].Type)
                throw new InvalidOperationException($"kernel {kernel.Name} takes {views[i].Name} as {kernel.Operands[i].Type}, it is {views[i].Type}");
    }

    public CpuExtent Extent(Extent extent)
    {
        if (!extents.TryGetValue(extent, out CpuExtent? compiled))
            extents[extent] = compiled = new CpuExtent(resources.Plan, extent);
        return compiled;
    }

    public CpuExtent[] Extents(IReadOnlyList<Extent> list) => [.. list.Select(Extent)];

    /// <summary>The values that a size may have under the plan's bounds.</summary>
    public IntegerRange Bounds(Extent extent) => new(
        extent.Evaluate(name => resources.Plan.Dimensions.First(d => d.Name == name).Minimum), resources.Plan.Maximum(extent));

    /// <summary>A view as it lies in the iteration of the enclosing loops that is being written out.</summary>
    public CudaView View(BufferView view)
    {
        Extent offset = view.Offset;
        foreach (LoopStride loop in view.Loops)
            offset += Plans.Extent.Of(loopVariables[loop.Variable]) * loop.Stride;
        PlanBuffer buffer = buffers[view.Buffer];
        CudaMemory memory = resources.Memories[buffer.Id];
        return new CudaView(
            memory, buffer.Name, buffer.Type, memory.Place, memory.Place + (nint)memory.Bytes, Extent(offset),
            Alignment(memory.Place / buffer.Type.Size(), offset));
    }

    public ScalarType TypeOf(BufferView view) => buffers[view.Buffer].Type;

    /// <summary>Bytes of the buffer that a view lies in, at most.</summary>
    public long BytesOf(BufferView view) => resources.Plan.Maximum(buffers[view.Buffer].Bytes);

    public bool IsParameter(BufferView view) => buffers[view.Buffer].Class == BufferClass.Parameter;

    /// <summary>Whether what lies in a view's buffer is written by one step for a number of reads, and nothing else uses it.</summary>
    public bool IsPassed(BufferView view, int reads) => view.Equals(BufferView.Whole(view.Buffer))
        && buffers[view.Buffer].Class is BufferClass.Activation or BufferClass.Workspace && uses[view.Buffer].Count() == 1 + reads;

    public CudaView[] Views(IReadOnlyList<BufferView> views) => [.. views.Select(View)];

    /// <summary>Bytes beside the plan's, which the step has to itself while it runs.</summary>
    public CudaMemory Scratch(long bytes) => resources.Scratch.Take(bytes);

    /// <summary>The same as float32.</summary>
    public CudaView Workspace(Extent elements)
    {
        CudaMemory memory = Scratch(resources.Plan.Maximum(elements) * sizeof(float));
        return new CudaView(
            memory, "workspace", ScalarType.F32, memory.Place, memory.Place + (nint)memory.Bytes, Extent(Plans.Extent.Zero), LargestAlignment);
    }

    /// <summary>A kernel's source for operands that lie like these.</summary>
    public CudaKernelText Write(Kernel kernel, CudaView[] views)
    {
        OperandMemory[] memory = Memory(views);
        CudaKernelText text = Spelled(kernel, ("text", StartsKernelsEarly), memory, () =>
        {
            CudaKernelText written = CudaKernelWriter.Write(kernel, memory, Bounds, Device.SharedBytesOfHalf);
            return StartsKernelsEarly ? written.StartingEarly(kernel.Operands.Count) : written;
        });
        _ = texts.Add(text);
        return text;
    }

    /// <summary>A kernel's loops in the grid, as far as their iterations are independent.</summary>
    public Kernel ToGrid(Kernel kernel, CudaView[] views)
    {
        OperandMemory[] memory = Memory(views);
        return SpellingMemo.Of(kernel, ("grid", Key(memory)), () => IndependentLoops.ToGrid(kernel, memory));
    }

    /// <summary>What is made of a kernel for operands that lie so, under the plan's bounds; made once.</summary>
    /// <param name="kind">What it is.</param>
    public T Spelled<T>(Kernel kernel, object kind, OperandMemory[] memory, Func<T> make) =>
        SpellingMemo.Of(kernel, (kind, Key(memory), dimensions, Device.SharedBytesOfHalf), make);

    /// <summary>What is made of a part of the plan under its bounds; made once.</summary>
    /// <param name="kind">What it is, with all else that it depends on.</param>
    public T Bounded<T>(object part, object kind, Func<T> make) => SpellingMemo.Of(part, (kind, dimensions), make);

    /// <summary>A kernel that sums rows, as it is cut for many blocks; null for others.</summary>
    public ColumnSums? Sums(Kernel kernel) => Bounded(kernel, "column sums", () => ColumnSums.Of(kernel, e => Bounds(e).High));

    /// <summary>Has a source compiled beside the others; it may be loaded once all launches are made.</summary>
    public void Want(string source) => wanted.Add(source);

    public nint Function(CudaKernelText text) => functions.GetOrAdd(
        text, _ => Device.Compiler.Load(text.Source).Function(CudaKernelText.Function, text.SharedBytes));

    /// <summary>Adds a launch, made once all kernels are compiled.</summary>
    private void Add(Func<CudaLaunch> make) => pending.Add(make);

    private void Add(CudaLaunch launch) => Add(() => launch);

    private void CompileKernels() => Device.Compiler.Load(wanted.Concat(texts.Select(t => t.Source)).Distinct());

    /// <summary>Has what is proposed for products loaded while kernels are compiled, as far as it is to be measured.</summary>
    private void LoadProposals()
    {
        var launches = new Dictionary<ProductShape, CudaProductLaunch>();
        foreach (CudaProductLaunch launch in Products)
            if (launch.Shape(resources.Bindings.Values) is { } shape)
                _ = launches.TryAdd(shape, launch);
        if (launches.Count > 0)
            Device.BeginLoading(() => new CudaProductsAhead(Device).LoadProposed([.. launches.Where(each => each.Value.IsOpen(each.Key)).Select(each => each.Key)]));
    }

    private static string Key(OperandMemory[] memory) => string.Join(' ', memory.Select(m => $"{m.Alignment}.{m.Alias}"));

    private static int Alignment(long start, Extent offset)
    {
        long bits = LargestAlignment | start;
        foreach ((long coefficient, _) in offset.Terms)
            bits |= coefficient;
        return 1 << BitOperations.TrailingZeroCount(bits);
    }

    public static OperandMemory[] Memory(CudaView[] views)
    {
        var memory = new OperandMemory[views.Length];
        for (int i = 0; i < views.Length; i++)
        {
            int[] met = [.. Enumerable.Range(0, i).Where(j => views[j].Overlaps(views[i])).Select(j => memory[j].Alias)];
            int alias = met.Append(i).Min();
            memory[i] = new OperandMemory(views[i].Type, views[i].Alignment, alias);
            // Operands apart from each other may meet in this one.
            for (int j = 0; j < i; j++)
                if (met.Contains(memory[j].Alias))
                    memory[j] = memory[j] with { Alias = alias };
        }
        return memory;
    }

    private void Add(IReadOnlyList<Step> steps)
    {
        for (int i = 0; i < steps.Count; i++)
            if (runs.At(steps, i) is { } run && AddSkinny(run, [.. steps.Skip(i + run.Length)]) is { } followers)
                i += run.Length + followers - 1;
            else if (i + 1 < steps.Count && steps[i] is Step.Fused before && runs.At(steps, i + 1) is { } made && AddSkinny(made, [.. steps.Skip(i + 1 + made.Length)], before) is { } last)
                i += made.Length + last;
            else if (AddJoined(steps, i) is { } products)
                i += products - 1;
            else if (i + 1 < steps.Count && AddWithGelu(steps[i], steps[i + 1]))
                i++;
            else if (!StartsKernelsEarly && steps.Skip(i).TakeWhile(s => s is Step.Fused).Count() is var neighbours and > 1)
            {
                Begin();
                AddKernels(Calls([.. steps.Skip(i).Take(neighbours).Cast<Step.Fused>()]));
                i += neighbours - 1;
            }
            else
                Add(steps[i]);
    }

    /// <summary>What is added next has the scratch memory to itself.</summary>
    private void Begin(bool keepsGathered = false)
    {
        resources.Scratch.NextStep();
        if (!keepsGathered)
            Gathered.Forget();
    }

    private void Add(Step step)
    {
        Begin(keepsGathered: step is Step.GroupedProduct or Step.GroupedGradient);
        switch (step)
        {
            case Step.Loop loop:
                AddLoop(loop);
                break;
            case Step.Fused fused:
                AddKernels([Call(fused)]);
                break;
            case Step.MatrixProduct product:
                AddProduct(product);
                break;
            case Step.Attention attention:
                AddAttention(attention);
                break;
            case Step.AttentionGradient gradient:
                AddAttentionGradient(gradient);
                break;
            case Step.TopK topK:
                Add(new CudaTopKLaunch(topK, Views([topK.Input, topK.Values, topK.Indices]), this));
                break;
            case Step.Choose choose:
                Add(new CudaChooseLaunch(choose, this));
                break;
            case Step.Dispatch dispatch:
                (CudaRowGroups sorted, CudaView index) = (new(dispatch.Rows, this), View(dispatch.Index));
                Want(CudaGatherCall.Source);
                Add(() => new CudaDispatchLaunch(dispatch, sorted, index, this));
                break;
            case Step.GroupedProduct product:
                AddGroupedProduct(product);
                break;
            case Step.GroupedGradient gradient:
                CudaView matrices = View(gradient.Output.View);
                Add(new CudaGroupedGradientLaunch(gradient, new CudaRowGroups(gradient.Rows, this), matrices, this));
                Gathered.Pass(matrices);
                break;
            default:
                throw new LegatoException(
                    $"the GPU has no kernel for the step {step.Name} ({step.GetType().Name})", $"the {resources.Plan.Purpose} plan of {resources.Plan.Model}", "use --device cpu");
        }
    }

    public static Expr SizeOf(Extent extent) => extent.IsConstant ? new Expr.Integer(extent.Constant) : new Expr.Size(extent);

    private void AddAttention(Step.Attention step)
    {
        CudaHeads query = Heads(step.Query), key = Heads(step.Key), value = Heads(step.Value), output = Heads(step.Output);
        CudaView? logSumExp = step.LogSumExp is { } l ? View(l) : null, past = step.Past is { } p ? View(p) : null;
        CudaView[] extra = Views(step.Extra);
        if (CudaFlashDecodeLaunch.Takes(step, query, key, value, output))
        {
            bool isCached = past is not null && resources.Plan.Purpose == Purpose.Decode
                && buffers[step.Key.View.Buffer].Class == BufferClass.Cache && buffers[step.Value.View.Buffer].Class == BufferClass.Cache;
            Add(new CudaFlashDecodeLaunch(step, query, key, value, output, past, extra, isCached, this));
        }
        else if (CudaFlashAttentionLaunch.Takes(step, query, key, value, output, this))
            Add(new CudaFlashAttentionLaunch(step, query, key, value, output, logSumExp, past, extra, this));
        else if (CudaAmpereAttentionLaunch.Takes(step, query, key, value, output))
            Add(new CudaAmpereAttentionLaunch(step, query, key, value, output, logSumExp, past, extra, this));
        else
            Add(() => new CudaAttentionLaunch(step, query, key, value, output, logSumExp, past, extra, this));
    }

    private void AddAttentionGradient(Step.AttentionGradient step)
    {
        CudaHeads[] heads = [.. new[] { step.Query, step.Key, step.Value, step.Output, step.OutputGradient, step.QueryGradient, step.KeyGradient, step.ValueGradient }.Select(Heads)];
        CudaView logSumExp = View(step.LogSumExp), rowDot = View(step.RowDot);
        CudaView[] extra = Views(step.Extra);
        if (CudaHopperGradientLaunch.Of(step, heads, logSumExp, extra, this) is { } launch)
            Add(launch);
        else if (CudaAmpereAttentionGradientLaunch.Takes(step, heads))
            Add(new CudaAmpereAttentionGradientLaunch(step, heads, logSumExp, rowDot, extra, this));
        else
            Add(() => new CudaAttentionGradientLaunch(step, heads, logSumExp, rowDot, extra, this));
    }

    private CudaHeads Heads(HeadTensor tensor) => new(tensor, View(tensor.View), this);

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
