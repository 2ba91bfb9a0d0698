using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>The buffers of rows by group in one execution of a step.</summary>
internal sealed class CudaRowGroups(RowGroups rows, CudaLowering lowering)
{
    /// <summary>Where a group's rows start among gathered ones: what products step by along the rows that they contract.</summary>
    private const int Alignment = 64;

    private readonly CpuExtent count = lowering.Extent(rows.Count);

    public CudaView Offsets { get; } = lowering.View(rows.Offsets);

    public CudaView Order { get; } = lowering.View(rows.Order);

    public int Groups => rows.Groups;

    public long Count(ReadOnlySpan<long> dimensions) => count.Evaluate(dimensions);

    /// <summary>Rows that gathered ones take at most in this execution.</summary>
    public long Gathered(ReadOnlySpan<long> dimensions) => Gathered(Count(dimensions), Groups);

    /// <summary>Rows that so many take at most once they are gathered.</summary>
    public static long Gathered(long count, int groups) => count + (long)groups * (Alignment - 1);
}

/// <summary>An operand that grouped rows read, in one execution of a step.</summary>
internal sealed class CudaGroupedMatrix(GroupedMatrix matrix, Extent columns, CudaLowering lowering)
{
    private readonly CpuExtent stride = lowering.Extent(matrix.Stride);

    public CudaView View { get; } = lowering.View(matrix.View);

    public GroupedMatrix Form => matrix;

    public CpuExtent Width { get; } = lowering.Extent(columns);

    public long Share => matrix.Share;

    public long Stride(ReadOnlySpan<long> dimensions) => stride.Evaluate(dimensions);

    public long Columns(ReadOnlySpan<long> dimensions) => Width.Evaluate(dimensions);

    /// <summary>Whether every row is whole pieces of 16 bytes.</summary>
    public bool IsAligned => View.Alignment % Pieces == 0 && matrix.Stride.IsMultiple(Pieces) && columns.IsMultiple(Pieces);

    private int Pieces => 16 / View.Type.Size();
}
