using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>Evaluates expressions over named variables and a step's operands.</summary>
internal sealed class Evaluator(InterpreterExecutable executable, IReadOnlyList<BufferView> operands)
{
    private readonly ElementView[] views = [.. operands.Select(executable.View)];

    public Dictionary<string, Scalar> Variables { get; } = [];

    public Scalar Evaluate(Expr expression) => expression switch
    {
        Expr.Number number => number.Value,
        Expr.Integer integer => integer.Value,
        Expr.Size size => executable.Size(size.Extent),
        Expr.Variable variable => Variables[variable.Name],
        Expr.Load load => Load(load),
        Expr.Apply { Operation: Operation.Select } select =>
            Evaluate(select.Operands[0]).Boolean ? Evaluate(select.Operands[1]) : Evaluate(select.Operands[2]),
        Expr.Apply { Operands.Length: 1 } apply => Arithmetic.Apply(apply.Operation, Evaluate(apply.Operands[0])),
        Expr.Apply apply => Arithmetic.Apply(apply.Operation, Evaluate(apply.Operands[0]), Evaluate(apply.Operands[1])),
        _ => throw new ArgumentOutOfRangeException(nameof(expression), expression.GetType().Name, "no known expression"),
    };

    /// <summary>The element offset that an index names.</summary>
    public long Offset(Plans.Index index)
    {
        long offset = 0;
        foreach (IndexTerm term in index.Terms)
            offset += Evaluate(term.Value).Integer * executable.Size(term.Stride);
        return offset;
    }

    public void Store(int operand, Plans.Index at, Scalar value)
    {
        ElementView view = views[operand];
        if (view.Type == ScalarType.I32)
            view.Store(Offset(at), value.Integer);
        else
            view.Store(Offset(at), value.Float);
    }

    private Scalar Load(Expr.Load load)
    {
        ElementView view = views[load.Operand];
        long offset = Offset(load.At);
        return view.Type == ScalarType.I32 ? (Scalar)view.Integer(offset) : view.Float(offset);
    }
}
