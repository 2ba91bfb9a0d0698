using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Where the threads that share a row must wait for each other: before a statement that touches what another thread
/// may have written, or writes what another may still read.
/// </summary>
internal sealed class CudaHazards
{
    private readonly int[] aliases;
    private readonly List<Touch> since = [];
    private readonly HashSet<Statement> before = new(ReferenceEqualityComparer.Instance);

    /// <param name="aliases">For each operand the first that may lie in the same memory.</param>
    private CudaHazards(int[] aliases) => this.aliases = aliases;

    /// <summary>The statements before which threads wait.</summary>
    public static IReadOnlySet<Statement> Barriers(IReadOnlyList<Statement> body, int[] aliases)
    {
        var hazards = new CudaHazards(aliases);
        hazards.Walk(body);
        return hazards.before;
    }

    private void Walk(IReadOnlyList<Statement> body)
    {
        foreach (Statement statement in body)
            if (statement is Statement.Loop loop && !statement.IsVector())
            {
                // An iteration follows on another.
                Pass(statement, Loads(loop.From).Concat(Loads(loop.To)));
                Walk(loop.Body);
                Walk(loop.Body);
            }
            else
            {
                Pass(statement, Touches(statement));
            }
    }

    private void Pass(Statement statement, IEnumerable<Touch> touches)
    {
        Touch[] own = [.. touches];
        if (before.Contains(statement) || own.Any(later => since.Any(earlier => earlier.Orders(later))))
        {
            before.Add(statement);
            since.Clear();
        }
        since.AddRange(own);
    }

    private IEnumerable<Touch> Touches(Statement statement) => statement is Statement.Loop loop
        ? loop.Body.SelectMany(s => Touches(s, loop)).Concat(Loads(loop.From)).Concat(Loads(loop.To))
        : Touches(statement, null);

    private IEnumerable<Touch> Touches(Statement statement, Statement.Loop? lanes)
    {
        foreach (Expr.Load load in statement.Expressions().SelectMany(e => e.AllLoads()))
            yield return new Touch(aliases[load.Operand], load.At, lanes, false);
        if (statement is Statement.Store store)
            yield return new Touch(aliases[store.Operand], store.At, lanes, true);
    }

    private IEnumerable<Touch> Loads(Expr expression) => expression.AllLoads().Select(l => new Touch(aliases[l.Operand], l.At, null, false));

    /// <summary>An access by each lane of a vector loop at its own elements; outside of one all lanes read, the first one writes.</summary>
    private readonly record struct Touch(int Operand, Plans.Index At, Statement.Loop? Lanes, bool Writes)
    {
        public bool Orders(in Touch later)
        {
            if (Operand != later.Operand || !(Writes || later.Writes))
                return false;
            if (Lanes is null && later.Lanes is null)
                return !(Writes && later.Writes);
            return !(Lanes is not null && later.Lanes is not null && VectorLoop.AreAlike(Lanes, later.Lanes)
                && At.Equals(later.At) && At.StrideOf(Lanes.Variable) is not (null or 0));
        }
    }
}
