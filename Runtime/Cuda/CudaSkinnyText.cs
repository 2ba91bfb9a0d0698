using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// What a product of few rows does with each sum, as the compiler's part of its kernel: the statements of the epilogue for
/// one element, or the store alone. So the sum never goes through memory.
/// </summary>
/// <param name="Text">The structure Epilogue and the function finish.</param>
/// <param name="Extents">Sizes that follow the operands among the structure's fields.</param>
internal sealed record CudaSkinnyText(string Text, IReadOnlyList<Extent> Extents)
{
    /// <summary>Null where the epilogue is more than a walk over the elements.</summary>
    /// <param name="bounds">The values that a size may have.</param>
    public static CudaSkinnyText? Of(Step.MatrixProduct product, ScalarType output, Func<Extent, IntegerRange> bounds)
    {
        Kernel kernel = product.Epilogue ?? Plain(product, output);
        if (kernel.Body is not [Statement.Loop { Variable: var row, Body: [Statement.Loop { Kind: LoopKind.Vector, Variable: var column, Body: var body }] }]
            || body.Any(s => s is not (Statement.Let or Statement.Store)))
            return null;
        var expressions = new CudaExpressions(kernel.Operands, bounds);
        expressions.Define(row, CudaValue.Integer("m", Below(bounds(product.M))));
        expressions.Define(column, CudaValue.Integer("n", Below(bounds(product.N))));
        foreach (Expr.Load load in body.SelectMany(s => s.Expressions()).SelectMany(e => e.AllLoads()).Where(l => l.Operand == 0))
            expressions.Fetch(load, Sum(product, output, expressions.Offset(load.At)));
        var names = new CudaNames();
        string[] lines = [.. body.Select(s => Line(s, kernel, expressions, names))];
        return new CudaSkinnyText(Function(kernel, expressions, lines), expressions.Extents);
    }

    private static IntegerRange Below(IntegerRange count) => new(0, Math.Max(0, count.High - 1));

    private static CudaValue Sum(Step.MatrixProduct product, ScalarType output, CudaValue offset) => CudaValue.Float(
        product.Accumulate ? $"(sum + {CudaExpressions.Widened(output, $"p0[{offset.Text}]").Text})" : "sum");

    /// <summary>A kernel that stores what it finds.</summary>
    private static Kernel Plain(Step.MatrixProduct product, ScalarType output)
    {
        var at = new Plans.Index(new IndexTerm(new Expr.Variable("m"), product.Output.RowStride), new IndexTerm(new Expr.Variable("n"), product.Output.ColumnStride));
        var store = new Statement.Store(0, at, new Expr.Load(0, at));
        Expr none = new Expr.Integer(0);
        return new Kernel("store", [new KernelOperand("out", output, Access.ReadWrite)], [], [
            new Statement.Loop(LoopKind.Grid, "m", none, none, [new Statement.Loop(LoopKind.Vector, "n", none, none, [store])])]);
    }

    private static string Line(Statement statement, Kernel kernel, CudaExpressions expressions, CudaNames names)
    {
        switch (statement)
        {
            case Statement.Let let:
                CudaValue value = expressions.Of(let.Value), named = value with { Text = names.Fresh(let.Name) };
                expressions.Define(let.Name, named);
                return $"const {named.Type} {named.Text} = {value.Text};";
            case Statement.Store store:
                string place = $"p{store.Operand}[{expressions.Offset(store.At).Text}]", type = CudaTypes.Name(kernel.Operands[store.Operand].Type);
                string stored = expressions.Of(store.Value).Text;
                return type == "int" ? $"{place} = (int)({stored});" : $"{place} = narrow<{type}>({stored});";
            default:
                throw new ArgumentOutOfRangeException(nameof(statement), statement.GetType().Name, "no statement of an element");
        }
    }

    private static string Function(Kernel kernel, CudaExpressions expressions, string[] lines)
    {
        var text = new CudaText();
        text.Open("struct Epilogue");
        for (int i = 0; i < kernel.Operands.Count; i++)
            text.Line($"{Pointer(kernel.Operands[i])} p{i};");
        for (int i = 0; i < expressions.Extents.Count; i++)
            text.Line($"long long e{i};");
        text.Close();
        text.Line(";");
        text.Open("__device__ __forceinline__ void finish(const Epilogue& x, int m, int n, float sum)");
        for (int i = 0; i < kernel.Operands.Count; i++)
            text.Line($"{Pointer(kernel.Operands[i])} p{i} = x.p{i};");
        foreach (CudaValue extent in expressions.Extents.Select(expressions.OfExtent).ToArray())
            text.Line($"const {extent.Type} {extent.Text} = ({extent.Type})x.{extent.Text};");
        foreach (string line in lines)
            text.Line(line);
        text.Close();
        return text.ToString();
    }

    private static string Pointer(KernelOperand operand) => $"{(operand.Access == Access.Read ? "const " : "")}{CudaTypes.Name(operand.Type)}*";
}
