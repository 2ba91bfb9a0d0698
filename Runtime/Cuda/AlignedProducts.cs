using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// A long product of 16-bit matrices whose columns or depth are no multiple of 64, such as an odd vocabulary's, as one
/// of whole tiles and one of the rest: cuBLASLt takes only aligned sizes to tensor cores at speed.
/// </summary>
internal static class AlignedProducts
{
    private const long Alignment = 64, Tile = 128, WorthIt = 1024;

    /// <summary>
    /// The products in order, without their epilogue. Of the depth the rest comes first: what a 16-bit output rounds in
    /// between is then the small part of the sum.
    /// </summary>
    public static IEnumerable<Step.MatrixProduct> Of(Step.MatrixProduct product, ScalarType type)
    {
        product = product with { Epilogue = null, EpilogueOperands = [] };
        if (type == ScalarType.F32)
            return [product];
        return ByDepth(product).SelectMany(p => p.Output.ColumnStride.Equals(Extent.One) ? ByColumns(p) : ByRows(p));
    }

    private static IEnumerable<Step.MatrixProduct> ByDepth(Step.MatrixProduct p)
    {
        if (Whole(p.K) is not { } whole)
            return [p];
        Matrix left = p.Left with { View = Moved(p.Left.View, whole * p.Left.ColumnStride) };
        Matrix right = p.Right with { View = Moved(p.Right.View, whole * p.Right.RowStride) };
        return [p with { K = Rest(p.K, whole), Left = left, Right = right, Cost = Cost.Zero }, p with { K = whole, Accumulate = true }];
    }

    private static IEnumerable<Step.MatrixProduct> ByColumns(Step.MatrixProduct p)
    {
        if (Whole(p.N) is not { } whole)
            return [p];
        Matrix right = p.Right with { View = Moved(p.Right.View, whole * p.Right.ColumnStride) };
        Matrix output = p.Output with { View = Moved(p.Output.View, whole * p.Output.ColumnStride) };
        return [p with { N = whole }, p with { N = Rest(p.N, whole), Right = right, Output = output, Cost = Cost.Zero }];
    }

    private static IEnumerable<Step.MatrixProduct> ByRows(Step.MatrixProduct p)
    {
        if (Whole(p.M) is not { } whole)
            return [p];
        Matrix left = p.Left with { View = Moved(p.Left.View, whole * p.Left.RowStride) };
        Matrix output = p.Output with { View = Moved(p.Output.View, whole * p.Output.RowStride) };
        return [p with { M = whole }, p with { M = Rest(p.M, whole), Left = left, Output = output, Cost = Cost.Zero }];
    }

    /// <summary>As many whole tiles as there are in a long size; null where it is aligned itself, or short.</summary>
    private static Extent? Whole(Extent size) =>
        size.IsConstant && size.Constant >= WorthIt && size.Constant % Alignment != 0 ? Extent.Of(size.Constant / Tile * Tile) : null;

    private static Extent Rest(Extent size, Extent whole) => Extent.Of(size.Constant - whole.Constant);

    private static BufferView Moved(BufferView view, Extent by) => view with { Offset = view.Offset + by };
}
