using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// A kernel that walks through elements which lie one after another, with their number taken out of it: written so, kernels
/// over tensors of other shapes and sizes have one text.
/// </summary>
/// <param name="Kernel">Its vector loop ends at <see cref="Granule"/> times the dimension <see cref="Elements"/>.</param>
/// <param name="Count">How many elements there are.</param>
internal sealed record FlatKernel(Kernel Kernel, long Count)
{
    /// <summary>The dimension that stands for the number of elements: no dimension of a plan has such a name.</summary>
    private const string Elements = "elements of a tensor";

    /// <summary>Threads of a block of elements, each of which takes a vector; the largest number that the elements' is told to be a multiple of.</summary>
    private const long Threads = 256, LargestGranule = 16;

    /// <summary>So many elements are numbered in 32 bits.</summary>
    private const long MostNarrow = 1 << 29;

    /// <summary>Its loops' variables: no other name has a space.</summary>
    private const string Position = "of the tensor", Block = "block of the tensor";

    /// <summary>A power of two that divides the number of elements: so long are the vectors that it is made of.</summary>
    private long Granule => GranuleOf(Count);

    /// <summary>Null for kernels that do something else, or whose number of elements isn't constant.</summary>
    public static FlatKernel? Of(Kernel kernel, IReadOnlyList<OperandMemory> memory)
    {
        var names = new List<Statement>();
        var grid = new List<Statement.Loop>();
        IReadOnlyList<Statement> body = kernel.Body;
        while (body is [.., Statement.Loop { Kind: LoopKind.Grid } outer] && body.SkipLast(1).All(s => s is Statement.Let))
        {
            names.AddRange(body.SkipLast(1));
            grid.Add(outer);
            body = outer.Body;
        }
        int at = 0;
        while (at < body.Count && body[at] is Statement.Let or Statement.Accumulator)
            at++;
        if (kernel.Arguments.Count > 0 || at == body.Count || body[at] is not Statement.Loop loop || !loop.IsVector() || body.Skip(at + 1).Any(s => s is Statement.Loop))
            return null;
        names.AddRange(body.Take(at));
        Statement[] rest = [.. body.Skip(at + 1)];
        bool isOfElements = rest.Length == 0 && names.All(s => s is Statement.Let let && !grid.Exists(g => let.Value.Mentions(g.Variable)));
        return isOfElements ? OfElements(kernel, grid, names, loop, memory) : OfSums(kernel, grid, names, loop, rest);
    }

    /// <summary>A size of the kernel, which has dimensions of the plan beside its own.</summary>
    public long Size(Extent extent, Func<string, long> dimension) => extent.Evaluate(name => name == Elements ? Count / Granule : dimension(name));

    /// <summary>The values that a size may have in the text.</summary>
    public IntegerRange Bounds(Extent extent, Func<Extent, IntegerRange> bounds) => extent.Dimensions.Contains(Elements)
        ? new IntegerRange(Granule, Count <= MostNarrow ? MostNarrow : long.MaxValue / 4)
        : bounds(extent);

    /// <summary>Loops that together go through all elements, or blocks of them: blocks of a vector for each thread take their place.</summary>
    private static FlatKernel? OfElements(Kernel kernel, List<Statement.Loop> grid, List<Statement> names, Statement.Loop loop, IReadOnlyList<OperandMemory> memory)
    {
        long elements = 1;
        var strides = new Dictionary<string, long>();
        if (grid is [var only] && PiecesOf(only, loop) is { } whole)
        {
            strides.Add(loop.Variable, 1);
            elements = whole;
        }
        else
        {
            foreach (Statement.Loop level in grid.Append(loop).Reverse())
            {
                if (level is not { From: Expr.Integer { Value: 0 }, To: Expr.Integer size })
                    return null;
                strides.Add(level.Variable, elements);
                elements *= size.Value;
            }
        }
        if (elements == 0)
            return null;
        IReadOnlyList<Statement> walked = KernelRewriting.Indices(loop.Body, (_, index) => IsFlat(index) ? new Plans.Index(new IndexTerm(new Expr.Variable(Position), Extent.One)) : index);
        if (walked.SelectMany(s => s.Expressions()).Any(e => grid.Append(loop).Any(l => e.Mentions(l.Variable))))
            return null;
        FlatKernel widest = InBlocks(LargestGranule * Threads);
        return InBlocks(VectorLoop.Widths(widest.Kernel.Body[0].Tree().OfType<Statement.Loop>().Where(l => l.IsVector()), kernel, memory).Values.Single() * Threads);

        // The place that the variables of all loops count up to together.
        bool IsFlat(Plans.Index index) => index.Terms.Length > 0 && index.Terms.All(t => t.Value is Expr.Variable v && strides.ContainsKey(v.Name))
            && strides.Where(s => s.Value < elements).All(s => index.StrideOf(s.Key) == s.Value);

        FlatKernel InBlocks(long length)
        {
            Expr from = new Expr.Apply(Operation.Multiply, new Expr.Variable(Block), new Expr.Integer(length));
            Expr to = new Expr.Apply(Operation.Minimum, new Expr.Apply(Operation.Add, from, new Expr.Integer(length)), Number(elements));
            Statement[] body = [.. names, new Statement.Loop(LoopKind.Vector, Position, from, to, walked)];
            return new FlatKernel(kernel with { Body = [new Statement.Loop(LoopKind.Grid, Block, new Expr.Integer(0), Pieces(elements, length), body)] }, elements);
        }
    }

