namespace Legato.Runtime.Plans;

/// <summary>Which buffers steps use.</summary>
internal static class StepBuffers
{
    /// <summary>The buffer of each of a step's views; of a loop, those of its body.</summary>
    public static IEnumerable<int> Buffers(this Step step)
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
        return step is Step.Loop loop ? own.Concat(loop.Body.SelectMany(Buffers)) : own;
    }
}
