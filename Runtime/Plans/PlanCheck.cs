namespace Legato.Runtime.Plans;

/// <summary>What must hold of a plan that comes from a file before a device may execute it.</summary>
internal static class PlanCheck
{
    /// <exception cref="FormatException">A buffer or a view lies where none can be.</exception>
    public static Plan Checked(Plan plan)
    {
        var ids = new HashSet<int>();
        foreach (PlanBuffer buffer in plan.Buffers)
        {
            if (!ids.Add(buffer.Id))
                throw new FormatException($"two buffers have the number {buffer.Id}");
            if (!buffer.IsPersistent && (buffer.Offset < 0 || buffer.Offset > plan.ArenaBytes - Maximum(plan, buffer.Bytes)))
                throw new FormatException($"buffer '{buffer.Name}' lies outside the arena of {plan.ArenaBytes} bytes");
        }
        foreach (int buffer in plan.Setup.Concat(plan.Steps).SelectMany(Views))
            if (!ids.Contains(buffer))
                throw new FormatException($"a step uses buffer {buffer}, which is not declared");
        return plan;
    }

    private static long Maximum(Plan plan, Extent extent) => extent.Evaluate(name =>
        plan.Dimensions.FirstOrDefault(d => d.Name == name)?.Maximum ?? throw new FormatException($"a size depends on '{name}', which is no dimension"));

    private static IEnumerable<int> Views(Step step)
    {
        IEnumerable<BufferView?> views = step switch
        {
            Step.Fused s => [.. s.Operands],
            Step.MatrixProduct s => [s.Left.View, s.Right.View, s.Output.View, .. s.EpilogueOperands],
            Step.Attention s => [s.Query.View, s.Key.View, s.Value.View, s.Output.View, s.LogSumExp, s.Past, .. s.Extra],
            Step.AttentionGradient s =>
            [
                s.Query.View, s.Key.View, s.Value.View, s.Output.View, s.LogSumExp, s.OutputGradient.View, s.QueryGradient.View,
                s.KeyGradient.View, s.ValueGradient.View, s.RowDot, .. s.Extra,
            ],
            Step.TopK s => [s.Input, s.Values, s.Indices],
            Step.Choose s => [s.Logits, s.Settings, s.Streams, s.Places, s.Tokens],
            Step.Dispatch s => [s.Index, s.Rows.Offsets, s.Rows.Order],
            Step.GroupedProduct s => [s.Rows.Offsets, s.Rows.Order, s.Left.View, s.Right.View, s.Output.View, .. s.EpilogueOperands],
            Step.GroupedGradient s => [s.Rows.Offsets, s.Rows.Order, s.Left.View, s.Right.View, s.Output.View],
            _ => [],
        };
        IEnumerable<int> own = views.Where(v => v is not null).Select(v => v!.Buffer);
        return step is Step.Loop loop ? own.Concat(loop.Body.SelectMany(Views)) : own;
    }
}
