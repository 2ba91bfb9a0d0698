using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>A plan that the interpreter executes, over its arena and its persistent buffers.</summary>
internal sealed class InterpreterExecutable : IExecutable
{
    private readonly InterpreterMemory arena;
    private readonly Dictionary<int, InterpreterMemory> memories = [];
    private readonly Dictionary<int, PlanBuffer> buffers;
    private readonly DimensionBindings bindings;
    private readonly Dictionary<string, long> loopVariables = [];
    private readonly Dictionary<Extent, long> sizes = new(ReferenceEqualityComparer.Instance);

    public InterpreterExecutable(InterpreterDevice device, Plan plan, IReadOnlyDictionary<string, IDeviceMemory> persistent)
    {
        Plan = plan;
        bindings = new DimensionBindings(plan);
        buffers = plan.Buffers.ToDictionary(b => b.Id);
        arena = new InterpreterMemory(device, plan.ArenaBytes);
        foreach (PlanBuffer buffer in plan.Buffers)
            memories[buffer.Id] = buffer.IsPersistent
                ? PersistentBuffers.Find<InterpreterMemory>(plan, buffer, persistent)
                : arena.Slice(buffer.Offset, plan.Maximum(buffer.Bytes));
        foreach (Step step in plan.Setup)
            Execute(step);
    }

    public Plan Plan { get; }

    public void Bind(string dimension, long value)
    {
        bindings.Bind(dimension, value);
        sizes.Clear();
    }

    public IDeviceMemory Memory(PlanBuffer buffer) => memories[buffer.Id];

    public void Run()
    {
        foreach (Step step in Plan.Steps)
            Execute(step);
    }

    public void Dispose() => arena.Dispose();

    /// <summary>An extent's value under the current bindings.</summary>
    internal long Size(Extent extent)
    {
        if (sizes.TryGetValue(extent, out long size))
            return size;
        return sizes[extent] = extent.Evaluate(name => bindings[name]);
    }

    /// <summary>Where a view lies now, inside the loops that are being executed.</summary>
    internal ElementView View(BufferView view)
    {
        long offset = Size(view.Offset);
        foreach (LoopStride loop in view.Loops)
            offset += loopVariables[loop.Variable] * Size(loop.Stride);
        PlanBuffer buffer = buffers[view.Buffer];
        return new ElementView(memories[view.Buffer], buffer.Type, offset, buffer.Name);
    }

    private void Execute(Step step)
    {
        switch (step)
        {
            case Step.Fused fused:
                KernelStep.Execute(this, fused.Kernel, fused.Operands, []);
                break;
            case Step.MatrixProduct product:
                MatrixProductStep.Execute(this, product);
                break;
            case Step.Attention attention:
                AttentionStep.Execute(this, attention);
                break;
            case Step.AttentionGradient gradient:
                AttentionGradientStep.Execute(this, gradient);
                break;
            case Step.TopK topK:
                TopKStep.Execute(this, topK);
                break;
            case Step.Choose choose:
                ChooseStep.Execute(this, choose);
                break;
            case Step.Dispatch dispatch:
                DispatchStep.Execute(this, dispatch);
                break;
            case Step.GroupedProduct product:
                GroupedProductStep.Execute(this, product);
                break;
            case Step.GroupedGradient gradient:
                GroupedGradientStep.Execute(this, gradient);
                break;
            case Step.Loop loop:
                ExecuteLoop(loop);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(step), step.GetType().Name, "no known step");
        }
    }

    private void ExecuteLoop(Step.Loop loop)
    {
        for (long i = 0; i < loop.Count; i++)
        {
            loopVariables[loop.Variable] = loop.Reversed ? loop.Count - 1 - i : i;
            foreach (Step step in loop.Body)
                Execute(step);
        }
        loopVariables.Remove(loop.Variable);
    }
}
