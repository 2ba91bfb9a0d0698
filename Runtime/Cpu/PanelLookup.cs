using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>Kernels that look up rows of weights, as those of embeddings do, rewritten for weights that lie in <see cref="WeightPanels"/>.</summary>
internal static class PanelLookup
{
    /// <summary>The kernel with an operand in panels; null where it reads otherwise than whole rows by their number.</summary>
    public static Kernel? Of(Kernel kernel, int operand, WeightPanels panels)
    {
        long rowLength = panels.RowBytes / kernel.Operands[operand].Type.Size(), inPanels = WeightPanels.InPanels(panels.AllRows);
        if (kernel.Operands[operand].Access != Access.Read)
            return null;
        // Half a word's elements follow one another.
        int within = WeightPanels.WordBytes / kernel.Operands[operand].Type.Size();
        bool isLookup = true;
        IReadOnlyList<Statement> body = KernelRewriting.Indices(kernel.Body, (of, index) =>
        {
            if (of != operand)
                return index;
            IndexTerm[] rows = [.. index.Terms.Where(term => term.Stride.IsMultiple(rowLength))];
            IndexTerm[] inRow = [.. index.Terms.Where(term => !term.Stride.IsMultiple(rowLength))];
            if (rows.Length == 0 || rows.Any(term => !term.Stride.IsConstant)
                || inRow is not [{ Value: Expr.Variable variable, Stride: { IsConstant: true, Constant: 1 } }] || !IsWithin(kernel, variable.Name, rowLength))
            {
                isLookup = false;
                return index;
            }
            Expr row = rows.Select(term => Times(term.Value, term.Stride.Constant / rowLength)).Aggregate(Add);
            Expr place = By(Operation.Remainder, row, WeightPanels.Rows);
            Expr element = Add(Times(By(Operation.Divide, variable, within), WeightPanels.Rows * within), By(Operation.Remainder, variable, within));
            Expr inPanel = Add(Times(place, within), element);
            if (panels.HasRest)
                inPanel = new Expr.Apply(
                    Operation.Select, new Expr.Apply(Operation.Less, row, new Expr.Integer(inPanels)), inPanel, Add(Times(place, rowLength), variable));
            return new Plans.Index(new IndexTerm(By(Operation.Divide, row, WeightPanels.Rows), WeightPanels.Rows * rowLength), new IndexTerm(inPanel, Extent.One));
        });
        return isLookup ? kernel with { Body = body } : null;
    }

    /// <summary>Whether a loop's variable stays below a length, in every loop of that name.</summary>
    private static bool IsWithin(Kernel kernel, string variable, long length)
    {
        Statement.Loop[] loops = [.. kernel.Body.SelectMany(s => s.Tree()).OfType<Statement.Loop>().Where(loop => loop.Variable == variable)];
        return loops.Length > 0 && loops.All(loop => loop.From.Constant() >= 0 && loop.To.Constant() <= length);
    }

    private static Expr Add(Expr x, Expr y) => new Expr.Apply(Operation.Add, x, y);

    private static Expr Times(Expr value, long factor) => factor == 1 ? value : new Expr.Apply(Operation.Multiply, value, new Expr.Integer(factor));

    private static Expr By(Operation operation, Expr value, long divisor) => (operation, divisor) switch
    {
        (Operation.Divide, 1) => value,
        (Operation.Remainder, 1) => new Expr.Integer(0),
        _ => new Expr.Apply(operation, value, new Expr.Integer(divisor)),
    };
}
