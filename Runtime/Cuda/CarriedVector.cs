using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Elements that each iteration of a serial loop reads, adds to and writes again at the same place, and that nothing
/// else in the loop touches: a thread may hold its own in registers until the loop ends.
/// </summary>
/// <param name="Rows">The serial loop.</param>
/// <param name="Columns">The vector loop inside over the elements.</param>
/// <param name="Element">One of them.</param>
/// <param name="Clear">The loop ahead that sets them all to a number, where there is one.</param>
internal sealed record CarriedVector(Statement.Loop Rows, Statement.Loop Columns, Expr.Load Element, Statement.Loop? Clear)
{
    /// <summary>The number that they begin with; null where they begin as they lie in memory.</summary>
    public Expr.Number? Start => Clear is { Body: [Statement.Store { Value: Expr.Number start }] } ? start : null;

    /// <summary>What the serial loops of a body carry.</summary>
    public static IEnumerable<CarriedVector> Of(IReadOnlyList<Statement> body, IReadOnlyList<OperandMemory> memory) =>
        body.OfType<Statement.Loop>().Where(l => !l.IsVector()).SelectMany(rows => Of(body, rows, memory));

    private static IEnumerable<CarriedVector> Of(IReadOnlyList<Statement> body, Statement.Loop rows, IReadOnlyList<OperandMemory> memory)
    {
        foreach (Statement.Loop columns in rows.Body.Where(s => s.IsVector()).Cast<Statement.Loop>())
            foreach (Statement.Store store in columns.Body.OfType<Statement.Store>().Where(VectorLoop.Of(columns, memory).IsContiguous))
            {
                var element = new Expr.Load(store.Operand, store.At);
                bool moves = Names(rows).Any(n => n != columns.Variable && element.Mentions(n) || columns.From.Mentions(n) || columns.To.Mentions(n));
                if (!moves && IsAlone(rows, columns, store, element, memory))
                    yield return new CarriedVector(rows, columns, element, ClearOf(body, rows, columns, element, memory));
            }
    }

    /// <summary>What is named in a loop, its variable included.</summary>
    private static IEnumerable<string> Names(Statement.Loop rows) => rows.Tree().SelectMany<Statement, string>(s => s switch
    {
        Statement.Loop loop => [loop.Variable],
        Statement.Let let => [let.Name],
        Statement.Accumulator accumulator => [accumulator.Name],
        _ => [],
    });

    private static bool IsAlone(Statement.Loop rows, Statement.Loop columns, Statement.Store store, Expr.Load element, IReadOnlyList<OperandMemory> memory)
    {
        int alias = memory[store.Operand].Alias;
        return rows.Body.SelectMany(s => s.Tree()).All(s =>
            (s is not Statement.Store other || ReferenceEquals(other, store) || memory[other.Operand].Alias != alias)
            && LoadsOf(s, alias, memory).All(l => l.Equals(element) && columns.Body.Any(c => ReferenceEquals(c, s))));
    }

    private static IEnumerable<Expr.Load> LoadsOf(Statement statement, int alias, IReadOnlyList<OperandMemory> memory) =>
        statement.Expressions().SelectMany(e => e.AllLoads()).Where(l => memory[l.Operand].Alias == alias);

    private static Statement.Loop? ClearOf(
        IReadOnlyList<Statement> body, Statement.Loop rows, Statement.Loop columns, Expr.Load element, IReadOnlyList<OperandMemory> memory)
    {
        int alias = memory[element.Operand].Alias;
        Statement? before = body.TakeWhile(s => !ReferenceEquals(s, rows)).LastOrDefault(s => s.Tree().Any(t =>
            t is Statement.Store store && memory[store.Operand].Alias == alias || LoadsOf(t, alias, memory).Any()));
        return before is Statement.Loop { Body: [Statement.Store { Value: Expr.Number } clear] } loop && loop.IsVector() && VectorLoop.AreAlike(loop, columns)
            && clear.Operand == element.Operand && clear.At.Equals(element.At) ? loop : null;
    }
}
