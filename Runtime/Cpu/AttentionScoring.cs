using Legato.Runtime.Plans;
using static Legato.Runtime.Plans.Operation;

namespace Legato.Runtime.Cpu;

/// <summary>Which of a score tile's axes is contiguous; the kernel is vectorised along it.</summary>
internal enum ScoreLayout
{
    QueriesContiguous,
    KeysContiguous,
}

/// <summary>
/// What an attention does to a tile of scaled products: the score modification, and -inf for what the mask hides.
/// Written in the kernel IR and compiled once, with a mask and without: full tiles need none.
/// </summary>
internal sealed unsafe class AttentionScoring
{
    /// <summary>Operands before the step's extra ones: scores, and slopes for the gradient.</summary>
    public const int ScoreOperands = 2;

    private readonly ScoreLayout layout;
    private readonly AttentionScoreKernel? masked;
    private readonly AttentionScoreKernel? unmasked;

    /// <param name="shape">Its Mask and Score.</param>
    /// <param name="slope">d score / d (scaled product); null where it isn't wanted or is 1.</param>
    private AttentionScoring(AttentionShape shape, Expr? slope, ScoreLayout layout, IReadOnlyList<ScalarType> extraTypes, KernelCompiler compiler)
    {
        this.layout = layout;
        HasSlopes = slope is not null;
        if (shape.Mask is not null)
            masked = new(compiler.Compile(Tile(shape.Mask, shape.Score, slope, layout, extraTypes)));
        if (shape.Score is not null)
            unmasked = new(compiler.Compile(Tile(null, shape.Score, slope, layout, extraTypes)));
    }

    /// <summary>Whether tiles get d score / d (scaled product) too; without, it is 1 everywhere.</summary>
    public bool HasSlopes { get; }

    /// <param name="extraTypes">Element types of the step's extra operands.</param>
    public static AttentionScoring Forward(AttentionShape shape, ScoreLayout layout, IReadOnlyList<ScalarType> extraTypes, KernelCompiler compiler) =>
        new(shape, null, layout, extraTypes, compiler);

    /// <inheritdoc cref="Forward"/>
    public static AttentionScoring Gradient(AttentionShape shape, IReadOnlyList<ScalarType> extraTypes, KernelCompiler compiler)
    {
        Expr? slope = shape.Score is null ? null : Derivative.Of(shape.Score, "score");
        return new(shape, slope is Expr.Number { Value: 1 } ? null : slope, ScoreLayout.QueriesContiguous, extraTypes, compiler);
    }

    /// <summary>Takes the values of the plan's dynamic dimensions.</summary>
    public void Bind(Func<string, long> dimension)
    {
        masked?.Bind(dimension);
        unmasked?.Bind(dimension);
    }

    /// <summary>Rewrites the scores of one head's part of a tile.</summary>
    /// <param name="kind">Full where the mask hides nothing, else Partial.</param>
    /// <param name="operands">Room for <see cref="ScoreOperands"/> pointers, then the step's extra operands.</param>
    /// <param name="scores">The score of the first query and the first key.</param>
    /// <param name="slopes">Where its slope goes; not looked at without slopes.</param>
    /// <param name="row">Elements between neighbours on the axis that is not contiguous.</param>
    public void Apply(TileKind kind, nint* operands, float* scores, float* slopes, in ScoreTile tile, long row)
    {
        AttentionScoreKernel? kernel = kind == TileKind.Full ? unmasked : masked;
        if (kernel is null)
            return;
        // The kernel addresses by position, so the pointers go to where position (0, 0) would lie.
        long origin = layout == ScoreLayout.QueriesContiguous
            ? tile.FirstQuery + tile.FirstKey * row
            : tile.FirstQuery * row + tile.FirstKey;
        operands[0] = (nint)(scores - origin);
        operands[1] = (nint)(slopes - origin);
        kernel.Run(operands, tile, row);
    }

    private static Kernel Tile(Expr? mask, Expr? score, Expr? slope, ScoreLayout layout, IReadOnlyList<ScalarType> extraTypes)
    {
        (string outer, string inner) = layout == ScoreLayout.QueriesContiguous ? ("k", "q") : ("q", "k");
        var at = new Plans.Index(
            new IndexTerm(new Expr.Apply(Multiply, new Expr.Variable(outer), new Expr.Variable("row")), Extent.One),
            new IndexTerm(new Expr.Variable(inner), Extent.One));

        var body = new List<Statement> { new Statement.Let("score", new Expr.Load(0, at)) };
        Expr? visible = null;
        if (mask is not null)
        {
            body.Add(new Statement.Let("visible", AfterScores(mask)));
            visible = new Expr.Variable("visible");
        }
        Expr changed = score is null ? new Expr.Variable("score") : AfterScores(score);
        body.Add(new Statement.Store(0, at, Where(visible, changed, double.NegativeInfinity)));
        if (slope is not null)
            body.Add(new Statement.Store(1, at, Where(visible, AfterScores(slope), 0)));

        List<KernelOperand> operands =
        [
            new("scores", ScalarType.F32, Access.ReadWrite),
            new("slopes", ScalarType.F32, Access.Write),
            .. extraTypes.Select((type, i) => new KernelOperand($"extra{i}", type, Access.Read)),
        ];
        return new Kernel(
            "attention scores", operands, AttentionScoreKernel.Arguments,
            [Loop(LoopKind.Grid, outer, [Loop(LoopKind.Vector, inner, body)])]);
    }

    private static Expr Where(Expr? visible, Expr value, double otherwise) =>
        visible is null ? value : new Expr.Apply(Select, visible, value, new Expr.Number(otherwise));

    private static Statement.Loop Loop(LoopKind kind, string variable, IReadOnlyList<Statement> body) =>
        new(kind, variable, new Expr.Variable(variable + "0"), new Expr.Variable(variable + "1"), body);

    /// <summary>The expression with its loads moved behind the score operands.</summary>
    private static Expr AfterScores(Expr expression) => expression switch
    {
        Expr.Load load => new Expr.Load(
            load.Operand + ScoreOperands,
            new Plans.Index([.. load.At.Terms.Select(term => term with { Value = AfterScores(term.Value) })])),
        Expr.Apply apply => new Expr.Apply(apply.Operation, [.. apply.Operands.Select(AfterScores)]),
        _ => expression,
    };
}
