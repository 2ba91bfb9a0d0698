using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>An operand of attention in one execution of a step.</summary>
internal sealed class CpuHeads(HeadTensor tensor, CpuLowering lowering)
{
    private readonly CpuExtent batch = lowering.Extent(tensor.BatchStride);
    private readonly CpuExtent position = lowering.Extent(tensor.PositionStride);
    private readonly CpuExtent head = lowering.Extent(tensor.HeadStride);

    public CpuView View { get; } = lowering.View(tensor.View);

    public HeadMemory Memory(ReadOnlySpan<long> dimensions) => new(
        View.Address(dimensions), batch.Evaluate(dimensions), position.Evaluate(dimensions), head.Evaluate(dimensions), View.Type);

    /// <summary>An operand that attention writes, or reads as float32.</summary>
    public CpuHeads AsFloats() => View.Type == ScalarType.F32
        ? this
        : throw new InvalidOperationException($"attention takes {View.Name} as F32, it is {View.Type}");
}
