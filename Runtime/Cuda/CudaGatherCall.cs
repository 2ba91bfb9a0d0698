using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Copies the rows that grouped rows read, group by group, each group from a multiple of 64 rows on: what bulk copies can take tiles of.</summary>
internal sealed class CudaGatherCall
{
    private const int Threads = 256, Warp = 32, PieceBytes = 16;

    private readonly CudaGroupedMatrix matrix;
    private readonly CudaRowGroups rows;
    private readonly Lazy<CudaCall> call;
    private readonly bool isThere;

    public CudaGatherCall(CudaGroupedMatrix matrix, CudaRowGroups rows, string name, CudaLowering lowering)
    {
        (this.matrix, this.rows) = (matrix, rows);
        (Memory, isThere) = lowering.Gathered.Take(matrix, rows);
        lowering.Want(Source);
        call = new Lazy<CudaCall>(() => new CudaCall(lowering.Device.Compiler.Load(Source).Function("gather_rows"), 9, name) { Threads = Threads });
    }

    public static string Source { get; } = CudaCompiler.Prelude + CudaCompiler.Resource("RowGroups.cu");

    /// <summary>The gathered rows, one after another.</summary>
    public CudaMemory Memory { get; }

    public void Bind(ReadOnlySpan<long> dimensions)
    {
        long gathered = rows.Gathered(dimensions), elements = PieceBytes / matrix.View.Type.Size();
        long[] arguments =
        [
            matrix.View.Address(dimensions), Memory.Address, rows.Offsets.Address(dimensions), rows.Order.Address(dimensions), rows.Groups, gathered,
            matrix.Columns(dimensions) / elements, matrix.Stride(dimensions) / elements, matrix.Share,
        ];
        arguments.CopyTo(call.Value.Arguments);
        // A warp a row, as many for each group.
        long warps = (gathered + rows.Groups - 1) / rows.Groups * rows.Groups;
        call.Value.BlocksX = (warps + Threads / Warp - 1) / (Threads / Warp);
    }

    public void Enqueue(nint stream)
    {
        if (!isThere)
            call.Value.Enqueue(stream);
    }
}
