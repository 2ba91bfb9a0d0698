namespace Legato.Runtime.Devices;

/// <summary>Where the time of a plan's runs went: all executions of the steps of one name together.</summary>
/// <param name="Seconds">Wall-clock time of all runs.</param>
/// <param name="Flops">Floating-point operations of all runs, as the plan states them.</param>
/// <param name="Bytes">Bytes that had to move in all runs, as the plan states them.</param>
public sealed record StepTime(string Name, long Executions, double Seconds, double Flops, double Bytes);

/// <summary>An executable that measures its steps where it was asked to.</summary>
public interface IStepTimings
{
    /// <summary>The times so far, the longest first; empty if nothing is measured.</summary>
    IReadOnlyList<StepTime> StepTimes { get; }
}
