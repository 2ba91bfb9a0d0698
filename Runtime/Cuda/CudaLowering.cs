using System.Collections.Concurrent;
using System.Numerics;
using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Turns the steps of a plan into launches: loops written out, views resolved, kernels spelled and compiled.</summary>
internal sealed class CudaLowering
{
    /// <summary>Alignments beyond so many elements are of no use.</summary>
    private const int LargestAlignment = 16;

    private readonly CudaResources resources;
    private readonly Dictionary<int, PlanBuffer> buffers;
    private readonly Dictionary<Extent, CpuExtent> extents = [];
    private readonly Dictionary<string, long> loopVariables = [];
    private readonly Dictionary<(string Text, string Memory), CudaKernelText> texts = [];
    private readonly List<Func<CudaLaunch>> pending = [];
    private readonly HashSet<string> wanted = [];
    private readonly ProductRuns runs;
    private readonly ConcurrentDictionary<string, nint> functions = new();
    private readonly ILookup<int, int> uses;

    private CudaLowering(CudaResources resources)
    {
        this.resources = resources;
        buffers = resources.Plan.Buffers.ToDictionary(b => b.Id);
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

    /// <summary>A size at the values that the plan's dimensions have at the time of the call.</summary>
    public Func<Extent, long> Size { get; }

    public static CudaLaunch[] Lower(CudaResources resources, IReadOnlyList<Step> steps)
    {
        var lowering = new CudaLowering(resources);
        lowering.Add(steps);
        resources.Scratch.Allocate();
        Timeline.Mark("steps lowered");
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
        (string, string) key = (kernel.Text, string.Join(' ', memory.Select(m => $"{m.Alignment}.{m.Alias}")));
        if (!texts.TryGetValue(key, out CudaKernelText? text))
        {
            text = CudaKernelWriter.Write(kernel, memory, Bounds, Device.SharedBytesOfHalf);
            texts[key] = text = StartsKernelsEarly ? text.StartingEarly(kernel.Operands.Count) : text;
        }
        return text;
    }

    /// <summary>Has a source compiled beside the others; it may be loaded once all launches are made.</summary>
    public void Want(string source) => wanted.Add(source);

    public nint Function(CudaKernelText text) => functions.GetOrAdd(
        text.Text, source => Device.Compiler.Load(CudaCompiler.Prelude + source).Function(CudaKernelText.Function, text.SharedBytes));

    /// <summary>Adds a launch, made once all kernels are compiled.</summary>
    private void Add(Func<CudaLaunch> make) => pending.Add(make);

    private void Add(CudaLaunch launch) => Add(() => launch);

    private void CompileKernels() =>
        Parallel.ForEach([.. wanted, .. texts.Values.Select(t => CudaCompiler.Prelude + t.Text).Distinct()], source => Device.Compiler.Load(source));

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

    private CudaKernelCall Call(Step.Fused step) => new(step.Name, step.Cost, step.Kernel, Views(step.Operands));

    /// <summary>The kernels of neighbouring steps; one that sums parts takes over the steps that add those up.</summary>
    private List<CudaKernelCall> Calls(Step.Fused[] steps)
    {
        var calls = new List<CudaKernelCall>();
        var taken = new HashSet<int>();
        for (int i = 0; i < steps.Length; i++)
            if (!taken.Contains(i))
            {
                Dictionary<int, int>? followers = Followers(i);
                taken.UnionWith(followers?.Values ?? Enumerable.Empty<int>());
                calls.Add(Call(steps[i]) with { Results = followers?.ToDictionary(f => f.Key, f => View(steps[f.Value].Operands[1])) });
            }
        return calls;

        // By operand, the step that adds up its parts; null where one has none, or they cannot be computed at once.
        Dictionary<int, int>? Followers(int first)
        {
            if (ColumnSums.Of(steps[first].Kernel, e => Bounds(e).High) is not { AreAdded: true, Parts: <= CudaColumnSumsLaunch.MostParts } sums)
                return null;
            var followers = new Dictionary<int, int>();
            for (int i = 0; i < sums.Sums.Count; i++)
            {
                int operand = sums.Sums[i];
                BufferView parts = steps[first].Operands[operand];
                int at = Array.FindIndex(steps, first + 1, s => s.Operands.Count == 2 && s.Operands[0].Equals(parts));
                if (at < 0 || SumOfParts.Of(steps[at].Kernel) != new SumOfParts(sums.Parts, sums.Columns(i)) || !IsPassing(parts, at - first))
                    return null;
                followers[operand] = at;
            }
            CudaView[] results = [.. followers.Values.Select(at => View(steps[at].Operands[1]))];
            IEnumerable<Step.Fused> before = steps.Take(followers.Values.Max()).Skip(first).Where((_, k) => !followers.ContainsValue(first + k));
            return before.SelectMany(s => Views(s.Operands)).Any(view => results.Any(view.Overlaps)) ? null : followers;
        }
    }

    /// <summary>Whether what a step writes is last read so many steps after it, and nowhere but in the plan.</summary>
    private bool IsPassing(BufferView view, int steps) =>
        buffers[view.Buffer] is { Class: BufferClass.Activation or BufferClass.Workspace } buffer && buffer.LastStep == buffer.FirstStep + steps;

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
                CudaView[] views = Views([topK.Input, topK.Values, topK.Indices]);
                Add(() => new CudaTopKLaunch(topK, views, this));
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

    /// <summary>
    /// Adds products of few rows as one launch, if its kernel takes them, and the kernels after them that go through their
    /// elements: the number of those, or null.
    /// </summary>
    /// <param name="before">A kernel that makes their left operand, as part of the launch; null where they are to have none.</param>
    private int? AddSkinny(ProductRun run, IReadOnlyList<Step> following, Step.Fused? before = null)
    {
        CudaSkinnyProduct?[][] products = [.. run.Chains.Select(chain => chain.Select(step => CudaSkinnyProduct.Of(step, this)).ToArray())];
        if (products.Any(chain => chain.Contains(null) || chain.Length != products[0].Length))
            return null;
        CudaSkinnyPrologue? prologue = before is null ? null : CudaSkinnyPrologue.Of(before, run, CudaSkinnyLaunch.Threads, this);
        if (before is not null && prologue is null)
            return null;
        CudaSkinnyChain[] chains = Chains(), plain = Chains();
        int followers = following.TakeWhile(step => step is Step.Fused fused && chains.Any(chain => chain.TryFollow(fused, IsFree))).Count();
        long distance = chains.Max(chain => chain.Distance);
        if (distance > 0 && !chains.All(chain => chain.TryPair(distance)))
            (chains, followers) = (plain, 0);
        bool prefetches = resources.Plan.Purpose != Purpose.Train
            && run.Chains.All(chain => chain.All(step => IsParameter(step.Right.View)));
        if (prologue is not null && prologue.Reads.Any(view => !IsFree(view, Access.Read)))
            return null;
        Add(new CudaSkinnyLaunch(chains, prologue, prefetches, this));
        return followers;

        CudaSkinnyChain[] Chains() => [.. products.Select(chain => new CudaSkinnyChain(chain!, this))];

        bool IsFree(CudaView view, Access access) => !chains.SelectMany(chain => chain.Touched)
            .Any(touched => (access != Access.Read || touched.Access != Access.Read) && touched.View.Overlaps(view));
    }

    /// <summary>Adds products as one launch, if a kernel of our own may compute them so: their number, or null.</summary>
    private int? AddJoined(IReadOnlyList<Step> steps, int first)
    {
        if (runs.At(steps, first) is not { } run)
            return null;
        JoinedProducts? products = JoinedProducts.Beside(run) ?? JoinedProducts.Summed(steps.Skip(first), view => IsPassing(view, 1), (x, y) => View(x).Overlaps(View(y)));
        if (products is null || products.Steps.Any(p => CudaSkinnyProduct.Of(p, this) is not null || AlignedProducts.Of(p, TypeOf(p.Left.View)).Count() > 1))
            return null;
        CudaProductLaunch?[] apart = [.. products.Steps.Select(Apart)];
        if (apart.Contains(null) || CudaJoinedProductLaunch.Of(products, apart!, this) is not { } launch)
            return null;
        Begin();
        Add(launch);
        return products.Steps.Count;

        CudaProductLaunch? Apart(Step.MatrixProduct p)
        {
            CudaView left = View(p.Left.View), right = View(p.Right.View), output = View(p.Output.View);
            return p.Epilogue is null ? new CudaProductLaunch(p, left, right, output, this) : Ended(p, left, right, [output, .. Views(p.EpilogueOperands)]);
        }
    }

    private void AddProduct(Step.MatrixProduct product)
    {
        if (AddSkinny(new ProductRun([[product]]), []) is not null)
            return;
        CudaView left = View(product.Left.View), right = View(product.Right.View), output = View(product.Output.View);
        Step.MatrixProduct[] parts = [.. AlignedProducts.Of(product, left.Type)];
        if (parts.Length == 1 && AddWithEpilogue(product, left, right, output))
            return;
        CudaProductLaunch whole = Whole(product);
        if (parts.Length == 1)
            Add(whole);
        else if (whole.TakesOddSizes)
            Add(new CudaOddProductLaunch(product, whole, [.. parts.Select(Whole)], this));
        else
            foreach (Step.MatrixProduct part in parts)
                Add(Whole(part));
        AddEpilogue(product.Name, product.Epilogue, product.M, product.N, [output, .. Views(product.EpilogueOperands)]);

        CudaProductLaunch Whole(Step.MatrixProduct p) => new(p, View(p.Left.View), View(p.Right.View), View(p.Output.View), this);
    }

    private void AddGroupedProduct(Step.GroupedProduct product)
    {
        CudaView[] written = [View(product.Output.View), .. Views(product.EpilogueOperands)];
        var left = new CudaGroupedMatrix(product.Left, product.K, this);
        Add(new CudaGroupedProductLaunch(product, new CudaRowGroups(product.Rows, this), left, View(product.Right.View), written[0], this));
        AddEpilogue(product.Name, product.Epilogue, product.Rows.Count, product.N, written);
        Gathered.Pass(written);
    }

    /// <summary>An epilogue over the whole output, after its product.</summary>
    private void AddEpilogue(string name, Kernel? epilogue, Extent rows, Extent columns, CudaView[] views)
    {
        if (epilogue is not null)
            AddKernels([new CudaKernelCall(EpilogueName(name), Cost.Zero, Whole(epilogue, rows, columns), views)]);
    }

    /// <summary>A product whose epilogue cuBLASLt takes in; false for others.</summary>
    private bool AddWithEpilogue(Step.MatrixProduct product, CudaView left, CudaView right, CudaView output)
    {
        if (Ended(product, left, right, [output, .. Views(product.EpilogueOperands)]) is not { } launch)
            return false;
        Add(launch);
        return true;
    }

    /// <summary>A product and its epilogue as one; null where cuBLASLt doesn't take it in.</summary>
    /// <param name="views">The output, and what the epilogue reads.</param>
    private CudaProductLaunch? Ended(Step.MatrixProduct product, CudaView left, CudaView right, CudaView[] views)
    {
        if (ProductEpilogue.Of(product) is not { } added || left.Type != views[0].Type || (added.GeluInput is not null && left.Type == ScalarType.F32))
            return null;
        CudaView? Operand(int? index) => index is { } at ? views[at] : null;
        if (Operand(added.Bias) is { } bias && bias.Alignment * bias.Type.Size() < CudaProduct.BiasAlignment)
            return null;
        Kernel epilogue = IndependentLoops.ToGrid(Whole(product.Epilogue!, product.M, product.N), Memory(views));
        _ = Write(epilogue, views);
        Step.MatrixProduct plain = product with { Epilogue = null, EpilogueOperands = [] };
        var apart = new Lazy<CudaLaunch[]>(() =>
            [new CudaProductLaunch(plain, left, right, views[0], this), new CudaKernelLaunch(EpilogueName(product.Name), Cost.Zero, epilogue, views, this)]);
        ProductActivation activation = added.GeluInput is null ? ProductActivation.None : ProductActivation.GeluSlope;
        return new CudaProductLaunch(
            product, left, right, views[0],
            new ProductEnd(Operand(added.Bias), Operand(added.Addend), activation, Operand(added.GeluInput), product.Output.RowStride.Constant, apart), this);
    }

    /// <summary>A product, and GELU of all that it gives in the step after it, as one; false for other steps, and where cuBLASLt doesn't take it in.</summary>
    private bool AddWithGelu(Step step, Step next)
    {
        if (step is not Step.MatrixProduct product || next is not Step.Fused map || GeluOfProduct.Of(product, map) is not { } gelu)
            return false;
        CudaView left = View(product.Left.View), right = View(product.Right.View), result = View(gelu.Result.View);
        CudaView[] views = [View(product.Output.View), .. Views(product.EpilogueOperands)];
        CudaView? bias = gelu.Bias is { } at ? views[at] : null;
        bool isTaken = left.Type is ScalarType.BF16 or ScalarType.F16 && left.Type == right.Type && left.Type == views[0].Type && left.Type == result.Type
            && (bias is null || bias.Alignment * bias.Type.Size() >= CudaProduct.BiasAlignment)
            && !views.Append(left).Append(right).Any(result.Overlaps)
            && CudaSkinnyProduct.Of(product, this) is null && AlignedProducts.Of(product, left.Type).Count() == 1;
        if (!isTaken)
            return false;
        Begin();
        CudaView[] mapped = Views(map.Operands);
        Kernel kernel = IndependentLoops.ToGrid(map.Kernel, Memory(mapped));
        _ = Write(kernel, mapped);
        var apart = new Lazy<CudaLaunch[]>(() =>
            [Ended(product, left, right, views) ?? new CudaProductLaunch(product, left, right, views[0], this), new CudaKernelLaunch(map.Name, map.Cost, kernel, mapped, this)]);
        Step.MatrixProduct whole = product with { Cost = product.Cost + map.Cost, Output = gelu.Result };
        Add(new CudaProductLaunch(
            whole, left, right, result, new ProductEnd(bias, null, ProductActivation.Gelu, views[0], product.Output.RowStride.Constant, apart), this));
        return true;
    }

    private static string EpilogueName(string product) => product + " epilogue";

    private static Kernel Whole(Kernel epilogue, Extent rows, Extent columns) =>
        epilogue.Applied([new Expr.Integer(0), SizeOf(rows), new Expr.Integer(0), SizeOf(columns)]);

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

    /// <summary>Kernels of neighbouring steps: what needn't wait for each other is launched at once, as far as it can be.</summary>
    private void AddKernels(IEnumerable<CudaKernelCall> calls)
    {
        var stages = new CudaKernelStages();
        foreach (CudaKernelCall call in calls)
        {
            CudaKernelCall spread = call with { Kernel = IndependentLoops.ToGrid(call.Kernel, Memory(call.Views)) };
            if (ScatterSums.Of(spread.Kernel) is { } scatter)
            {
                AddStages(stages);
                stages = new CudaKernelStages();
                Add(() => new CudaScatterLaunch(spread.Name, spread.Cost, spread.Kernel, scatter, spread.Views, this));
            }
            else if (spread.Results is { } results && ColumnSums.Of(spread.Kernel, e => Bounds(e).High) is { } sums)
            {
                AddStages(stages);
                stages = new CudaKernelStages();
                AddSums(spread, sums, results);
            }
            else
            {
                foreach (CudaKernelCall part in Parts(spread))
                    stages.Add(part);
            }
        }
        AddStages(stages);
    }

    private void AddStages(CudaKernelStages stages)
    {
        foreach (IReadOnlyList<CudaKernelCall> stage in stages.All)
        {
            (IEnumerable<CudaJoinedLaunch> joined, IEnumerable<CudaKernelCall> left) = CudaJoinedLaunch.Of(stage, this);
            foreach (CudaJoinedLaunch launch in joined)
                Add(launch);
            foreach (CudaKernelCall call in left)
            {
                _ = Write(call.Kernel, call.Views);
                Add(() => new CudaKernelLaunch(call.Name, call.Cost, call.Kernel, call.Views, this));
            }
        }
    }

    /// <summary>A kernel that sums rows in pieces, and their sums.</summary>
    private void AddSums(CudaKernelCall call, ColumnSums sums, IReadOnlyDictionary<int, CudaView> results)
    {
        CudaView[] pieces = [.. sums.PieceElements.Select(Workspace)], all = [.. call.Views, .. pieces];
        _ = Write(sums.Fold, all);
        Add(() => new CudaKernelLaunch(call.Name, call.Cost, sums.Fold, all, this));
        PiecesOfSum[] finished = [.. sums.Sums.Select((operand, i) => new PiecesOfSum(pieces[i], results[operand], sums.Columns(i)))];
        Want(CudaColumnSumsLaunch.Source(finished.Length));
        Add(new CudaColumnSumsLaunch(call.Name + " sum", Cost.Zero, finished, sums.Parts, sums.Each, this));
    }

    /// <summary>A kernel in as many launches as spread it over the GPU.</summary>
    private IEnumerable<CudaKernelCall> Parts(CudaKernelCall call)
    {
        if (KernelSplit.Of(call.Kernel) is { } split)
        {
            CudaView[] all = [.. call.Views, .. Enumerable.Range(0, split.Accumulators).Select(_ => Workspace(split.Pieces))];
            return [call with { Kernel = split.Fold, Views = all }, new(call.Name, Cost.Zero, split.Finish, all)];
        }
        if (ColumnSums.Of(call.Kernel, e => Bounds(e).High) is { } sums)
        {
            CudaView[] pieces = [.. sums.PieceElements.Select(Workspace)];
            return [
                call with { Kernel = sums.Fold, Views = [.. call.Views, .. pieces] },
                new(call.Name, Cost.Zero, sums.Finish, [.. sums.Sums.Select(s => call.Views[s]), .. pieces]),
            ];
        }
        return [call];
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
