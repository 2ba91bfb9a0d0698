using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>What attention forward and its gradient have in common: sizes, program, queries, keys, values, extra operands.</summary>
internal sealed unsafe class CpuAttentionOperands
{
    private readonly CpuExtent batch, heads, keyHeads, queryLength, keyLength, headSize, valueSize;
    private readonly CpuView[] extra;
    private readonly nint[] extraAddresses;
    private readonly AttentionProgram program;
    private readonly Func<string, long>? dimension;

    /// <param name="output">Of the forward step.</param>
    /// <param name="compile">Makes the program from the shape and the types of the extra operands.</param>
    public CpuAttentionOperands(
        AttentionShape shape, HeadTensor query, HeadTensor key, HeadTensor value, HeadTensor output, IReadOnlyList<BufferView> extra,
        CpuLowering lowering, Func<AttentionShape, Func<string, long>, IReadOnlyList<ScalarType>, KernelCompiler, AttentionProgram> compile)
    {
        (batch, heads, keyHeads) = (lowering.Extent(shape.Batch), lowering.Extent(shape.Heads), lowering.Extent(shape.KeyHeads));
        (queryLength, keyLength) = (lowering.Extent(shape.QueryLength), lowering.Extent(shape.KeyLength));
        (headSize, valueSize) = (lowering.Extent(shape.HeadSize), lowering.Extent(shape.ValueSize));
        (Query, Key, Value, Output) = (new(query, lowering), new(key, lowering), new(value, lowering), new CpuHeads(output, lowering).AsFloats());
        this.extra = lowering.Views(extra);
        extraAddresses = GC.AllocateArray<nint>(Math.Max(1, extra.Count), pinned: true);
        program = compile(shape, lowering.Dimension, [.. this.extra.Select(v => v.Type)], lowering.Device.Kernels);
        if (extra.Count > 0)
            program.Operands = new CpuMaskOperands(extraAddresses, [.. this.extra.Select(v => v.Type)]);
        if (shape.Mask is { } mask && mask.HasDynamicSizes() || shape.Score is { } score && score.HasDynamicSizes())
            dimension = lowering.Dimension;
    }

    public CpuHeads Query { get; }

    public CpuHeads Key { get; }

    public CpuHeads Value { get; }

    public CpuHeads Output { get; }

    /// <summary>What stands in the step's Extra.</summary>
    public CpuView[] Extra => extra;

    /// <summary>The arguments but for the scratch.</summary>
    public AttentionArgs Bind(ReadOnlySpan<long> dimensions, nint logSumExp, nint past)
    {
        if (dimension is not null)
            program.Bind(dimension);
        for (int i = 0; i < extra.Length; i++)
            extraAddresses[i] = extra[i].Address(dimensions);
        return new AttentionArgs
        {
            Program = program,
            Batch = batch.Size(dimensions),
            Heads = heads.Size(dimensions),
            KeyHeads = keyHeads.Size(dimensions),
            QueryLength = queryLength.Size(dimensions),
            KeyLength = keyLength.Size(dimensions),
            HeadSize = headSize.Size(dimensions),
            ValueSize = valueSize.Size(dimensions),
            Query = Query.Memory(dimensions),
            Key = Key.Memory(dimensions),
            Value = Value.Memory(dimensions),
            Output = Output.Memory(dimensions),
            LogSumExp = logSumExp,
            Past = past,
            Extra = (nint)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(extraAddresses)),
        };
    }
}
