using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>Questions about the kernel IR that the compiler asks.</summary>
internal static class KernelAnalysis
{
    /// <summary>Whether an expression reads memory.</summary>
    public static bool Loads(this Expr expression) => expression switch
    {
        Expr.Load => true,
        Expr.Apply apply => Array.Exists(apply.Operands, Loads),
        _ => false,
    };

    /// <summary>Whether an expression reads one of these operands.</summary>
    public static bool LoadsAny(this Expr expression, IReadOnlySet<int> operands) => expression switch
    {
        Expr.Load load => operands.Contains(load.Operand) || Array.Exists(load.At.Terms, t => t.Value.LoadsAny(operands)),
        Expr.Apply apply => Array.Exists(apply.Operands, o => o.LoadsAny(operands)),
        _ => false,
    };

    /// <summary>Whether an expression refers to sizes that are known at launch only.</summary>
    public static bool HasDynamicSizes(this Expr expression) => expression switch
    {
        Expr.Size size => !size.Extent.IsConstant,
        Expr.Load load => Array.Exists(load.At.Terms, t => !t.Stride.IsConstant || t.Value.HasDynamicSizes()),
        Expr.Apply apply => Array.Exists(apply.Operands, HasDynamicSizes),
        _ => false,
    };

    /// <summary>Whether an integer expression is made of constants, sizes and the kernel's arguments alone.</summary>
    public static bool IsLaunchConstant(this Expr expression, Kernel kernel) => expression switch
    {
        Expr.Integer or Expr.Size => true,
        Expr.Variable variable => kernel.Arguments.Contains(variable.Name),
        Expr.Apply apply => Array.TrueForAll(apply.Operands, o => o.IsLaunchConstant(kernel)),
        _ => false,
    };

    /// <summary>The operands that statements write, loops inside included.</summary>
    public static HashSet<int> Stored(IReadOnlyList<Statement> body)
    {
        var stored = new HashSet<int>();
        foreach (Statement statement in body)
            if (statement is Statement.Store store)
                stored.Add(store.Operand);
            else if (statement is Statement.Loop loop)
                stored.UnionWith(Stored(loop.Body));
        return stored;
    }

    /// <summary>The expressions, leaves aside, that occur more than once in a kernel.</summary>
    public static HashSet<Expr> Repeated(IReadOnlyList<Statement> body)
    {
        HashSet<Expr> seen = [], repeated = [];
        VisitAll(body);
        return repeated;

        void VisitAll(IReadOnlyList<Statement> statements)
        {
            foreach (Statement statement in statements)
                switch (statement)
                {
                    case Statement.Loop loop:
                        VisitAll(loop.Body);
                        break;
                    case Statement.Let let:
                        Visit(let.Value);
                        break;
                    case Statement.Accumulate accumulate:
                        Visit(accumulate.Value);
                        break;
                    case Statement.Store store:
                        Visit(store.Value);
                        VisitIndex(store.At);
                        break;
                }
        }

        void Visit(Expr expression)
        {
            if (expression is not (Expr.Apply or Expr.Load))
                return;
            if (!seen.Add(expression))
                repeated.Add(expression);
            else if (expression is Expr.Load load)
                VisitIndex(load.At);
            else if (expression is Expr.Apply apply)
                Array.ForEach(apply.Operands, Visit);
        }

        void VisitIndex(Plans.Index index) => Array.ForEach(index.Terms, t => Visit(t.Value));
    }

    /// <summary>Operations of a loop body, for the choice of how far to unroll it.</summary>
    public static int Work(IReadOnlyList<Statement> body) => body.Sum(statement => statement switch
    {
        Statement.Let let => Work(let.Value),
        Statement.Accumulate accumulate => 1 + Work(accumulate.Value),
        Statement.Store store => 1 + Work(store.Value),
        _ => 0,
    });

    private static int Work(Expr expression) => expression switch
    {
        Expr.Load => 1,
        Expr.Apply apply => Work(apply.Operation) + apply.Operands.Sum(Work),
        _ => 0,
    };

    private static int Work(Operation operation) => operation switch
    {
        Operation.Exp or Operation.Log => 15,
        Operation.Tanh or Operation.Erf or Operation.Sin or Operation.Cos or Operation.Random or Operation.Power => 30,
        _ => 1,
    };
}
