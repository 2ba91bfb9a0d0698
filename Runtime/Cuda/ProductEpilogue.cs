using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// What an epilogue adds to a product, where that is all it does: cuBLASLt adds it while the sums are still in registers.
/// </summary>
/// <param name="Bias">The operand of the epilogue with an element for each column; null for none.</param>
/// <param name="Addend">The operand that is a matrix of the output's layout; null for none.</param>
internal sealed record ProductEpilogue(int? Bias, int? Addend)
{
    /// <summary>Null for other epilogues, and where the product isn't one that takes them in.</summary>
    public static ProductEpilogue? Of(Step.MatrixProduct product)
    {
        if (product.Epilogue is not { Body: [Statement.Loop { Body: [Statement.Loop columns] } rows] } kernel || columns.Body[^1] is not Statement.Store { Operand: 0 } store)
            return null;
        if (product.Accumulate || product.Batch.Count > 0 || !product.Output.ColumnStride.Equals(Extent.One) || !product.Output.RowStride.IsConstant)
            return null;
        Statement.Let[] names = [.. columns.Body.OfType<Statement.Let>()];
        (bool hasProduct, int? bias, int? addend) = (false, null, null);
        foreach (Expr term in Terms(store.Value, names))
        {
            if (term is not Expr.Load load || kernel.Operands[load.Operand].Type != kernel.Operands[0].Type || !load.At.Terms.All(t => t.Value is Expr.Variable))
                return null;
            (long? row, long? column) = (load.At.StrideOf(rows.Variable), load.At.StrideOf(columns.Variable));
            bool isMatrix = column == 1 && row == product.Output.RowStride.Constant, isVector = column == 1 && row == 0;
            if (load.Operand == 0 && load.At.Equals(store.At) && !hasProduct)
                hasProduct = true;
            else if (load.Operand != 0 && isMatrix && addend is null)
                addend = load.Operand;
            else if (load.Operand != 0 && isVector && bias is null)
                bias = load.Operand;
            else
                return null;
        }
        return hasProduct ? new ProductEpilogue(bias, addend) : null;
    }

    private static IEnumerable<Expr> Terms(Expr value, Statement.Let[] names) => value switch
    {
        Expr.Apply { Operation: Operation.Add, Operands: [var x, var y] } => Terms(x, names).Concat(Terms(y, names)),
        Expr.Variable variable when names.FirstOrDefault(n => n.Name == variable.Name) is { } name => Terms(name.Value, names),
        _ => [value],
    };
}
