namespace Legato.Runtime.Training;

/// <summary>Turns durations of steps into speed and the time left.</summary>
internal sealed class TrainingClock(TrainingOptions options)
{
    /// <summary>How much of the average one step makes up.</summary>
    private const double Weight = 0.1;

    private double average;
    private long measured;
    private double total;

    public StepMetrics Measure(long done, StepResult result, double rate, TimeSpan duration)
    {
        double seconds = duration.TotalSeconds;
        total += seconds;
        measured++;
        // The first step is slower than the rest (cold caches) and must not stay in the average.
        average = measured <= 2 ? seconds : average + Weight * (seconds - average);
        return new StepMetrics(
            done, result.Loss, result.GradientNorm, rate, options.TokensPerStep / seconds, total, average * (options.Steps - done));
    }
}
