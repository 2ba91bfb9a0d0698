using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// The part of an attention step that doesn't change from launch to launch: its mask and score modification, analysed
/// and compiled.
/// </summary>
internal sealed class AttentionProgram
{
    private readonly Expr? mask;

    private AttentionProgram(AttentionShape shape, int extraCount)
    {
        mask = shape.Mask;
        Scale = (float)shape.Scale;
        ExtraCount = extraCount;
        Tiles = new MaskTiles(null);
    }

    public float Scale { get; }

    public int ExtraCount { get; }

    public MaskTiles Tiles { get; private set; }

    /// <summary>What the mask reads; null where it reads nothing, or where that isn't known before the scores are.</summary>
    public IMaskOperands? Operands { get; set; }

    /// <summary>For blocks of several queries: score tiles hold a row for each key.</summary>
    public required AttentionScoring ByQueries { get; init; }

    /// <summary>For a single query a head: score tiles hold a row for each head. The gradient has none.</summary>
    public AttentionScoring? ByKeys { get; private init; }

    /// <summary>The program of a forward step.</summary>
    /// <param name="dimension">Values of the plan's dynamic dimensions.</param>
    /// <param name="extraTypes">Element types of the step's extra operands.</param>
    public static AttentionProgram Forward(
        AttentionShape shape, Func<string, long> dimension, IReadOnlyList<ScalarType> extraTypes, KernelCompiler compiler)
    {
        var program = new AttentionProgram(shape, extraTypes.Count)
        {
            ByQueries = AttentionScoring.Forward(shape, ScoreLayout.QueriesContiguous, extraTypes, compiler),
            ByKeys = AttentionScoring.Forward(shape, ScoreLayout.KeysContiguous, extraTypes, compiler),
        };
        program.Bind(dimension);
        return program;
    }

    /// <summary>The program of a gradient step.</summary>
    /// <inheritdoc cref="Forward"/>
    public static AttentionProgram Gradient(
        AttentionShape shape, Func<string, long> dimension, IReadOnlyList<ScalarType> extraTypes, KernelCompiler compiler)
    {
        var program = new AttentionProgram(shape, extraTypes.Count)
        {
            ByQueries = AttentionScoring.Gradient(shape, extraTypes, compiler),
        };
        program.Bind(dimension);
        return program;
    }

    /// <summary>Takes new values of the dynamic dimensions; not while a run is in progress.</summary>
    public void Bind(Func<string, long> dimension)
    {
        Tiles = new MaskTiles(mask, dimension);
        ByQueries.Bind(dimension);
        ByKeys?.Bind(dimension);
    }
}
