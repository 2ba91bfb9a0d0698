namespace Legato.Runtime.Generation;

/// <summary>
/// Chooses a token from logits. Deterministic: the same logits, settings and uniform number give the same token.
/// Allocates nothing after its construction; not for use by two threads at once.
/// </summary>
public sealed class Sampler(int vocabulary)
{
    private readonly int[] tokens = new int[vocabulary];

    // Keys of the tokens: logits first, then probabilities; negated where they are sorted.
    private readonly double[] keys = new double[vocabulary];

    /// <param name="logits">One for each token of the vocabulary.</param>
    /// <param name="uniform">A random number in [0, 1).</param>
    /// <exception cref="LegatoException">A logit is NaN, or none is finite.</exception>
    public int Choose(ReadOnlySpan<float> logits, Sampling sampling, double uniform)
    {
        int best = Likeliest(logits);
        if (sampling.Temperature == 0 || sampling.TopK == 1)
            return best;
        int count = Candidates(logits, sampling.TopK);
        double total = Weigh(count, logits[best], sampling.Temperature);
        if (sampling.TopP < 1)
            (count, total) = Nucleus(count, total, sampling.TopP);
        return Draw(count, total * uniform);
    }

    /// <summary>The token of the largest logit; the first of equals.</summary>
    /// <exception cref="LegatoException">A logit is NaN, or none is finite.</exception>
    public static int Likeliest(ReadOnlySpan<float> logits)
    {
        int best = 0;
        bool isNaN = false;
        for (int i = 0; i < logits.Length; i++)
        {
            isNaN |= float.IsNaN(logits[i]);
            if (logits[i] > logits[best])
                best = i;
        }
        return !isNaN && float.IsFinite(logits[best]) ? best : throw new LegatoException(
            "the model gave a logit that is no finite number", remedy: "the weights may be damaged, or too large for this precision: try --precision fp32");
    }

    // Fills tokens and their logits, all or the topK likeliest.
    private int Candidates(ReadOnlySpan<float> logits, int topK)
    {
        if (topK == 0 || topK >= logits.Length)
        {
            for (int i = 0; i < logits.Length; i++)
                (tokens[i], keys[i]) = (i, logits[i]);
            return logits.Length;
        }
        int count = 0;
        for (int i = 0; i < logits.Length; i++)
            if (count < topK)
                Push(count++, i, logits[i]);
            else if (logits[i] > keys[0])
                ReplaceRoot(count, i, logits[i]);
        return count;
    }

    // Turns logits into weights relative to the likeliest token's; gives their sum.
    private double Weigh(int count, double peak, double temperature)
    {
        double total = 0;
        for (int i = 0; i < count; i++)
            total += keys[i] = Math.Exp((keys[i] - peak) / temperature);
        return total;
    }

    // Keeps the fewest likeliest candidates that reach the share, likeliest first.
    private (int Count, double Total) Nucleus(int count, double total, double share)
    {
        // Candidates below this weight make up less than 1 - share together: they are never in the nucleus.
        double least = (1 - share) * total / count;
        int kept = 0;
        for (int i = 0; i < count; i++)
            if (keys[i] >= least)
                (tokens[kept], keys[kept++]) = (tokens[i], -keys[i]);
        keys.AsSpan(0, kept).Sort(tokens.AsSpan(0, kept));
        double sum = 0;
        for (int i = 0; i < kept; i++)
        {
            sum += keys[i] = -keys[i];
            if (sum >= share * total)
                return (i + 1, sum);
        }
        return (kept, sum);
    }

    private int Draw(int count, double target)
    {
        int last = 0;
        for (int i = 0; i < count; i++)
        {
            if (keys[i] <= 0)
                continue;
            last = i;
            target -= keys[i];
            if (target < 0)
                break;
        }
        return tokens[last];
    }

    // A heap whose root is the smallest of the likeliest so far.
    private void Push(int place, int token, double key)
    {
        while (place > 0 && keys[(place - 1) / 2] > key)
        {
            (tokens[place], keys[place]) = (tokens[(place - 1) / 2], keys[(place - 1) / 2]);
            place = (place - 1) / 2;
        }
        (tokens[place], keys[place]) = (token, key);
    }

    private void ReplaceRoot(int count, int token, double key)
    {
        int place = 0;
        for (int child = 1; child < count; child = 2 * place + 1)
        {
            if (child + 1 < count && keys[child + 1] < keys[child])
                child++;
            if (keys[child] >= key)
                break;
            (tokens[place], keys[place]) = (tokens[child], keys[child]);
            place = child;
        }
        (tokens[place], keys[place]) = (token, key);
    }
}
