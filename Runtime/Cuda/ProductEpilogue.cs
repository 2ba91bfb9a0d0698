using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// What an epilogue does to a product, where that is all it does: cuBLASLt does it while the sums are still in registers.
/// </summary>
/// <param name="Bias">The operand of the epilogue that is added, with an element for each column; null for none.</param>
/// <param name="Addend">The operand that is added, a matrix of the output's layout; null for none.</param>
/// <param name="GeluInput">The operand, a matrix of the output's layout, by whose slopes of GELU the product is multiplied; null for none.</param>
internal sealed record ProductEpilogue(int? Bias, int? Addend, int? GeluInput = null)
{
    /// <summary>Null for other epilogues, and where the product isn't one that takes them in.</summary>
    public static ProductEpilogue? Of(Step.MatrixProduct product)
    {
        if (product.Epilogue is not { Body: [Statement.Loop { Body: [Statement.Loop columns] } rows] } kernel || columns.Body[^1] is not Statement.Store { Operand: 0 } store)
            return null;
        if (product.Accumulate || product.Batch.Count > 0 || !product.Output.ColumnStride.Equals(Extent.One) || !product.Output.RowStride.IsConstant)
            return null;
        Statement.Let[] names = [.. columns.Body.OfType<Statement.Let>()];
        Expr sum = new Expr.Load(0, store.At);
        if (Named(store.Value, names) is Expr.Apply { Operation: Operation.Multiply, Operands: [var first, var second] })
            return Scaled(first, second) ?? Scaled(second, first);
        (bool hasProduct, int? bias, int? addend) = (false, null, null);
        foreach (Expr term in Terms(store.Value, names))
        {
            if (term is not Expr.Load load || !IsAlike(load))
                return null;
            bool isVector = load.At.StrideOf(columns.Variable) == 1 && load.At.StrideOf(rows.Variable) == 0;
            if (load.Equals(sum) && !hasProduct)
                hasProduct = true;
            else if (load.Operand != 0 && IsMatrix(load) && addend is null)
                addend = load.Operand;
            else if (load.Operand != 0 && isVector && bias is null)
                bias = load.Operand;
            else
                return null;
        }
        return hasProduct ? new ProductEpilogue(bias, addend) : null;

        ProductEpilogue? Scaled(Expr scaled, Expr scale) =>
            Named(scaled, names).Equals(sum) && Loads(scale, names).Where(l => l.Operand != 0).Distinct().ToArray() is [var input] && IsAlike(input) && IsMatrix(input)
            && TanhGelu.IsSlope(scale, input, names)
                ? new ProductEpilogue(null, null, input.Operand)
                : null;

        bool IsAlike(Expr.Load load) => kernel.Operands[load.Operand].Type == kernel.Operands[0].Type && load.At.Terms.All(t => t.Value is Expr.Variable);

        bool IsMatrix(Expr.Load load) => load.At.StrideOf(columns.Variable) == 1 && load.At.StrideOf(rows.Variable) == product.Output.RowStride.Constant;
    }

    private static Expr Named(Expr value, Statement.Let[] names) =>
        value is Expr.Variable variable && names.FirstOrDefault(n => n.Name == variable.Name) is { } name ? Named(name.Value, names) : value;

    private static IEnumerable<Expr> Terms(Expr value, Statement.Let[] names) => Named(value, names) switch
    {
        Expr.Apply { Operation: Operation.Add, Operands: [var x, var y] } => Terms(x, names).Concat(Terms(y, names)),
        var other => [other],
    };

    private static IEnumerable<Expr.Load> Loads(Expr value, Statement.Let[] names) => Named(value, names) switch
    {
        Expr.Apply apply => apply.Operands.SelectMany(o => Loads(o, names)),
        var other => other.AllLoads(),
    };
}
