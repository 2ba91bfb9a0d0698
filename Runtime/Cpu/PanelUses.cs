using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Which parameters a plan's steps read only as weights of products, or row by row, so that they may lie in <see cref="WeightPanels"/>.
/// </summary>
internal sealed class PanelUses(Plan plan)
{
    private readonly Dictionary<int, PlanBuffer> parameters = plan.Buffers.Where(b => b.Class == BufferClass.Parameter).ToDictionary(b => b.Id);
    private readonly Dictionary<int, WeightPanels> panels = [];
    private readonly HashSet<int> used = [], needed = [];

    /// <summary>Looks at more of the plan's steps, as the device executes them.</summary>
    public void Add(IReadOnlyList<Step> steps)
    {
        Step[] all = [.. steps.SelectMany(Unrolled)];
        foreach (Step.MatrixProduct product in all.OfType<Step.MatrixProduct>())
            AddProduct(product);
        foreach (Step step in all)
            AddOthers(step);
    }

    /// <summary>Lays parameters as the steps want them; called before each run, as other plans may have laid them otherwise.</summary>
    public void Lay(IReadOnlyDictionary<int, CpuMemory> memories)
    {
        foreach (int buffer in used)
        {
            if (needed.Contains(buffer))
                memories[buffer].LayInRows();
            else
                memories[buffer].LayInPanels(panels[buffer]);
        }
    }

    /// <summary>The step's kernel for operands in panels, and which of them that is; null where the step reads no weights that may lie so.</summary>
    public (Kernel Kernel, int Operand)? Lookup(Step.Fused step)
    {
        int[] candidates = [.. Enumerable.Range(0, step.Operands.Count).Where(i => panels.ContainsKey(step.Operands[i].Buffer))];
        if (candidates is not [int operand])
            return null;
        BufferView view = step.Operands[operand];
        WeightPanels found = panels[view.Buffer];
        if (!BeginsWithAPanel(view, found) || found.HasRest && !IsWhole(view))
            return null;
        // A kernel that workers share piece by piece is two; none that looks rows up has been.
        return PanelLookup.Of(step.Kernel, operand, found) is { } kernel && KernelSplit.Of(step.Kernel) is null ? (kernel, operand) : null;
    }

    private static IEnumerable<Step> Unrolled(Step step) => step is Step.Loop loop ? loop.Body.SelectMany(Unrolled) : [step];

    private void AddProduct(Step.MatrixProduct product)
    {
        if (Weights(product) is not { } found)
            return;
        int buffer = product.Right.View.Buffer;
        if (!panels.TryAdd(buffer, found) && panels[buffer] != found)
            needed.Add(buffer);
    }

    /// <summary>What is used otherwise must lie in rows.</summary>
    private void AddOthers(Step step)
    {
        List<int> others = [.. step.Buffers().Where(parameters.ContainsKey)];
        used.UnionWith(others);
        if (step is Step.MatrixProduct product && Weights(product) is not null)
            others.Remove(product.Right.View.Buffer);
        if (step is Step.Fused fused && Lookup(fused) is var (_, operand))
            others.Remove(fused.Operands[operand].Buffer);
        needed.UnionWith(others);
    }

    /// <summary>The panels of a product's weights, where they are whole rows of K from a panel's beginning to a panel's end.</summary>
    private WeightPanels? Weights(Step.MatrixProduct product)
    {
        if (CpuIsaChoice.Active != CpuIsa.Avx512 || StretchFetch.InStreams)
            return null;
        if (!parameters.TryGetValue(product.Right.View.Buffer, out PlanBuffer? parameter) || parameter.Type is not (ScalarType.F32 or ScalarType.BF16))
            return null;
        if (product.Batch.Count > 0 || !product.Output.ColumnStride.Equals(Extent.One) || !product.Right.RowStride.Equals(Extent.One))
            return null;
        if (!product.K.IsConstant || product.K.Constant < 2 || !product.N.IsConstant || !product.Right.ColumnStride.Equals(product.K))
            return null;
        long rowBytes = product.K.Constant * parameter.Type.Size(), bytes = plan.Maximum(parameter.Bytes);
        var found = new WeightPanels((nint)rowBytes, bytes / rowBytes);
        bool isWhole = rowBytes % WeightPanels.WordBytes == 0 && bytes % rowBytes == 0 && found.PanelBytes <= int.MaxValue
            && BeginsWithAPanel(product.Right.View, found) && EndsWithAPanel(product, found);
        return isWhole ? found : null;
    }

    /// <summary>In every iteration of loops.</summary>
    private bool BeginsWithAPanel(BufferView view, WeightPanels found)
    {
        long elements = found.PanelBytes / parameters[view.Buffer].Type.Size();
        return view.Loops.Select(loop => loop.Stride).Prepend(view.Offset).All(extent => extent.IsConstant && extent.IsMultiple(elements));
    }

    /// <summary>Or with the last row of all, where some fill no panel.</summary>
    private static bool EndsWithAPanel(Step.MatrixProduct product, WeightPanels found) =>
        product.N.Constant % WeightPanels.Rows == 0
        || product.N.Constant == found.AllRows && IsWhole(product.Right.View);

    private static bool IsWhole(BufferView view) => view.Loops.Count == 0 && view.Offset.Equals(Extent.Zero);
}
