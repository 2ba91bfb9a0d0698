using System.Security.Cryptography;
using System.Text;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Where a product's matrices lie.</summary>
/// <param name="Addend">What is added, laid out as the output; the output itself where that accumulates.</param>
/// <param name="Bias">The vector that is added to each row, if there is one.</param>
internal readonly record struct ProductAddresses(nint Left, nint Right, nint Output, nint Addend, nint Bias);

/// <summary>A product whose shape cuBLASLt takes too, by a kernel of our own on Hopper.</summary>
internal abstract class CudaOwnProduct
{
    /// <summary>Where rows and matrices start: what bulk copies take.</summary>
    private const int AlignedBytes = 16;

    /// <summary>Tells it apart in what is kept of measurements: changes where the kernel does.</summary>
    public abstract string Key { get; }

    /// <summary>Null where types or layouts are others.</summary>
    /// <param name="left">The operands of a product whose output's rows lie together.</param>
    /// <param name="accumulate">Whether it adds to what the output holds.</param>
    public static CudaOwnProduct? Of(
        Matrix left, Matrix right, ScalarType leftType, ScalarType rightType, ScalarType output, bool accumulate, ProductEnd? end, string name, CudaLowering lowering)
    {
        bool leftOverRows = !left.ColumnStride.Equals(Extent.One), rightOverRows = right.ColumnStride.Equals(Extent.One);
        bool isLaidOut = (!leftOverRows || left.RowStride.Equals(Extent.One)) && (rightOverRows || right.RowStride.Equals(Extent.One));
        if (!isLaidOut || !CudaHopperProduct.Takes(leftType, rightType, output, lowering))
            return null;
        if (end is { Activation: not ProductActivation.None })
            return null;
        bool hasAddend = accumulate || end?.Addend is not null;
        if (output == leftType && !leftOverRows && !hasAddend)
            return new CudaDeferredProduct(new DeferredProductForm(leftType, rightOverRows, 1, ProductJoin.Beside, end?.Bias is not null), name, lowering);
        var form = new HopperProductForm(leftType, output, leftOverRows, rightOverRows, hasAddend, end?.Bias is not null, ProductGrouping.None);
        return new CudaHopperDense(new CudaHopperProduct(form, name, lowering));
    }

    /// <summary>Whether it computes a shape at these addresses.</summary>
    public abstract bool Takes(ProductShape shape, in ProductAddresses at);

    public abstract void Bind(ProductShape shape, in ProductAddresses at);

    public abstract void Enqueue(nint stream);

    protected static string KeyOf(string source) => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(source)));

    protected static bool IsAligned(ProductOperand operand, nint address) => IsAligned(address, operand.Leading, operand.Type);

    protected static bool IsAligned(nint address, long stride, ScalarType type) =>
        address % AlignedBytes == 0 && stride * type.Size() % AlignedBytes == 0;
}
