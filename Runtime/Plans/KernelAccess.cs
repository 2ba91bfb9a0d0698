namespace Legato.Runtime.Plans;

/// <summary>Questions about indices and loops that decide how a kernel is spread over threads, or run beside others.</summary>
internal static class KernelAccess
{
    /// <summary>How far an index moves, in elements, for a step of a variable; null where that isn't a constant.</summary>
    public static long? StrideOf(this Plans.Index index, string variable)
    {
        long stride = 0;
        foreach (IndexTerm term in index.Terms)
            if (term.Value is Expr.Variable v && v.Name == variable)
            {
                if (!term.Stride.IsConstant)
                    return null;
                stride += term.Stride.Constant;
            }
            else if (term.Value.Mentions(variable))
            {
                return null;
            }
        return stride;
    }

    public static bool Mentions(this Expr expression, string variable) => expression switch
    {
        Expr.Variable v => v.Name == variable,
        Expr.Load load => Array.Exists(load.At.Terms, t => t.Value.Mentions(variable)),
        Expr.Apply apply => Array.Exists(apply.Operands, o => o.Mentions(variable)),
        _ => false,
    };

    /// <summary>The value of an integer expression that is a constant; else null.</summary>
    public static long? Constant(this Expr expression) => expression switch
    {
        Expr.Integer integer => integer.Value,
        Expr.Size { Extent: { IsConstant: true } extent } => extent.Constant,
        _ => null,
    };

    /// <summary>Whether every value of an integer expression is a multiple of a power of two.</summary>
    public static bool IsMultiple(this Expr expression, long of) => of == 1 || expression switch
    {
        Expr.Integer integer => integer.Value % of == 0,
        Expr.Size size => size.Extent.IsMultiple(of),
        Expr.Apply { Operation: Operation.Multiply, Operands: [var x, var y] } => x.IsMultiple(of) || y.IsMultiple(of),
        Expr.Apply { Operation: Operation.Add or Operation.Subtract or Operation.Minimum or Operation.Maximum, Operands: [var x, var y] } =>
            x.IsMultiple(of) && y.IsMultiple(of),
        _ => false,
    };

    public static bool IsMultiple(this Extent extent, long of) => extent.Terms.All(t => t.Coefficient % of == 0);

    /// <summary>Whether an index, the variable's own terms aside, lies at multiples of a power of two.</summary>
    public static bool IsAligned(this Plans.Index index, string variable, long to) => index.Terms.All(t =>
        t.Value is Expr.Variable v && v.Name == variable || t.Stride.IsMultiple(to) || t.Value.IsMultiple(to));

    /// <summary>Every load of an expression, those that its indices read included, inner ones first.</summary>
    public static IEnumerable<Expr.Load> AllLoads(this Expr expression) => expression switch
    {
        Expr.Load load => load.At.AllLoads().Append(load),
        Expr.Apply apply => apply.Operands.SelectMany(AllLoads),
        _ => [],
    };

    public static IEnumerable<Expr.Load> AllLoads(this Plans.Index index) => index.Terms.SelectMany(t => t.Value.AllLoads());

    /// <summary>The expressions that a statement evaluates itself, those of loops inside aside.</summary>
    public static IEnumerable<Expr> Expressions(this Statement statement) => statement switch
    {
        Statement.Loop loop => [loop.From, loop.To],
        Statement.Let let => [let.Value],
        Statement.Accumulate accumulate => [accumulate.Value],
        Statement.Store store => [.. store.At.Terms.Select(t => t.Value), store.Value],
        _ => [],
    };

    /// <summary>The statement and all that stand inside it.</summary>
    public static IEnumerable<Statement> Tree(this Statement statement) =>
        statement is Statement.Loop loop ? loop.Body.SelectMany(Tree).Prepend(loop) : [statement];

    /// <summary>Vector loops that hold no loop; the others run in order.</summary>
    public static bool IsVector(this Statement statement) =>
        statement is Statement.Loop { Kind: LoopKind.Vector } loop && !loop.Body.Any(s => s is Statement.Loop);

    /// <summary>How many iterations a loop has, as an expression; null where that varies in a way that can't be told.</summary>
    public static Expr? Length(this Statement.Loop loop) => loop switch
    {
        { From: Expr.Integer { Value: 0 } } => loop.To,
        { From: Expr.Integer from, To: Expr.Integer to } => new Expr.Integer(to.Value - from.Value),
        { To: Expr.Apply { Operation: Operation.Minimum, Operands: [Expr.Apply { Operation: Operation.Add, Operands: [var start, Expr.Integer block] }, _] } }
            when start.Equals(loop.From) => block,
        _ => null,
    };
}
