using System.Text.Json.Serialization;

namespace Legato.Runtime.Training;

/// <summary>
/// The learning rate of each step: it rises in <paramref name="WarmUp"/> steps, linearly, to <paramref name="Peak"/>
/// (step 0 has Peak / WarmUp), then follows the schedule.
/// </summary>
[JsonDerivedType(typeof(Constant), "constant")]
[JsonDerivedType(typeof(Cosine), "cosine")]
[JsonDerivedType(typeof(Linear), "linear")]
[JsonDerivedType(typeof(WarmUpStableDecay), "wsd")]
public abstract record LearningRate(double Peak, long WarmUp)
{
    /// <summary>The rate of a step, counted from 0.</summary>
    public double At(long step) => step < WarmUp ? Peak * (step + 1) / WarmUp : Peak * Share(step);

    /// <summary>The schedule in words.</summary>
    [JsonIgnore]
    public string Description => FormattableString.Invariant($"up to {Peak} in {Counted.Of(WarmUp, "step")}, then {Course}");

    /// <summary>What comes after the warm-up, in words.</summary>
    protected abstract string Course { get; }

    /// <summary>The share of the peak after the warm-up.</summary>
    protected abstract double Share(long step);

    private static double Progress(long step, long from, long to) => to <= from ? 1 : Math.Clamp((double)(step - from) / (to - from), 0, 1);

    /// <summary>Stays at the peak.</summary>
    public sealed record Constant(double Peak, long WarmUp) : LearningRate(Peak, WarmUp)
    {
        protected override string Course => "constant";

        protected override double Share(long step) => 1;
    }

    /// <summary>
    /// Falls along half a cosine (Loshchilov and Hutter 2017, SGDR, equation 5), to <paramref name="Least"/> of the peak
    /// at step <paramref name="Steps"/>.
    /// </summary>
    public sealed record Cosine(double Peak, long WarmUp, long Steps, double Least) : LearningRate(Peak, WarmUp)
    {
        protected override string Course => FormattableString.Invariant($"along half a cosine to {Least * Peak:G6} at step {Steps}");

        protected override double Share(long step) => Least + (1 - Least) * 0.5 * (1 + Math.Cos(Math.PI * Progress(step, WarmUp, Steps)));
    }

    /// <summary>Falls along a line, to <paramref name="Least"/> of the peak at step <paramref name="Steps"/>.</summary>
    public sealed record Linear(double Peak, long WarmUp, long Steps, double Least) : LearningRate(Peak, WarmUp)
    {
        protected override string Course => FormattableString.Invariant($"along a line to {Least * Peak:G6} at step {Steps}");

        protected override double Share(long step) => 1 - (1 - Least) * Progress(step, WarmUp, Steps);
    }

    /// <summary>
    /// Warm-up, stable, decay (Hu et al. 2024, MiniCPM, section 4): stays at the peak, then falls along a line in the last
    /// <paramref name="Decay"/> steps.
    /// </summary>
    public sealed record WarmUpStableDecay(double Peak, long WarmUp, long Steps, long Decay, double Least) : LearningRate(Peak, WarmUp)
    {
        protected override string Course =>
            FormattableString.Invariant($"constant, and along a line to {Least * Peak:G6} in the last {Decay} of {Steps} steps");

        protected override double Share(long step) => 1 - (1 - Least) * Progress(step, Math.Max(WarmUp, Steps - Decay), Steps);
    }
}
