using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// A kernel that adds rows to the rows of a target that an index names, turned round: blocks divide the target's rows,
/// look through the index for what falls on them, and add it in the order of the index. Each sum has the order that the
/// kernel gives it, and far more blocks have work than by columns.
/// </summary>
/// <param name="Rows">The loop over the rows that are added.</param>
/// <param name="Names">What is named for each of them.</param>
/// <param name="Columns">The loop over columns: from 0.</param>
/// <param name="Target">The row of the target that an added row falls on.</param>
/// <param name="Store">The addition.</param>
/// <param name="Stride">Elements from one row of the target to the next.</param>
internal sealed record ScatterSums(
    Statement.Loop Rows, IReadOnlyList<Statement.Let> Names, Statement.Loop Columns, Expr Target, Statement.Store Store, long Stride)
{
    /// <summary>Null for other kernels, and where so few rows are added that it wouldn't pay.</summary>
    public static ScatterSums? Of(Kernel kernel)
    {
        const long WorthIt = 256;
        if (kernel.Body is not [Statement.Loop { Kind: LoopKind.Grid, Variable: var block } grid] || grid.Body is not [Statement.Loop { Kind: LoopKind.Serial } rows])
            return null;
        Statement.Let[] names = [.. rows.Body.TakeWhile(s => s is Statement.Let).Cast<Statement.Let>()];
        if (rows.Body.Count != names.Length + 1 || rows.Body[^1] is not Statement.Loop { Kind: LoopKind.Vector } columns)
            return null;
        if (columns.To is not Expr.Apply { Operation: Operation.Minimum, Operands: [_, Expr.Integer width] } || !columns.From.Mentions(block))
            return null;
        if (rows.From is not Expr.Integer { Value: 0 } || rows.To is not Expr.Integer { Value: > WorthIt } and not Expr.Size)
            return null;
        if (columns.Body.OfType<Statement.Store>().ToArray() is not [var store] || columns.Body.Any(s => s is not (Statement.Let or Statement.Store)) || columns.Body[^1] != store)
            return null;
        var own = new Expr.Load(store.Operand, store.At);
        if (store.Value is not Expr.Apply { Operation: Operation.Add, Operands: [var before, _] } || !before.Equals(own))
            return null;
        IndexTerm[] moved = [.. store.At.Terms.Where(t => t.Value is not Expr.Variable v || v.Name != columns.Variable)];
        if (moved is not [var row] || !row.Stride.IsConstant || store.At.StrideOf(columns.Variable) != 1 || !row.Value.AllLoads().Any() && !Names(names, row.Value).Any())
            return null;
        return new ScatterSums(rows, names, columns with { From = new Expr.Integer(0), To = width }, row.Value, store, row.Stride.Constant);

        static IEnumerable<Expr.Load> Names(Statement.Let[] names, Expr value) => names.Where(n => value.Mentions(n.Name)).SelectMany(n => n.Value.AllLoads());
    }
}
