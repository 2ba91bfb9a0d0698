namespace Legato.Runtime.Plans;

/// <summary>Kernels made from kernels.</summary>
internal static class KernelRewriting
{
    /// <summary>The statements with every index, those of loads and of stores, replaced; given are its operand and itself.</summary>
    public static IReadOnlyList<Statement> Indices(IReadOnlyList<Statement> body, Func<int, Index, Index> replace)
    {
        return [.. body.Select(Replaced)];

        Statement Replaced(Statement statement) => statement switch
        {
            Statement.Loop loop => loop with { Body = [.. loop.Body.Select(Replaced)] },
            Statement.Let let => let with { Value = In(let.Value) },
            Statement.Accumulate accumulate => accumulate with { Value = In(accumulate.Value) },
            Statement.Store store => store with { At = At(store.Operand, store.At), Value = In(store.Value) },
            _ => statement,
        };

        Expr In(Expr expression) => expression switch
        {
            Expr.Load load => load with { At = At(load.Operand, load.At) },
            Expr.Apply apply => apply with { Operands = [.. apply.Operands.Select(In)] },
            _ => expression,
        };

        Index At(int operand, Index index) =>
            replace(operand, new Index([.. index.Terms.Select(term => term with { Value = In(term.Value) })]));
    }
}
