using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>A product, perhaps with a bias, whose whole output the next kernel goes through with GELU.</summary>
/// <param name="Bias">The operand of the product's epilogue that is added; null for none.</param>
/// <param name="Result">Where GELU of the output goes.</param>
internal sealed record GeluOfProduct(int? Bias, Matrix Result)
{
    /// <summary>Null for other steps.</summary>
    public static GeluOfProduct? Of(Step.MatrixProduct product, Step.Fused map)
    {
        if (product.Accumulate || product.Batch.Count > 0 || !product.Output.ColumnStride.Equals(Extent.One) || !product.Output.RowStride.IsConstant || !product.N.IsConstant)
            return null;
        ProductEpilogue? end = product.Epilogue is null ? new ProductEpilogue(null, null) : ProductEpilogue.Of(product);
        if (end is not { Addend: null, GeluInput: null } || map.Kernel.Operands.Count != 2)
            return null;
        int read = map.Operands[0].Equals(product.Output.View) ? 0 : 1, written = 1 - read;
        if (!map.Operands[read].Equals(product.Output.View)
            || ElementKernel.Of(map.Kernel, read, product.M, product.Output.RowStride, product.N.Constant) is not { Distance: 0 } element
            || element.Body[^1] is not Statement.Store store || store.Operand != written || element.RowStrideOf(written) is not { IsConstant: true } stride)
            return null;
        Statement.Let[] names = [.. element.Body.OfType<Statement.Let>()];
        bool isGelu = names.Length == element.Body.Count - 1
            && element.Body.SelectMany(s => s.Expressions()).SelectMany(e => e.AllLoads()).Distinct().ToArray() is [var input] && TanhGelu.Is(store.Value, input, names);
        return isGelu ? new GeluOfProduct(end.Bias, new Matrix(map.Operands[written], stride, Extent.One)) : null;
    }
}
