using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// A kernel that reduces one long vector, cut in two so that workers can share it: the first folds pieces of a fixed
/// length, each into one element of an operand of its own, the second folds the pieces. The pieces' length is a
/// constant, so the result doesn't depend on the number of workers; it is also more accurate than one long sum.
/// </summary>
/// <param name="Fold">A grid over the pieces; its last operands are the pieces' results, one for each accumulator.</param>
/// <param name="Finish">The rest of the kernel, over the same operands.</param>
/// <param name="Pieces">How many there are.</param>
/// <param name="Accumulators">How many results a piece has.</param>
internal sealed record KernelSplit(Kernel Fold, Kernel Finish, long Pieces, int Accumulators)
{
    private const long PieceLength = 1 << 15;
    private const string PieceVariable = "piece of the sum";

    /// <summary>Null for other kernels, and for vectors too short to pay.</summary>
    public static KernelSplit? Of(Kernel kernel)
    {
        int at = 0;
        while (at < kernel.Body.Count && kernel.Body[at] is Statement.Let or Statement.Accumulator)
            at++;
        if (kernel.Arguments.Count > 0 || at == kernel.Body.Count || kernel.Body[at] is not Statement.Loop { Kind: LoopKind.Vector } loop)
            return null;
        if (loop.From.Constant() is not long from || loop.To.Constant() is not long to || to - from < 2 * PieceLength)
            return null;
        Statement.Accumulator[] accumulators = [.. kernel.Body.Take(at).OfType<Statement.Accumulator>()];
        IEnumerable<Statement> rest = kernel.Body.Skip(at + 1);
        if (accumulators.Length == 0 || rest.Any(s => s is Statement.Loop or Statement.Accumulator) || loop.Body.Any(s => s is Statement.Loop))
            return null;

        // Both parts evaluate the names, the second after the loop.
        HashSet<int> stored = KernelAnalysis.Stored(loop.Body);
        Statement.Let[] names = [.. kernel.Body.Take(at).OfType<Statement.Let>()];
        if (names.Any(name => name.Value.LoadsAny(stored)))
            return null;

        long pieces = (to - from + PieceLength - 1) / PieceLength;
        return new KernelSplit(
            kernel with { Name = kernel.Name + " pieces", Operands = WithPieces(kernel, accumulators, Access.Write), Body = FoldBody(kernel, names, accumulators, loop, from, pieces) },
            kernel with { Operands = WithPieces(kernel, accumulators, Access.Read), Body = [.. names, .. FinishBody(kernel, accumulators, pieces), .. rest] },
            pieces, accumulators.Length);
    }

    private static IReadOnlyList<Statement> FoldBody(
        Kernel kernel, Statement.Let[] names, Statement.Accumulator[] accumulators, Statement.Loop loop, long from, long pieces)
    {
        Expr piece = new Expr.Variable(PieceVariable);
        Expr start = new Expr.Apply(Operation.Add, new Expr.Apply(Operation.Multiply, piece, new Expr.Integer(PieceLength)), new Expr.Integer(from));
        Expr end = new Expr.Apply(Operation.Minimum, new Expr.Apply(Operation.Add, start, new Expr.Integer(PieceLength)), loop.To);
        IEnumerable<Statement> stores = accumulators.Select((a, i) =>
            (Statement)new Statement.Store(kernel.Operands.Count + i, At(PieceVariable), new Expr.Variable(a.Name)));
        return [new Statement.Loop(
            LoopKind.Grid, PieceVariable, new Expr.Integer(0), new Expr.Integer(pieces),
            [.. names, .. accumulators, loop with { From = start, To = end }, .. stores])];
    }

    private static IEnumerable<Statement> FinishBody(Kernel kernel, Statement.Accumulator[] accumulators, long pieces) =>
        accumulators.SelectMany((a, i) => new Statement[]
        {
            a,
            new Statement.Loop(
                LoopKind.Vector, PieceVariable, new Expr.Integer(0), new Expr.Integer(pieces),
                [new Statement.Accumulate(a.Name, new Expr.Load(kernel.Operands.Count + i, At(PieceVariable)))]),
        });

    private static Plans.Index At(string variable) => new(new IndexTerm(new Expr.Variable(variable), Extent.One));

    private static IReadOnlyList<KernelOperand> WithPieces(Kernel kernel, Statement.Accumulator[] accumulators, Access access) =>
        [.. kernel.Operands, .. accumulators.Select(a => new KernelOperand(a.Name, ScalarType.F32, access))];
}
