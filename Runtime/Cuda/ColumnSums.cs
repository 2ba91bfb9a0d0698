using System.Numerics;
using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// A kernel that sums rows in a few large parts, each into a partial result of its own, cut into more and smaller
/// parts, so that every multiprocessor has some: the first kernel sums the smaller parts into memory beside the plan's,
/// the second joins them, in order, into the plan's partial results.
/// </summary>
/// <param name="Fold">The kernel over the smaller parts; its last operands are their partial results.</param>
/// <param name="Finish">Joins them; its operands are the plan's partial results, then the smaller ones.</param>
/// <param name="Sums">The operands that hold the plan's partial results.</param>
/// <param name="PieceElements">Elements of the smaller parts' partial results, for each of <paramref name="Sums"/>.</param>
/// <param name="Parts">The plan's, each cut into <paramref name="Each"/> pieces.</param>
/// <param name="AreAdded">Whether all of them are sums, and not maxima.</param>
internal sealed record ColumnSums(
    Kernel Fold, Kernel Finish, IReadOnlyList<int> Sums, IReadOnlyList<Extent> PieceElements, long Parts, long Each, bool AreAdded)
{
    /// <summary>Rows that a piece has at least, so that it isn't all beginning and end.</summary>
    private const long FewestRows = 8;

    /// <summary>
    /// Elements of a row over all pieces: about as many as the vectors of 8 that a large GPU's threads hold at once. A
    /// constant, so that the order of summation depends on nothing but sizes.
    /// </summary>
    private const long Elements = 1 << 20;

    private const string Part = "part", Chunk = "chunk", Row = "row", Piece = "piece";

    /// <summary>Columns of one of the sums.</summary>
    public long Columns(int sum) => PieceElements[sum].Constant / (Parts * Each);

    /// <summary>Null for other kernels, and where the parts need no cutting.</summary>
    /// <param name="largest">The largest value of a size.</param>
    public static ColumnSums? Of(Kernel kernel, Func<Extent, long> largest)
    {
        if (kernel.Body is not [Statement.Loop { Kind: LoopKind.Grid, Variable: Part, From: Expr.Integer { Value: 0 }, To: Expr.Integer parts } grid])
            return null;
        if (grid.Body is not [Statement.Let { Name: Chunk } chunk, .., Statement.Loop { Kind: LoopKind.Serial, Variable: Row } rows])
            return null;
        Statement[] clears = [.. grid.Body.Skip(1).SkipLast(1)];
        if (RowCount(rows) is not { } count || Sizes(clears) is not { Count: > 0 } sizes || !clears.All(c => c.Tree().All(s => s is Statement.Loop or Statement.Store)))
            return null;
        int[] sums = [.. sizes.Keys];
        if (kernel.Body.SelectMany(s => s.Tree()).SelectMany(s => s.Expressions()).SelectMany(e => e.AllLoads()).Any(l => sums.Contains(l.Operand) && !IsOfPart(l.At, sizes[l.Operand])))
            return null;

        long each = Math.Min(Elements / sizes.Values.Max(), LaunchValue.Of(count, largest) / FewestRows) / parts.Value;
        if (each < 2)
            return null;
        each = 1L << BitOperations.Log2((ulong)each);
        long pieces = parts.Value * each;
        var redirect = new Redirection(sums, kernel.Operands.Count);
        Expr smaller = new Expr.Apply(Operation.Divide, new Expr.Apply(Operation.Add, count, new Expr.Integer(pieces - 1)), new Expr.Integer(pieces));
        var fold = kernel with
        {
            Name = kernel.Name + " pieces",
            Operands = [.. kernel.Operands, .. sums.Select(s => new KernelOperand("pieces", ScalarType.F32, Access.ReadWrite))],
            Body = [grid with { To = new Expr.Integer(pieces), Body = [chunk with { Value = smaller }, .. clears.Select(redirect.Of), redirect.Of(rows)] }],
        };
        bool areAdded = sums.All(s => JoinOf(rows, s) == Operation.Add);
        return new ColumnSums(
            fold, FinishOf(kernel, clears, rows, sums, parts.Value, each), sums, [.. sums.Select(s => Extent.Of(pieces * sizes[s]))], parts.Value, each, areAdded);
    }

    /// <summary>The number of all rows: the bound that the last part ends at.</summary>
    private static Expr? RowCount(Statement.Loop rows) =>
        rows.To is Expr.Apply { Operation: Operation.Minimum, Operands: [_, var count] } && count is Expr.Integer or Expr.Size ? ((Expr.Apply)rows.To).Operands[1] : null;

    /// <summary>The columns of each operand that the parts clear: the stride of a part.</summary>
    private static Dictionary<int, long> Sizes(IEnumerable<Statement> clears)
    {
        var sizes = new Dictionary<int, long>();
        foreach (Statement.Store store in clears.SelectMany(c => c.Tree()).OfType<Statement.Store>())
            if (store.At.StrideOf(Part) is long stride and > 0)
                sizes[store.Operand] = stride;
            else
                return [];
        return sizes;
    }

    private static bool IsOfPart(Plans.Index index, long stride) => index.StrideOf(Part) == stride;

    private static Kernel FinishOf(Kernel kernel, Statement[] clears, Statement.Loop rows, int[] sums, long parts, long each)
    {
        var body = new List<Statement>();
        KernelOperand[] operands =
        [
            .. sums.Select(s => kernel.Operands[s] with { Access = Access.ReadWrite }),
            .. sums.Select(_ => new KernelOperand("pieces", ScalarType.F32, Access.Read)),
        ];
        foreach (Statement clear in clears)
            body.Add(Renumbered(clear, sums));
        foreach (Statement.Store clear in clears.SelectMany(c => c.Tree()).OfType<Statement.Store>())
        {
            int at = Array.IndexOf(sums, clear.Operand);
            long size = clear.At.StrideOf(Part)!.Value;
            Statement.Loop columns = ColumnLoop(clears, clear);
            var piece = new Plans.Index([.. clear.At.Terms.Where(t => t.Value is not Expr.Variable { Name: Part }),
                new IndexTerm(new Expr.Variable(Part), Extent.Of(size * each)), new IndexTerm(new Expr.Variable(Piece), Extent.Of(size))]);
            Operation join = JoinOf(rows, clear.Operand);
            Expr joined = new Expr.Apply(join, new Expr.Load(at, clear.At), new Expr.Load(sums.Length + at, piece));
            body.Add(new Statement.Loop(LoopKind.Serial, Piece, new Expr.Integer(0), new Expr.Integer(each), [Rewrapped(columns, clears, new Statement.Store(at, clear.At, joined))]));
        }
        return new Kernel(kernel.Name + " parts", operands, [], [new Statement.Loop(LoopKind.Grid, Part, new Expr.Integer(0), new Expr.Integer(parts), body)]);
    }

    private static Statement.Loop ColumnLoop(Statement[] clears, Statement.Store clear) =>
        clears.OfType<Statement.Loop>().First(l => l.Tree().Contains(clear));

    /// <summary>The loops around a store of the clearing, around another store.</summary>
    private static Statement Rewrapped(Statement.Loop columns, Statement[] clears, Statement.Store store) =>
        columns with { Body = [columns.Body[0] is Statement.Loop inner ? Rewrapped(inner, clears, store) : store] };

    private static Statement Renumbered(Statement statement, int[] sums) => statement switch
    {
        Statement.Loop loop => loop with { Body = [.. loop.Body.Select(s => Renumbered(s, sums))] },
        Statement.Store store => store with { Operand = Array.IndexOf(sums, store.Operand) },
        _ => statement,
    };

    private static Operation JoinOf(Statement.Loop rows, int operand) =>
        rows.Tree().OfType<Statement.Store>().First(s => s.Operand == operand).Value is Expr.Apply apply
            ? apply.Operation
            : throw new InvalidOperationException("a column sum is joined by an operation");

    /// <summary>The same statements over the smaller parts' operands.</summary>
    private sealed class Redirection(int[] sums, int first)
    {
        public Statement Of(Statement statement) => statement switch
        {
            Statement.Loop loop => loop with { Body = [.. loop.Body.Select(Of)] },
            Statement.Let let => let with { Value = Of(let.Value) },
            Statement.Accumulate accumulate => accumulate with { Value = Of(accumulate.Value) },
            Statement.Store store => store with { Operand = Of(store.Operand), Value = Of(store.Value) },
            _ => statement,
        };

        private Expr Of(Expr expression) => expression switch
        {
            Expr.Load load => load with { Operand = Of(load.Operand) },
            Expr.Apply apply => new Expr.Apply(apply.Operation, [.. apply.Operands.Select(Of)]),
            _ => expression,
        };

        private int Of(int operand) => Array.IndexOf(sums, operand) is var at && at >= 0 ? first + at : operand;
    }
}
