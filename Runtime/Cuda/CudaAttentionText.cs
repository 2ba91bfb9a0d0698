using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// The part of an attention kernel that the compiler writes: its sizes, and which keys a query sees, what its score
/// becomes and how that changes with q · k, as functions over the step's extra operands.
/// </summary>
/// <param name="Text">Definitions that stand before the kernel's own text.</param>
/// <param name="Extents">Sizes that follow the extra operands among the kernel's parameters.</param>
internal sealed record CudaAttentionText(string Text, IReadOnlyList<Extent> Extents)
{
    private static readonly IntegerRange Position = new(0, int.MaxValue / 2);

    /// <param name="types">Of the extra operands.</param>
    /// <param name="bounds">The values that a size may have.</param>
    public static CudaAttentionText Of(AttentionShape shape, IReadOnlyList<ScalarType> types, Func<Extent, IntegerRange> bounds)
    {
        KernelOperand[] operands = [.. types.Select(t => new KernelOperand("extra", t, Access.Read))];
        var expressions = new CudaExpressions(operands, bounds);
        foreach (string name in new[] { "b", "h", "q", "k" })
            expressions.Define(name, CudaValue.Integer(name, Position));
        expressions.Define("score", CudaValue.Float("score"));

        string admits = shape.Mask is { } mask ? expressions.Of(mask).Text : "true";
        string modified = shape.Score is { } score ? expressions.Of(score).Text : "score";
        string slope = shape.Score is { } s ? expressions.Of(Derivative.Of(s, "score")).Text : "1.0f";

        string[] names = [.. types.Select((_, i) => $"p{i}"), .. expressions.Extents.Select((_, i) => $"e{i}")];
        string[] inner = [.. types.Select((t, i) => $"const {CudaTypes.Name(t)}* p{i}"), .. expressions.Extents.Select((e, i) => $"const {expressions.OfExtent(e).Type} e{i}")];
        string[] outer = [.. types.Select((t, i) => $"const {CudaTypes.Name(t)}* p{i}"), .. expressions.Extents.Select((_, i) => $"const long long e{i}")];
        string Joined(string[] parts) => string.Concat(parts.Select(p => ", " + p));

        var text = new CudaText();
        text.Line($"#define EXTRA_PARAMETERS {Joined(outer)}");
        text.Line($"#define EXTRA_ARGUMENTS {Joined(names)}");
        text.Line($"#define SCALE {CudaExpressions.Number(shape.Scale)}");
        text.Line($"#define MASKED {(shape.Mask is null ? 0 : 1)}");
        text.Line($"__device__ __forceinline__ bool admits(int b, int h, int q, int k{Joined(inner)}) {{ return {admits}; }}");
        text.Line($"__device__ __forceinline__ float modified(int b, int h, int q, int k, float score{Joined(inner)}) {{ return {modified}; }}");
        text.Line($"__device__ __forceinline__ float slope(int b, int h, int q, int k, float score{Joined(inner)}) {{ return {slope}; }}");
        return new CudaAttentionText(text.ToString(), expressions.Extents);
    }
}
