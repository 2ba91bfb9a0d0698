namespace Legato.Runtime.Devices;

/// <summary>How a step is computed, in words.</summary>
public sealed record StepWay(string Step, string Way);

/// <summary>An executable that chooses among ways to compute a step.</summary>
public interface IStepWays
{
    /// <summary>What it has chosen, in the order of the steps, of those only that there were several ways for.</summary>
    IReadOnlyList<StepWay> StepWays { get; }
}
