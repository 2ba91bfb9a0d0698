using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>A vector loop, taken apart for threads that take several neighbouring elements at once.</summary>
internal sealed class VectorLoop
{
    private const int AccessBytes = 16;

    private const long LongLoop = 16384;

    /// <summary>Threads take at most twice what one access moves of the widest type.</summary>
    private const int WidestAccess = 2 * AccessBytes;

    private VectorLoop(Statement.Loop loop, Expr.Load[] contiguous, Expr.Load[] invariant, bool storesAtOnce) =>
        (Loop, Contiguous, Invariant, StoresAtOnce) = (loop, contiguous, invariant, storesAtOnce);

    public Statement.Loop Loop { get; }

    /// <summary>Loads of neighbouring elements that every iteration makes, and that can be fetched before any element is computed.</summary>
    public IReadOnlyList<Expr.Load> Contiguous { get; }

    /// <summary>Loads that every iteration makes and none changes.</summary>
    public IReadOnlyList<Expr.Load> Invariant { get; }

    /// <summary>Whether each element must be stored where its store stands, since a later statement reads it.</summary>
    public bool StoresAtOnce { get; }

    public static VectorLoop Of(Statement.Loop loop, IReadOnlyList<OperandMemory> memory)
    {
        var contiguous = new List<Expr.Load>();
        var invariant = new List<Expr.Load>();
        var names = new HashSet<string>();
        HashSet<int> stored = [], everStored = [.. loop.Body.OfType<Statement.Store>().Select(s => memory[s.Operand].Alias)];
        bool readsBack = false;
        var lets = new List<Statement.Let>();
        foreach (Statement statement in loop.Body)
        {
            readsBack |= statement.Expressions().SelectMany(e => e.AllLoads()).Any(l => stored.Contains(memory[l.Operand].Alias));
            foreach (Expr.Load load in statement.Expressions().SelectMany(e => CertainLoads.Of(e, memory, lets)))
            {
                if (stored.Contains(memory[load.Operand].Alias) || names.Any(n => load.Mentions(n)))
                    continue;
                long? stride = load.At.StrideOf(loop.Variable);
                if (stride == 1 && !contiguous.Contains(load))
                    contiguous.Add(load);
                else if (stride == 0 && !everStored.Contains(memory[load.Operand].Alias) && !invariant.Contains(load))
                    invariant.Add(load);
            }
            if (statement is Statement.Let let)
            {
                names.Add(let.Name);
                lets.Add(let);
            }
            if (statement is Statement.Store store)
                stored.Add(memory[store.Operand].Alias);
        }
        return new VectorLoop(loop, [.. contiguous], [.. invariant], readsBack);
    }

    /// <summary>Whether a store writes neighbouring elements.</summary>
    public bool IsContiguous(Statement.Store store) => !StoresAtOnce && store.At.StrideOf(Loop.Variable) == 1
        && !store.At.Terms.Any(t => Loop.Body.OfType<Statement.Let>().Any(l => t.Value.Mentions(l.Name)));

    /// <summary>Whether the loop is so long that the elements beyond its last whole vector can have a loop of their own.</summary>
    public static bool HasTail(Statement.Loop loop) => loop is { From: Expr.Integer { Value: 0 }, To: Expr.Integer { Value: >= LongLoop } };

    /// <summary>
    /// How many neighbouring elements of each loop a thread takes: as many as all accesses allow. Loops over the same
    /// columns take equally many, so that a thread finds its own elements again.
    /// </summary>
    public static IReadOnlyDictionary<Statement, int> Widths(IEnumerable<Statement.Loop> loops, Kernel kernel, IReadOnlyList<OperandMemory> memory)
    {
        var widths = new Dictionary<Statement, int>(ReferenceEqualityComparer.Instance);
        foreach (IGrouping<(string, Expr, Expr), Statement.Loop> same in loops.GroupBy(l => (l.Variable, l.From, l.To)))
        {
            VectorLoop[] vectors = [.. same.Select(l => Of(l, memory))];
            int width = vectors.Max(v => v.PreferredWidth(kernel));
            while (width > 1 && !vectors.All(v => v.Suits(width, kernel, memory)))
                width /= 2;
            foreach (Statement.Loop loop in same)
                widths[loop] = width;
        }
        return widths;
    }

    /// <summary>Whether two loops run over the same columns.</summary>
    public static bool AreAlike(Statement.Loop x, Statement.Loop y) => x.Variable == y.Variable && x.From.Equals(y.From) && x.To.Equals(y.To);

    private IEnumerable<(int Operand, Plans.Index At)> Accesses() =>
        Contiguous.Select(l => (l.Operand, l.At)).Concat(Loop.Body.OfType<Statement.Store>().Where(IsContiguous).Select(s => (s.Operand, s.At)));

    private int PreferredWidth(Kernel kernel)
    {
        int[] sizes = [.. Accesses().Select(a => kernel.Operands[a.Operand].Type.Size())];
        return sizes.Length == 0 ? 1 : Math.Min(AccessBytes / sizes.Min(), WidestAccess / sizes.Max());
    }

    private bool Suits(int width, Kernel kernel, IReadOnlyList<OperandMemory> memory) => !StoresAtOnce
        && Loop.From.IsMultiple(width) && (Loop.To.IsMultiple(width) || HasTail(Loop))
        && Accesses().All(a => width * kernel.Operands[a.Operand].Type.Size() <= WidestAccess
            && memory[a.Operand].Alignment % width == 0 && a.At.IsAligned(Loop.Variable, width));
}
