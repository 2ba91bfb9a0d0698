using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>A kernel that does nothing but add the parts of a sum, in order: operand 0 holds them one after another, operand 1 gets their sum.</summary>
internal sealed record SumOfParts(long Parts, long Columns)
{
    /// <summary>Null for other kernels.</summary>
    public static SumOfParts? Of(Kernel kernel)
    {
        if (kernel.Operands.Count != 2 || kernel.Operands.Any(o => o.Type != ScalarType.F32))
            return null;
        Statement[] all = [.. kernel.Body.SelectMany(s => s.Tree())];
        Statement.Loop[] loops = [.. all.OfType<Statement.Loop>()];
        if (all.OfType<Statement.Store>().ToArray() is not [{ Operand: 1, Value: Expr.Number { Value: 0 } } clear, { Operand: 1 } add]
            || all.Length != loops.Length + 2 || !clear.At.Equals(add.At)
            || add.Value is not Expr.Apply { Operation: Operation.Add, Operands: [Expr.Load { Operand: 1 } sum, Expr.Load { Operand: 0 } part] } || !sum.At.Equals(add.At))
            return null;
        if (loops.Where(l => l.Kind == LoopKind.Serial).ToArray() is not [{ From: Expr.Integer { Value: 0 }, To: Expr.Integer parts } serial] || !serial.Tree().Contains(add))
            return null;
        if (Walked(add.At, [.. loops.Where(l => l != serial)]) is not { } columns || part.At.StrideOf(serial.Variable) != columns)
            return null;
        IndexTerm[] rest = [.. part.At.Terms.Where(t => t.Value is not Expr.Variable variable || variable.Name != serial.Variable)];
        return rest.Length == add.At.Terms.Length && !rest.Except(add.At.Terms).Any() ? new SumOfParts(parts.Value, columns) : null;
    }

    /// <summary>How many elements the loops walk through at an index, each from the first on; null where they miss some.</summary>
    private static long? Walked(Plans.Index at, Statement.Loop[] loops)
    {
        long columns = 1;
        foreach (IndexTerm term in at.Terms.OrderBy(t => t.Stride.IsConstant ? t.Stride.Constant : long.MaxValue))
        {
            Expr.Integer[] ends = [.. loops.Where(l => term.Value.Equals(new Expr.Variable(l.Variable)) && l.From.Equals(new Expr.Integer(0))).Select(l => l.To).OfType<Expr.Integer>().Distinct()];
            if (ends.Length != 1 || !term.Stride.Equals(Extent.Of(columns)))
                return null;
            columns *= ends[0].Value;
        }
        return columns;
    }
}
