using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// A product of at most 16 rows with its epilogue, bound by reading the right operand: decoding's products. Where that
/// operand is a parameter, its first pieces are fetched while the kernels before still run.
/// </summary>
internal sealed class CudaSkinnyLaunch : CudaLaunch
{
    private const int MostRows = 16, AlignedElements = 8, Tiles = 2, TileColumns = 8, Windows = 4, Words = 6;

    /// <summary>Up to so many columns more warps share one block's columns.</summary>
    private const int FewColumns = 2048, ManyWarps = 16, Warps = 8;

    private readonly CudaView left, right;
    private readonly CudaView[] outputs;
    private readonly CpuExtent m, n, k, leftStride, rightStride;
    private readonly CpuExtent[] extents;
    private readonly Lazy<CudaCall> call;

    /// <param name="outputs">The output, then the epilogue's operands.</param>
    public CudaSkinnyLaunch(Step.MatrixProduct step, CudaSkinnyText text, CudaView left, CudaView right, CudaView[] outputs, bool isParameter, CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        (this.left, this.right, this.outputs) = (left, right, outputs);
        (m, n, k) = (lowering.Extent(step.M), lowering.Extent(step.N), lowering.Extent(step.K));
        (leftStride, rightStride) = (lowering.Extent(step.Left.RowStride), lowering.Extent(step.Right.ColumnStride));
        extents = lowering.Extents(text.Extents);
        int warps = lowering.Bounds(step.N).High <= FewColumns ? ManyWarps : Warps;
        string name = CudaTypes.Name(left.Type);
        string source = CudaCompiler.Prelude + $"typedef {name} Element;\n#define ELEMENT \"{name}\"\n#define TILES {Tiles}\n#define WARPS {warps}\n#define WINDOWS {Windows}\n"
            + text.Text + CudaCompiler.Resource("Fragments.cu") + CudaCompiler.Resource("SkinnyProduct.cu");
        lowering.Want(source);
        call = new Lazy<CudaCall>(() => new CudaCall(lowering.Device.Compiler.Load(source).Function("skinny_product"), Words + outputs.Length + extents.Length, step.Name)
        {
            Threads = 32 * warps,
            StartsEarly = isParameter && lowering.Device.OverlapsLaunches,
        });
    }

    public static bool Takes(Step.MatrixProduct step, CudaView left, CudaView right, CudaLowering lowering) =>
        lowering.Bounds(step.M).High <= MostRows
        && step.Batch.Count == 0
        && left.Type is ScalarType.BF16 or ScalarType.F16 && left.Type == right.Type
        && left.Alignment % AlignedElements == 0 && right.Alignment % AlignedElements == 0
        && step.Left.ColumnStride.Equals(Extent.One) && step.Left.RowStride.IsMultiple(AlignedElements)
        && step.Right.RowStride.Equals(Extent.One) && step.Right.ColumnStride.IsMultiple(AlignedElements)
        && step.K.IsMultiple(AlignedElements);

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        Span<long> arguments = call.Value.Arguments;
        (arguments[0], arguments[1]) = (left.Address(dimensions), right.Address(dimensions));
        (arguments[2], arguments[3]) = (leftStride.Evaluate(dimensions), rightStride.Evaluate(dimensions));
        long columns = n.Evaluate(dimensions);
        arguments[4] = CudaFlashAttention.Pair(m.Evaluate(dimensions), columns);
        arguments[5] = k.Evaluate(dimensions);
        for (int i = 0; i < outputs.Length; i++)
            arguments[Words + i] = outputs[i].Address(dimensions);
        for (int i = 0; i < extents.Length; i++)
            arguments[Words + outputs.Length + i] = extents[i].Evaluate(dimensions);
        call.Value.BlocksX = (columns + Tiles * TileColumns - 1) / (Tiles * TileColumns);
    }

    public override void Enqueue(nint stream) => call.Value.Enqueue(stream);
}
