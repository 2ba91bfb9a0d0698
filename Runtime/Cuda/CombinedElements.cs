using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// What the epilogue of a product makes of its own element and of that of the product before it, which is of the same shape: the gate
/// of a gated MLP and what passes it. Where that is all it reads, one kernel may compute both and never store them.
/// </summary>
internal static class CombinedElements
{
    /// <summary>The function as CUDA C++, which wants the prelude before it.</summary>
    public const string Function = "combine";

    /// <summary>Its definition, of an element of each product, in their order; null where the epilogue reads more, or where it is.</summary>
    /// <param name="second">The later product, whose epilogue reads the earlier one's output in place, if at all.</param>
    /// <param name="bounds">The values that a size may have.</param>
    public static string? Of(Step.MatrixProduct first, Step.MatrixProduct second, Func<Extent, IntegerRange> bounds)
    {
        if (second.Epilogue is not { Body: [Statement.Loop { Variable: var row, Body: [Statement.Loop { Variable: var column, Body: var body }] }] } kernel
            || body[^1] is not Statement.Store { Operand: 0 } store || body.SkipLast(1).Any(s => s is not Statement.Let))
            return null;
        Expr[] values = [.. body.Select(s => s is Statement.Let let ? let.Value : store.Value)];
        Expr.Load[] loads = [.. values.SelectMany(v => v.AllLoads()).Distinct()];
        bool areOwn = loads.All(load => load.At.Equals(store.At)) && second.EpilogueOperands.All(view => view.Equals(first.Output.View))
            && kernel.Operands.Skip(1).All(operand => operand.Access == Access.Read)
            && values.All(value => IsOfElements(value, row, column));
        if (!areOwn)
            return null;
        var expressions = new CudaExpressions(kernel.Operands, bounds);
        var names = new CudaNames();
        foreach (Expr.Load load in loads)
            expressions.Fetch(load, CudaValue.Float(load.Operand == 0 ? "second" : "first"));
        var text = new CudaText();
        text.Open($"__device__ __forceinline__ float {Function}(float first, float second)");
        foreach (Statement.Let let in body.SkipLast(1).Cast<Statement.Let>())
        {
            CudaValue value = expressions.Of(let.Value), named = value with { Text = names.Fresh(let.Name) };
            expressions.Define(let.Name, named);
            text.Line($"const {named.Type} {named.Text} = {value.Text};");
        }
        text.Line($"return {expressions.Of(store.Value).Text};");
        text.Close();
        return text.ToString();
    }

    /// <summary>Whether a value doesn't depend on where its elements are, nor on sizes.</summary>
    private static bool IsOfElements(Expr value, string row, string column) => value switch
    {
        Expr.Variable variable => variable.Name != row && variable.Name != column,
        Expr.Apply apply => apply.Operands.All(operand => IsOfElements(operand, row, column)),
        Expr.Size => false,
        _ => true,
    };
}
