using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Where a product's matrices lie.</summary>
/// <param name="Addend">What is added, laid out as the output; the output itself where that accumulates.</param>
/// <param name="Bias">The vector that is added to each row, if there is one.</param>
internal readonly record struct HopperAddresses(nint Left, nint Right, nint Output, nint Addend, nint Bias);

/// <summary>A product whose shape cuBLASLt takes too, by a kernel of our own on Hopper.</summary>
internal sealed class CudaHopperDense
{
    /// <summary>Where rows and matrices start: what bulk copies take.</summary>
    private const int AlignedBytes = 16;

    private readonly CudaHopperProduct product;

    private CudaHopperDense(CudaHopperProduct product) => this.product = product;

    /// <summary>Tells it apart in what is kept of measurements.</summary>
    public string Key => product.Key;

    /// <summary>Null where types or layouts are others.</summary>
    /// <param name="left">The operands of a product whose output's rows lie together.</param>
    public static CudaHopperDense? Of(HopperProductForm form, Matrix left, Matrix right, ScalarType rightType, string name, CudaLowering lowering)
    {
        bool isLaidOut = (!form.LeftOverRows || left.RowStride.Equals(Extent.One)) && (form.RightOverRows || right.RowStride.Equals(Extent.One));
        return isLaidOut && CudaHopperProduct.Takes(form.Element, rightType, form.Output, lowering)
            ? new CudaHopperDense(new CudaHopperProduct(form, name, lowering))
            : null;
    }

    /// <summary>Whether it computes a shape at these addresses.</summary>
    public bool Takes(ProductShape shape, in HopperAddresses at) =>
        shape.Batch == 1
        && product.Form.LeftOverRows == shape.B.Transposed && product.Form.RightOverRows == !shape.A.Transposed
        && IsAligned(shape.B, at.Left) && IsAligned(shape.A, at.Right) && IsAligned(shape.C, at.Output) && IsAligned(shape.C, at.Addend);

    public void Bind(ProductShape shape, in HopperAddresses at)
    {
        (long m, long n, long k) = (shape.Columns, shape.Rows, shape.Depth);
        product.Bind(
            product.Form.LeftOverRows ? new(at.Left, k, m, shape.B.Leading) : new(at.Left, m, k, shape.B.Leading),
            product.Form.RightOverRows ? new(at.Right, k, n, shape.A.Leading) : new(at.Right, n, k, shape.A.Leading),
            new HopperProductSizes(m, n, k, at.Output, shape.C.Leading), new HopperAddends(at.Addend, shape.C.Leading, at.Bias));
    }

    public void Enqueue(nint stream) => product.Enqueue(stream);

    private static bool IsAligned(ProductOperand operand, nint address) =>
        address % AlignedBytes == 0 && operand.Leading * operand.Type.Size() % AlignedBytes == 0;
}
