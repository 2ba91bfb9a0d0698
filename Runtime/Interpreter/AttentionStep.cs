using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>
/// output = Σ_k softmax_k(score) · v over the keys that the mask admits. A query that may see no key gets zeros and a
/// log-sum-exp of -inf.
/// </summary>
internal static class AttentionStep
{
    public static void Execute(InterpreterExecutable executable, Step.Attention step)
    {
        var scores = new AttentionScores(executable, step.Shape, step.Extra);
        ElementView? past = step.Past is null ? null : executable.View(step.Past);
        for (long b = 0; b < scores.Batch; b++)
        {
            long first = past?.Integer(b) ?? 0;
            long keys = past is null ? scores.Keys : first + scores.Queries;
            for (long h = 0; h < scores.Heads; h++)
                for (long i = 0; i < scores.Queries; i++)
                    ExecuteRow(executable, step, scores, b, h, i, first + i, keys);
        }
    }

    private static void ExecuteRow(
        InterpreterExecutable executable, Step.Attention step, AttentionScores scores, long b, long h, long i, long position, long keys)
    {
        HeadView query = new(executable, step.Query), key = new(executable, step.Key);
        HeadView value = new(executable, step.Value), output = new(executable, step.Output);
        var row = new double[keys];
        for (long k = 0; k < keys; k++)
            row[k] = scores.Admits(b, h, position, k)
                ? scores.Score(b, h, position, k, scores.Dot(query, key, b, h, i, k))
                : double.NegativeInfinity;

        double largest = row.Max();
        bool empty = double.IsNegativeInfinity(largest);
        double sum = empty ? 0 : row.Sum(s => Math.Exp(s - largest));
        for (long d = 0; d < scores.ValueSize; d++)
        {
            double weighted = 0;
            for (long k = 0; k < keys && !empty; k++)
                if (!double.IsNegativeInfinity(row[k]))
                    weighted += Math.Exp(row[k] - largest) / sum * value[b, k, h / scores.Group, d];
            output.Store(b, i, h, d, weighted);
        }
        if (step.LogSumExp is { } logSumExp)
            executable.View(logSumExp).Store((b * scores.Heads + h) * scores.Queries + i, largest + (empty ? 0 : Math.Log(sum)));
    }
}
