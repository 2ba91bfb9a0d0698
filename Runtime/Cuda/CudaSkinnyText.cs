using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// What is done with an element of a product of few rows, as the compiler's part of its kernel: the statements of the epilogue,
/// the store alone, or those of a kernel that follows.
/// </summary>
/// <param name="Operands">Whose addresses it takes.</param>
/// <param name="Extents">Sizes that follow them, as the expressions name them.</param>
/// <param name="Lines">What is done with row m, column n and their sum.</param>
internal sealed record CudaSkinnyText(IReadOnlyList<KernelOperand> Operands, IReadOnlyList<Extent> Extents, IReadOnlyList<string> Lines)
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
        return Of(kernel, body, expressions);
    }

    /// <summary>A kernel that goes through elements of a product.</summary>
    public static CudaSkinnyText Of(Kernel kernel, ElementKernel elements, Step.MatrixProduct product, Func<Extent, IntegerRange> bounds)
    {
        var expressions = new CudaExpressions(kernel.Operands, bounds);
        expressions.Define(elements.Row, CudaValue.Integer("m", Below(bounds(product.M))));
        CudaValue column = CudaValue.Integer("n", Below(bounds(product.N)));
        foreach (ElementDigit digit in elements.Digits)
        {
            CudaValue above = CudaExpressions.Integers(Operation.Divide, column, CudaExpressions.Constant(digit.Stride));
            expressions.Define(digit.Variable, digit.Count == 1 ? CudaExpressions.Constant(0) : CudaExpressions.Integers(Operation.Remainder, above, CudaExpressions.Constant(digit.Count)));
        }
        return Of(kernel, elements.Body, expressions);
    }

    /// <summary>All that the chains of a launch do, the function finish for a chain's sums, and the prologue.</summary>
    public static string Of(IReadOnlyList<CudaSkinnyChain> chains, CudaSkinnyPrologue? prologue)
    {
        CudaSkinnyPart[] parts = [.. chains.SelectMany(c => c.Parts)];
        var text = new CudaText();
        prologue?.Write(text);
        for (int i = 0; i < parts.Length; i++)
            parts[i].Text.Write(text, i);
        text.Open("struct Epilogues");
        for (int i = 0; i < parts.Length; i++)
            text.Line($"Epilogue{i} e{i};");
        text.Close();
        text.Line(";");
        text.Open("__device__ __forceinline__ void finish(const Epilogues& x, int chain, int m, int n, const float* sums)");
        int first = 0;
        for (int i = 0; i < chains.Count; i++)
        {
            text.Open($"if (chain == {i})");
            foreach (string line in chains[i].Lines(first))
                text.Line(line);
            text.Close();
            first += chains[i].Parts.Count();
        }
        text.Close();
        return text.ToString();
    }

    private static CudaSkinnyText Of(Kernel kernel, IReadOnlyList<Statement> body, CudaExpressions expressions)
    {
        var names = new CudaNames();
        string[] lines = [.. body.Select(s => Line(s, kernel, expressions, names))];
        CudaValue[] extents = [.. expressions.Extents.Select(expressions.OfExtent)];
        return new CudaSkinnyText(kernel.Operands, expressions.Extents, [.. extents.Select(e => $"const {e.Type} {e.Text} = ({e.Type})x.{e.Text};"), .. lines]);
    }

    /// <summary>The structure Epilogue of that number, and the function finish for it.</summary>
    private void Write(CudaText text, int number)
    {
        text.Open($"struct Epilogue{number}");
        for (int i = 0; i < Operands.Count; i++)
            text.Line($"{Pointer(Operands[i])} p{i};");
        for (int i = 0; i < Extents.Count; i++)
            text.Line($"long long e{i};");
        text.Close();
        text.Line(";");
        text.Open($"__device__ __forceinline__ void finish(const Epilogue{number}& x, int m, int n, float sum)");
        for (int i = 0; i < Operands.Count; i++)
            text.Line($"{Pointer(Operands[i])} p{i} = x.p{i};");
        foreach (string line in Lines)
            text.Line(line);
        text.Close();
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

    private static string Pointer(KernelOperand operand) => $"{(operand.Access == Access.Read ? "const " : "")}{CudaTypes.Name(operand.Type)}*";
}
