namespace Legato.Runtime.Cuda;

/// <summary>A product by the kernel that takes all layouts, and outputs that accumulate or are of float32.</summary>
internal sealed class CudaHopperDense(CudaHopperProduct product) : CudaOwnProduct
{
    public override string Key => product.Key;

    public override bool Takes(ProductShape shape, in ProductAddresses at) =>
        shape.Batch == 1
        && product.Form.LeftOverRows == shape.B.Transposed && product.Form.RightOverRows == !shape.A.Transposed
        && IsAligned(shape.B, at.Left) && IsAligned(shape.A, at.Right) && IsAligned(shape.C, at.Output) && IsAligned(shape.C, at.Addend);

    public override void Bind(ProductShape shape, in ProductAddresses at)
    {
        (long m, long n, long k) = (shape.Columns, shape.Rows, shape.Depth);
        product.Bind(
            product.Form.LeftOverRows ? new(at.Left, k, m, shape.B.Leading) : new(at.Left, m, k, shape.B.Leading),
            product.Form.RightOverRows ? new(at.Right, k, n, shape.A.Leading) : new(at.Right, n, k, shape.A.Leading),
            new HopperProductSizes(m, n, k, at.Output, shape.C.Leading), new HopperAddends(at.Addend, shape.C.Leading, at.Bias));
    }

    public override void Enqueue(nint stream) => product.Enqueue(stream);
}
