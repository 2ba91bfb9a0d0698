using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>The buffers of rows by group in one execution of a step.</summary>
internal sealed unsafe class CpuRowGroups(RowGroups rows, CpuLowering lowering)
{
    private readonly CpuExtent count = lowering.Extent(rows.Count);

    public CpuView Offsets { get; } = Integers(lowering.View(rows.Offsets));

    public CpuView Order { get; } = Integers(lowering.View(rows.Order));

    public GroupedRows Bind(ReadOnlySpan<long> dimensions) =>
        new(count.Size(dimensions), rows.Groups, (int*)Offsets.Address(dimensions), (int*)Order.Address(dimensions));

    public static CpuView Integers(CpuView view) => view.Type == ScalarType.I32
        ? view
        : throw new InvalidOperationException($"groups of rows are I32, {view.Name} is {view.Type}");
}

/// <summary>An operand that grouped rows read, in one execution of a step.</summary>
internal sealed class CpuGroupedMatrix(GroupedMatrix matrix, CpuLowering lowering)
{
    private readonly CpuExtent stride = lowering.Extent(matrix.Stride);

    public CpuView View { get; } = lowering.View(matrix.View) is { Type: ScalarType.F32 } view
        ? view
        : throw new InvalidOperationException("a grouped step takes its rows as F32");

    public GroupedOperand Bind(ReadOnlySpan<long> dimensions) =>
        new(View.Address(dimensions), (nint)stride.Evaluate(dimensions), checked((int)matrix.Share));
}