    /// <summary>One loop that sums, whole or in pieces that a grid goes through.</summary>
    private static FlatKernel? OfSums(Kernel kernel, List<Statement.Loop> grid, List<Statement> names, Statement.Loop loop, Statement[] rest)
    {
        IReadOnlyList<Statement> walked = KernelRewriting.Indices(loop.Body, (_, index) => new Plans.Index([.. index.Terms.Select(Renamed)]));
        if (walked.SelectMany(s => s.Expressions()).Any(e => e.Mentions(loop.Variable)))
            return null;
        Statement[] Body(Expr to) => [.. names, loop with { Variable = Position, To = to, Body = walked }, .. rest];
        switch (grid)
        {
            case [] when loop is { From: Expr.Integer { Value: 0 }, To: Expr.Integer end }:
                return new FlatKernel(kernel with { Body = Body(Number(end.Value)) }, end.Value);
            case [var pieces] when PiecesOf(pieces, loop) is { } elements && loop is { To: Expr.Apply { Operands: [var next, _] } } && loop.Length() is Expr.Integer piece:
                Kernel one = kernel with { Arguments = [pieces.Variable], Body = Body(new Expr.Apply(Operation.Minimum, next, Number(elements))) };
                Statement all = pieces with { Variable = Block, To = Pieces(elements, piece.Value), Body = one.Applied([new Expr.Variable(Block)]).Body };
                return new FlatKernel(kernel with { Body = [all] }, elements);
            default:
                return null;
        }

        IndexTerm Renamed(IndexTerm term) => term.Value is Expr.Variable variable && variable.Name == loop.Variable ? term with { Value = new Expr.Variable(Position) } : term;
    }

    /// <summary>The number of elements that a loop goes through in all iterations of the one around it, each of which has a piece of them; else null.</summary>
    private static long? PiecesOf(Statement.Loop pieces, Statement.Loop loop) =>
        pieces.From is Expr.Integer { Value: 0 } && IsNumber(pieces.To) && loop.Length() is Expr.Integer piece
            && loop.To is Expr.Apply { Operation: Operation.Minimum, Operands: [_, Expr.Integer end] } && loop.From.Mentions(pieces.Variable)
            && LaunchValue.Of(pieces.To, extent => extent.Constant) == (end.Value + piece.Value - 1) / piece.Value
            ? end.Value
            : null;

    private static bool IsNumber(Expr expression) => expression is Expr.Integer || (expression is Expr.Apply apply && Array.TrueForAll(apply.Operands, IsNumber));

    /// <summary>How many pieces of so many elements there are.</summary>
    private static Expr Pieces(long elements, long piece) =>
        new Expr.Apply(Operation.Divide, new Expr.Apply(Operation.Add, Number(elements), new Expr.Integer(piece - 1)), new Expr.Integer(piece));

    private static Expr Number(long elements) => new Expr.Size(Extent.Of(GranuleOf(elements)) * Extent.Dimension(Elements));

    private static long GranuleOf(long count) => Math.Min(LargestGranule, count & -count);
}
