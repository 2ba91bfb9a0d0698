namespace Legato.Runtime.Training;

/// <summary>
/// Watches the loss. A spike is a loss above the mean of the last 64 steps by more than six of their standard deviations
/// and by more than half; it is looked for once 16 steps are known.
/// </summary>
public sealed class LossAlarm
{
    private const int Window = 64;
    private const int Fewest = 16;
    private const double Deviations = 6;
    private const double Ratio = 1.5;

    private readonly float[] last = new float[Window];
    private long seen;

    /// <summary>Whether a finite loss is a spike against those before it; the loss joins them.</summary>
    public bool IsSpike(float loss)
    {
        bool spike = seen >= Fewest && IsAbove(loss);
        last[seen++ % Window] = loss;
        return spike;
    }

    private bool IsAbove(float loss)
    {
        ReadOnlySpan<float> known = last.AsSpan(0, (int)Math.Min(seen, Window));
        double sum = 0, squares = 0;
        foreach (float x in known)
        {
            sum += x;
            squares += (double)x * x;
        }
        double mean = sum / known.Length;
        double deviation = Math.Sqrt(Math.Max(0, squares / known.Length - mean * mean));
        return loss > mean + Deviations * deviation && loss > Ratio * mean;
    }
}
