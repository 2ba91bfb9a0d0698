using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>An operand of attention in one execution of a step.</summary>
internal sealed class CudaHeads(HeadTensor tensor, CudaView view, CudaLowering lowering)
{
    /// <summary>The arguments that it takes: an address and three strides.</summary>
    public const int Arguments = 4;

    private readonly CpuExtent batch = lowering.Extent(tensor.BatchStride);
    private readonly CpuExtent position = lowering.Extent(tensor.PositionStride);
    private readonly CpuExtent head = lowering.Extent(tensor.HeadStride);

    public CudaView View => view;

    /// <summary>Whether every row of every head starts at a multiple of so many elements.</summary>
    public bool IsAligned(int elements) =>
        view.Alignment % elements == 0
        && new[] { tensor.BatchStride, tensor.PositionStride, tensor.HeadStride }.SelectMany(s => s.Terms).All(t => t.Coefficient % elements == 0);

    public void Bind(Span<long> arguments, ReadOnlySpan<long> dimensions)
    {
        arguments[0] = view.Address(dimensions);
        arguments[1] = batch.Evaluate(dimensions);
        arguments[2] = position.Evaluate(dimensions);
        arguments[3] = head.Evaluate(dimensions);
    }
}
