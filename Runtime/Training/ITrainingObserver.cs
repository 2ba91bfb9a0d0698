namespace Legato.Runtime.Training;

/// <summary>One step's figures. <paramref name="Step"/> counts from 1: the steps that are done.</summary>
/// <param name="SecondsLeft">At the speed of the last steps, evaluations and checkpoints not counted.</param>
public readonly record struct StepMetrics(
    long Step, float Loss, float GradientNorm, double Rate, double TokensPerSecond, double Seconds, double SecondsLeft);

/// <summary>Is told how training goes, on the thread that trains.</summary>
public interface ITrainingObserver
{
    /// <param name="firstStep">Steps done before: 0, or where the run resumes.</param>
    void Started(long firstStep, TrainingOptions options)
    {
    }

    void Stepped(in StepMetrics metrics)
    {
    }

    void Evaluated(long step, EvaluationResult result)
    {
    }

    void CheckpointWritten(long step, string folder)
    {
    }

    /// <summary>Something looks wrong and training goes on.</summary>
    void Warned(long step, string message)
    {
    }
}
