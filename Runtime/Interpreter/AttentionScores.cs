using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>The sizes of an attention, its mask and its score expression, evaluated for one (query, key) at a time.</summary>
internal sealed class AttentionScores
{
    private const string ScoreName = "score";
    private readonly AttentionShape shape;
    private readonly Evaluator evaluator;
    private readonly Expr slope;

    public AttentionScores(InterpreterExecutable executable, AttentionShape shape, IReadOnlyList<BufferView> extra)
    {
        this.shape = shape;
        evaluator = new Evaluator(executable, extra);
        slope = shape.Score is null ? new Expr.Number(1) : Derivative.Of(shape.Score, ScoreName);
        Batch = executable.Size(shape.Batch);
        Heads = executable.Size(shape.Heads);
        Group = Heads / executable.Size(shape.KeyHeads);
        Queries = executable.Size(shape.QueryLength);
        Keys = executable.Size(shape.KeyLength);
        HeadSize = executable.Size(shape.HeadSize);
        ValueSize = executable.Size(shape.ValueSize);
    }

    public long Batch { get; }

    public long Heads { get; }

    /// <summary>Query heads that share a key head.</summary>
    public long Group { get; }

    public long Queries { get; }

    public long Keys { get; }

    public long HeadSize { get; }

    public long ValueSize { get; }

    /// <summary>Whether the query at position <paramref name="q"/> may see the key at position <paramref name="k"/>.</summary>
    public bool Admits(long b, long h, long q, long k)
    {
        At(b, h, q, k);
        return shape.Mask is null || evaluator.Evaluate(shape.Mask).Boolean;
    }

    /// <summary>The score that enters the softmax, of q · k.</summary>
    public double Score(long b, long h, long q, long k, double dot)
    {
        At(b, h, q, k);
        if (shape.Score is null)
            return shape.Scale * dot;
        evaluator.Variables[ScoreName] = shape.Scale * dot;
        return evaluator.Evaluate(shape.Score).Float;
    }

    /// <summary>d Score / d (q · k).</summary>
    public double Slope(long b, long h, long q, long k, double dot)
    {
        At(b, h, q, k);
        evaluator.Variables[ScoreName] = shape.Scale * dot;
        return evaluator.Evaluate(slope).Float * shape.Scale;
    }

    public double Dot(in HeadView query, in HeadView key, long b, long h, long i, long k)
    {
        double sum = 0;
        for (long d = 0; d < HeadSize; d++)
            sum += query[b, i, h, d] * key[b, k, h / Group, d];
        return sum;
    }

    private void At(long b, long h, long q, long k)
    {
        evaluator.Variables["b"] = b;
        evaluator.Variables["h"] = h;
        evaluator.Variables["q"] = q;
        evaluator.Variables["k"] = k;
    }
}
