using Legato.Runtime.Data;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Training;

/// <summary>What a training run is asked to do.</summary>
/// <param name="Steps">Optimizer steps, those before a resumption included.</param>
/// <param name="Batch">Rows a micro-batch.</param>
/// <param name="Sequence">Tokens a row.</param>
/// <param name="Rate">The learning rate's schedule.</param>
public sealed record TrainingOptions(long Steps, int Batch, int Sequence, LearningRate Rate)
{
    /// <summary>Micro-batches a step, whose gradients are summed.</summary>
    public int Accumulate { get; init; } = 1;

    /// <summary>What a stretch of text becomes: what is read, and what is to be told.</summary>
    public Objective Objective { get; init; } = Objective.Causal;

    /// <summary>Tokens of a row's source, for a model with an encoder beside its decoder; 0 for others.</summary>
    public int Source { get; init; }

    /// <summary>Whether the documents of a row don't see each other; token data tells where they begin (<see cref="TokenMarks"/>).</summary>
    public bool IsPacked { get; init; }

    public OptimizerSettings Optimizer { get; init; } = OptimizerSettings.Default;

    /// <summary>The share of numbers that the model's dropout drops.</summary>
    public double Dropout { get; init; }

    public string Precision { get; init; } = "fp32";

    public Rematerialisation Rematerialisation { get; init; } = Rematerialisation.None;

    /// <summary>Of the parameters' start, the order of the data and the model's own randomness.</summary>
    public long Seed { get; init; } = 1;

    /// <summary>Steps between evaluations; 0 for none.</summary>
    public long EvaluateEvery { get; init; } = 100;

    /// <summary>The most batches an evaluation reads; 0 for all of the held-out part.</summary>
    public int EvaluationBatches { get; init; } = 8;

    /// <summary>Steps between checkpoints; 0 for one at the end only.</summary>
    public long CheckpointEvery { get; init; } = 200;

    /// <summary>How many checkpoints are kept; 0 keeps all.</summary>
    public int KeepCheckpoints { get; init; } = 2;

    public long TokensPerStep => (long)Accumulate * Batch * Sequence;

    public RowShape Shape => new(Sequence, Source, IsPacked);

    /// <summary>The plan that a run with these options asks for.</summary>
    public PlanRequest Request(Purpose purpose) => new(
        purpose, Batch, Sequence, Sequence, Precision, purpose == Purpose.Train ? Accumulate : 1,
        purpose == Purpose.Train ? Rematerialisation : Rematerialisation.None, purpose == Purpose.Train ? Optimizer : null,
        Source: Source, IsPacked: IsPacked, Dropout: purpose == Purpose.Train ? Dropout : 0);

    /// <exception cref="LegatoException">An option is out of its bounds.</exception>
    internal void Check()
    {
        Positive("steps", Steps);
        Positive("batch", Batch);
        Positive("seq", Sequence);
        Positive("accumulate", Accumulate);
        if (TokensPerStep > Array.MaxLength)
            throw new LegatoException(
                $"a step of {Counted.Of(Accumulate, "batch")} of {Counted.Of(Batch, "row")} of {Sequence} has {TokensPerStep} tokens; it may have {Array.MaxLength}",
                remedy: "give fewer batches a step, a smaller batch or shorter rows");
        if (!(Dropout >= 0 && Dropout < 1))
            throw new LegatoException($"dropout can't be {Dropout}", remedy: "give a share from 0 to less than 1");
        if (!(Rate.Peak > 0 && double.IsFinite(Rate.Peak)))
            throw new LegatoException($"the learning rate can't be {Rate.Peak}", remedy: "give a positive number, such as 0.001");
    }

    private static void Positive(string name, long value)
    {
        if (value <= 0)
            throw new LegatoException($"{name} can't be {value}", remedy: "give a positive number");
    }
}
