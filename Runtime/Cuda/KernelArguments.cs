using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Kernels with arguments, called with values that are known: the epilogue of a whole product.</summary>
internal static class KernelArguments
{
    /// <summary>The kernel with its arguments replaced by these values.</summary>
    public static Kernel Applied(this Kernel kernel, IReadOnlyList<Expr> values)
    {
        Dictionary<string, Expr> known = kernel.Arguments.Zip(values).ToDictionary(p => p.First, p => p.Second);
        return kernel with { Arguments = [], Body = [.. kernel.Body.Select(s => Of(s, known))] };
    }

    private static Statement Of(Statement statement, Dictionary<string, Expr> known) => statement switch
    {
        Statement.Loop loop => loop with { From = Of(loop.From, known), To = Of(loop.To, known), Body = [.. loop.Body.Select(s => Of(s, known))] },
        Statement.Let let => let with { Value = Of(let.Value, known) },
        Statement.Accumulate accumulate => accumulate with { Value = Of(accumulate.Value, known) },
        Statement.Store store => store with { At = Of(store.At, known), Value = Of(store.Value, known) },
        _ => statement,
    };

    private static Expr Of(Expr expression, Dictionary<string, Expr> known) => expression switch
    {
        Expr.Variable variable when known.TryGetValue(variable.Name, out Expr? value) => value,
        Expr.Load load => load with { At = Of(load.At, known) },
        Expr.Apply apply => new Expr.Apply(apply.Operation, [.. apply.Operands.Select(o => Of(o, known))]),
        _ => expression,
    };

    private static Plans.Index Of(Plans.Index index, Dictionary<string, Expr> known) =>
        new([.. index.Terms.Select(t => t with { Value = Of(t.Value, known) })]);
}
