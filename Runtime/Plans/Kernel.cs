using System.Text;

namespace Legato.Runtime.Plans;

public enum LoopKind
{
    /// <summary>
    /// Iterations are independent and may run on any worker. Only the outermost loops of a kernel are Grid;
    /// directly nested Grid loops (nothing beside the inner one in the outer one's body) form one grid.
    /// </summary>
    Grid,

    /// <summary>In order.</summary>
    Serial,

    /// <summary>
    /// Iterations are independent but for <see cref="Statement.Accumulate"/>; may run as vectors. Innermost.
    /// </summary>
    Vector,
}

public enum Reduction
{
    Sum,
    Maximum,
}

/// <summary>A statement of the kernel IR.</summary>
public abstract record Statement
{
    private Statement()
    {
    }

    /// <summary>for <paramref name="Variable"/> in [<paramref name="From"/>, <paramref name="To"/>).</summary>
    public sealed record Loop(LoopKind Kind, string Variable, Expr From, Expr To, IReadOnlyList<Statement> Body) : Statement;

    /// <summary>Names a value: a scalar outside a vector loop, one value a lane inside.</summary>
    public sealed record Let(string Name, Expr Value) : Statement;

    /// <summary>Declares an accumulator at its neutral value (0 or -inf); a scalar float once its loop has ended.</summary>
    public sealed record Accumulator(string Name, Reduction Reduction) : Statement;

    /// <summary>Folds a value into an accumulator declared outside the enclosing serial or vector loop.</summary>
    public sealed record Accumulate(string Name, Expr Value) : Statement;

    /// <summary>Writes an element; floats are rounded to the operand's type.</summary>
    public sealed record Store(int Operand, Index At, Expr Value) : Statement;
}

/// <summary>What a kernel does with an operand.</summary>
public enum Access
{
    Read,
    Write,
    ReadWrite,
}

/// <summary>A pointer argument of a kernel.</summary>
public sealed record KernelOperand(string Name, ScalarType Type, Access Access);

/// <summary>
/// An unscheduled loop nest over its operands. <paramref name="Arguments"/> are the integer variables that are free in
/// the body and given at each call (an epilogue's block bounds); dynamic dimensions come from the plan's bindings.
/// Two operands never overlap unless they are the same view; a view read and written is one ReadWrite operand or two
/// operands that touch each element at the same point of the innermost loop.
/// </summary>
public sealed record Kernel(string Name, IReadOnlyList<KernelOperand> Operands, IReadOnlyList<string> Arguments, IReadOnlyList<Statement> Body)
{
    /// <summary>Of an operand that is read only where elements of operands tell, as a table of embeddings is, how often the body spells that; else 0.</summary>
    public int Lookups(int operand)
    {
        Expr.Load[] loads = [.. Body.SelectMany(s => s.Tree()).SelectMany(s => s.Expressions()).SelectMany(e => e.AllLoads()).Where(load => load.Operand == operand)];
        return loads.All(load => load.At.AllLoads().Any()) ? loads.Length : 0;
    }

    /// <summary>The kernel as text: its identity (the name aside), for goldens and caches.</summary>
    public string Text
    {
        get
        {
            var text = new StringBuilder();
            text.Append('(').AppendJoin(", ", Operands.Select((o, i) => $"${i} {o.Name}: {(o.Access == Access.Read ? "" : o.Access == Access.Write ? "out " : "inout ")}{o.Type.ToString().ToLowerInvariant()}"));
            foreach (string argument in Arguments)
                text.Append(", ").Append(argument);
            text.Append(")\n");
            Print(text, Body, 1);
            return text.ToString();
        }
    }

    public override string ToString() => $"kernel {Name}{Text}";

    private static void Print(StringBuilder text, IReadOnlyList<Statement> body, int depth)
    {
        foreach (Statement statement in body)
        {
            text.Append(' ', depth * 2);
            switch (statement)
            {
                case Statement.Loop loop:
                    text.Append($"{loop.Kind.ToString().ToLowerInvariant()} {loop.Variable} in {loop.From}..{loop.To}\n");
                    Print(text, loop.Body, depth + 1);
                    break;
                case Statement.Let let:
                    text.Append($"{let.Name} = {let.Value}\n");
                    break;
                case Statement.Accumulator accumulator:
                    text.Append($"{accumulator.Name} := {accumulator.Reduction.ToString().ToLowerInvariant()}\n");
                    break;
                case Statement.Accumulate accumulate:
                    text.Append($"{accumulate.Name} <- {accumulate.Value}\n");
                    break;
                case Statement.Store store:
                    text.Append($"${store.Operand}{store.At} = {store.Value}\n");
                    break;
            }
        }
    }
}
