using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>
/// With p = exp(score - logSumExp) and dp = outputGradient · v: dv = Σ p · outputGradient,
/// d(q·k) = p (dp - output · outputGradient) · score′, dq = Σ d(q·k) k, dk = Σ d(q·k) q.
/// A key head's gradients sum over the query heads that share it.
/// </summary>
internal sealed class AttentionGradientStep
{
    private readonly AttentionScores scores;
    private readonly HeadView query, key, value, output, outputGradient;
    private readonly ElementView logSumExp, rowDot;
    private readonly double[] keySums, valueSums;

    private AttentionGradientStep(InterpreterExecutable executable, Step.AttentionGradient step)
    {
        scores = new AttentionScores(executable, step.Shape, step.Extra);
        (query, key, value) = (new(executable, step.Query), new(executable, step.Key), new(executable, step.Value));
        (output, outputGradient) = (new(executable, step.Output), new(executable, step.OutputGradient));
        (logSumExp, rowDot) = (executable.View(step.LogSumExp), executable.View(step.RowDot));
        keySums = new double[scores.Keys * scores.HeadSize];
        valueSums = new double[scores.Keys * scores.ValueSize];
    }

    public static void Execute(InterpreterExecutable executable, Step.AttentionGradient step)
    {
        var gradient = new AttentionGradientStep(executable, step);
        AttentionScores scores = gradient.scores;
        HeadView queryGradient = new(executable, step.QueryGradient);
        HeadView keyGradient = new(executable, step.KeyGradient), valueGradient = new(executable, step.ValueGradient);
        for (long b = 0; b < scores.Batch; b++)
            for (long keyHead = 0; keyHead < scores.Heads / scores.Group; keyHead++)
            {
                Array.Clear(gradient.keySums);
                Array.Clear(gradient.valueSums);
                for (long h = keyHead * scores.Group; h < (keyHead + 1) * scores.Group; h++)
                    for (long i = 0; i < scores.Queries; i++)
                        gradient.AddRow(b, h, i, queryGradient);
                Store(gradient.keySums, keyGradient, b, keyHead, scores.Keys, scores.HeadSize);
                Store(gradient.valueSums, valueGradient, b, keyHead, scores.Keys, scores.ValueSize);
            }
    }

    private void AddRow(long b, long h, long i, HeadView queryGradient)
    {
        long keyHead = h / scores.Group, row = (b * scores.Heads + h) * scores.Queries + i;
        double dot = 0;
        for (long d = 0; d < scores.ValueSize; d++)
            dot += output[b, i, h, d] * outputGradient[b, i, h, d];
        rowDot.Store(row, dot);

        var querySums = new double[scores.HeadSize];
        for (long k = 0; k < scores.Keys; k++)
        {
            if (!scores.Admits(b, h, i, k))
                continue;
            double product = scores.Dot(query, key, b, h, i, k);
            double probability = Math.Exp(scores.Score(b, h, i, k, product) - logSumExp.Float(row));
            double probabilityGradient = 0;
            for (long d = 0; d < scores.ValueSize; d++)
            {
                probabilityGradient += outputGradient[b, i, h, d] * value[b, k, keyHead, d];
                valueSums[k * scores.ValueSize + d] += probability * outputGradient[b, i, h, d];
            }
            double productGradient = probability * (probabilityGradient - dot) * scores.Slope(b, h, i, k, product);
            for (long d = 0; d < scores.HeadSize; d++)
            {
                querySums[d] += productGradient * key[b, k, keyHead, d];
                keySums[k * scores.HeadSize + d] += productGradient * query[b, i, h, d];
            }
        }
        for (long d = 0; d < scores.HeadSize; d++)
            queryGradient.Store(b, i, h, d, querySums[d]);
    }

    private static void Store(double[] sums, HeadView target, long b, long head, long positions, long size)
    {
        for (long s = 0; s < positions; s++)
            for (long d = 0; d < size; d++)
                target.Store(b, s, head, d, sums[s * size + d]);
    }
}
