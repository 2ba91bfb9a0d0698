using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// What the attention kernels on tensor cores have in common: which operands they take, sizes, their source and the
/// operands of the compiler's part of it.
/// </summary>
internal sealed class CudaFlashAttention
{
    /// <summary>Elements of 16 bytes, which every row must start at a multiple of.</summary>
    private const int AlignedElements = 8;

    private readonly AttentionShape shape;
    private readonly CudaAttentionText text;
    private readonly CudaView[] extra;
    private readonly CpuExtent[] extents;
    private readonly CpuExtent batch, heads, keyHeads, queries, keys;
    private readonly Func<string, Func<string>, string> remember;

    public CudaFlashAttention(AttentionShape shape, CudaView[] extra, CudaLowering lowering)
    {
        (this.shape, this.extra) = (shape, extra);
        (batch, heads, keyHeads) = (lowering.Extent(shape.Batch), lowering.Extent(shape.Heads), lowering.Extent(shape.KeyHeads));
        (queries, keys) = (lowering.Extent(shape.QueryLength), lowering.Extent(shape.KeyLength));
        string types = string.Join(' ', extra.Select(v => v.Type));
        remember = (kind, make) => lowering.Bounded(shape, (kind, types), make);
        text = lowering.Bounded(shape, types, () => CudaAttentionText.Of(shape, [.. extra.Select(v => v.Type)], lowering.Bounds));
        extents = lowering.Extents(text.Extents);
    }

    public int HeadSize => (int)shape.HeadSize.Constant;

    public int ValueSize => (int)shape.ValueSize.Constant;

    /// <summary>Arguments that <see cref="BindExtra"/> fills in; an empty structure has room too.</summary>
    public int ExtraArguments => Math.Max(1, extra.Length + extents.Length);

    /// <summary>Whether heads are no larger, and all of these operands lie so that 16 bytes can be moved at a time.</summary>
    public static bool Takes(AttentionShape shape, int largestHead, params ReadOnlySpan<CudaHeads> operands)
    {
        foreach (CudaHeads operand in operands)
            if (!operand.IsAligned(AlignedElements))
                return false;
        return IsTaken(shape.HeadSize) && IsTaken(shape.ValueSize);
        bool IsTaken(Extent size) => size.IsConstant && size.Constant <= largestHead && size.Constant % AlignedElements == 0;
    }

    /// <summary>Whether all of these have one type of 16 bits.</summary>
    public static bool AreHalves(params ReadOnlySpan<CudaHeads> operands)
    {
        foreach (CudaHeads operand in operands)
            if (operand.View.Type is not (ScalarType.BF16 or ScalarType.F16) || operand.View.Type != operands[0].View.Type)
                return false;
        return true;
    }

    /// <summary>A head's size as pieces of 64 elements cover it.</summary>
    public static int Padded(int size) => (size + CudaTensorMap.BoxColumns - 1) / CudaTensorMap.BoxColumns * CudaTensorMap.BoxColumns;

    /// <summary>The sizes of one execution.</summary>
    public Sizes At(ReadOnlySpan<long> dimensions) => new(
        batch.Evaluate(dimensions), heads.Evaluate(dimensions), keyHeads.Evaluate(dimensions), queries.Evaluate(dimensions), keys.Evaluate(dimensions));

    /// <summary>A kernel's source.</summary>
    /// <param name="pieces">The texts that follow on what all attention kernels share.</param>
    public string Source(ScalarType element, ScalarType output, IReadOnlyList<(string Name, int Value)> constants, params string[] pieces) =>
        remember($"{element} {output} {string.Join(' ', constants)} {string.Join(' ', pieces)}", () => Write(element, output, constants, pieces));

    private string Write(ScalarType element, ScalarType output, IReadOnlyList<(string Name, int Value)> constants, string[] pieces)
    {
        string name = CudaTypes.Name(element);
        string[] fields = [.. extra.Select((v, i) => $"const {CudaTypes.Name(v.Type)}* p{i};"), .. extents.Select((_, i) => $"long long e{i};")];
        string[] values = [.. extra.Select((_, i) => $", x.p{i}"), .. extents.Select((_, i) => $", x.e{i}")];
        var own = new CudaText();
        own.Line($"typedef {name} Element;");
        own.Line($"typedef {CudaTypes.Name(output)} Output;");
        own.Line($"#define ELEMENT \"{name}\"");
        own.Line($"#define MODIFIED {(shape.Score is null ? 0 : 1)}");
        foreach ((string constant, int value) in constants)
            own.Line($"#define {constant} {value}");
        own.Line($"struct Extra {{ {string.Join(' ', fields)} }};");
        Define("bool", "admits", "int b, int h, int q, int k", "b, h, q, k");
        Define("float", "modified", "int b, int h, int q, int k, float score", "b, h, q, k, score");
        Define("float", "slope", "int b, int h, int q, int k, float score", "b, h, q, k, score");
        Extent[] known = [.. text.Extents];
        string kind = shape.Mask is { } mask ? new CudaMaskKind(extent => extent.IsConstant
            ? CudaExpressions.Constant(extent.Constant).Text : $"x.e{Array.IndexOf(known, extent)}").Of(mask) : "2";
        own.Line($"__device__ __forceinline__ int mask_kind(const Extra& x, int b, int h, int q0, int q1, int k0, int k1) {{ return {kind}; }}");
        return CudaCompiler.Prelude + text.Text + own
            + string.Concat(new[] { "Fragments", "AttentionTiles" }.Concat(pieces).Select(p => CudaCompiler.Resource(p + ".cu")));

        void Define(string type, string function, string parameters, string arguments) =>
            own.Line($"__device__ __forceinline__ {type} {function}(const Extra& x, {parameters}) {{ return {function}({arguments}{string.Concat(values)}); }}");
    }

    /// <summary>The fields of Extra.</summary>
    public void BindExtra(Span<long> arguments, ReadOnlySpan<long> dimensions)
    {
        for (int i = 0; i < extra.Length; i++)
            arguments[i] = extra[i].Address(dimensions);
        for (int i = 0; i < extents.Length; i++)
            arguments[extra.Length + i] = extents[i].Evaluate(dimensions);
    }

    /// <summary>Two arguments of 32 bits.</summary>
    public static long Pair(long first, long second) => (uint)checked((int)first) | (long)checked((int)second) << 32;

    public readonly record struct Sizes(long Batch, long Heads, long KeyHeads, long Queries, long Keys)
    {
        public long Group => Heads / KeyHeads;

        public bool IsEmpty => Batch * Heads * Queries * Keys == 0;
    }
}
