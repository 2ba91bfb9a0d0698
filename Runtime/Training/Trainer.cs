using System.Diagnostics;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Data;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;
using Legato.Runtime.Text;

namespace Legato.Runtime.Training;

/// <summary>How a run ended.</summary>
/// <param name="Step">Steps done.</param>
/// <param name="Checkpoint">The last checkpoint's folder.</param>
public sealed record TrainingOutcome(long Step, bool WasCancelled, float Loss, EvaluationResult? Evaluation, string Checkpoint);

/// <summary>
/// Trains a model: batches in, plan steps, evaluations, checkpoints, alarms. A run that is stopped at any step and
/// resumed from its last checkpoint goes the same way, bit for bit, as one that was not.
/// </summary>
public sealed class Trainer : IDisposable
{
    /// <summary>The moment in the <see cref="Timeline"/> when a run has taken its first step.</summary>
    public const string FirstStep = "first training step";

    private readonly ModelDescription model;
    private readonly TrainingOptions options;
    private readonly RunFolder run;
    private readonly Tokenizer? tokenizer;
    private readonly TokenRange train;
    private readonly ITrainingObserver observer;
    private readonly ModelMemory memory;
    private readonly Task<Programs> programs;
    private readonly WindowBatches batches;
    /// <summary>More steps in a row than loss scaling needs to come down from its start.</summary>
    private const int MostOverflows = 24;

    private readonly LossAlarm alarm = new();
    private readonly bool scalesLoss;
    private readonly RowBatch batch;
    private int overflows;
    private long done;
    private long first;
    private long checkpointed = -1;

    /// <summary>
    /// Takes memory, and begins to make the plans ready: until that is done, parameters can be written. They are zero until one of
    /// the three ways to start is taken.
    /// </summary>
    /// <param name="heldOut">What evaluations read; empty for none.</param>
    /// <param name="tokenizer">Saved with each checkpoint.</param>
    /// <exception cref="LegatoException">Options, data and model don't fit together.</exception>
    public Trainer(
        IDevice device, IPlanSource plans, TokenRange train, TokenRange heldOut, TrainingOptions options, RunFolder run,
        Tokenizer? tokenizer = null, ITrainingObserver? observer = null)
    {
        options.Check();
        (model, this.train, this.options, this.run, this.tokenizer) = (plans.Model, train, options, run, tokenizer);
        this.observer = observer ?? new Silence();
        CheckFit();
        batches = new WindowBatches(train, options.Accumulate * options.Batch, options.Shape, options.Seed, options.Objective);
        CheckStep();
        batch = new RowBatch(batches.Rows, options.Shape);
        bool evaluates = options.EvaluateEvery > 0 && heldOut.Length > 0;
        EvaluationBatches? held = evaluates ? new(heldOut, options.Batch, options.Shape, options.EvaluationBatches, options.Objective) : null;

        Plan plan = plans.Plan(options.Request(Purpose.Train));
        Plan? evaluation = evaluates ? plans.Plan(options.Request(Purpose.Evaluate)) : null;
        scalesLoss = plan.Buffers.Any(b => b.Name == LossScale.Buffer);
        memory = new ModelMemory(device);
        try
        {
            memory.Reserve(plan);
            if (evaluation is not null)
                memory.Reserve(evaluation);
        }
        catch
        {
            memory.Dispose();
            throw;
        }
        programs = Task.Run(() => new Programs(memory, plan, evaluation, held, options));
    }

    /// <summary>Parameters, moments and constants on the device.</summary>
    public ModelMemory Memory => memory;

    private Programs Ready => programs.GetAwaiter().GetResult();

    private TrainingState State => new(done, options, train.Data.TokenizerHash, train.Data.Checksum, train.Length);

    /// <summary>Starts with fresh parameters.</summary>
    public void Initialize() => InitialParameters.Write(model, options.Seed, memory.Parameter);

    /// <summary>Starts from the weights of a checkpoint folder, the optimizer's moments at zero.</summary>
    /// <exception cref="LegatoException">The weights can't be read, don't fit or aren't finite.</exception>
    public void Load(string folder) => HubCheckpoint.LoadToTrain(folder, model, memory.Parameter);

    /// <summary>Goes on from the run's last checkpoint.</summary>
    /// <exception cref="LegatoException">There is none, it is damaged, or it was begun with other data or options.</exception>
    public void Resume()
    {
        string folder = run.RequireLatest();
        TrainingState state = TrainingState.Read(folder);
        state.RequireSame(State, folder);
        TrainingCheckpoint.Read(folder, state, model, memory);
        done = checkpointed = state.Step;
    }

    /// <summary>Trains until all steps are done or cancellation is asked for; either way a checkpoint is written last.</summary>
    /// <exception cref="LegatoException">
    /// The loss or the gradient is no longer finite (the last checkpoint stays as it is), or something can't be written: where that is
    /// what an observer shows, a checkpoint is written first.
    /// </exception>
    public TrainingOutcome Run(CancellationToken cancellation = default)
    {
        // What is wrong with the plans is told before anything is written.
        _ = Ready;
        using MetricsLog log = MetricsLog.Open(run.MetricsFile, done);
        try
        {
            return Run(log, cancellation);
        }
        catch (LegatoException e) when (run.Latest is null && !log.IsEmpty)
        {
            throw Then(e, $"start again in another folder, or once {run.Path} is removed, which keeps the metrics of a run without a checkpoint");
        }
    }

    /// <summary>What can't be shown costs nothing that was learned.</summary>
    private void Tell(in StepMetrics metrics, string? warning, EvaluationResult? evaluated)
    {
        try
        {
            if (warning is not null)
                observer.Warned(metrics.Step, warning);
            observer.Stepped(metrics);
            if (evaluated is { } result)
                observer.Evaluated(done, result);
        }
        catch (LegatoException e)
        {
            _ = KeepState();
            throw Then(e, $"go on with the run: its checkpoint of step {done} is kept");
        }
    }

    private static LegatoException Then(LegatoException e, string remedy) =>
        new(e.What, e.Where, e.Remedy is null ? remedy : $"{e.Remedy}; then {remedy}", e);

    private TrainingOutcome Run(MetricsLog log, CancellationToken cancellation)
    {
        var clock = new TrainingClock(options);
        first = done;
        observer.Started(done, options);
        float loss = float.NaN;
        EvaluationResult? evaluation = null;
        while (done < options.Steps && !cancellation.IsCancellationRequested)
        {
            StepMetrics metrics = Step(clock);
            loss = metrics.Loss;
            string? warning = Alarm(metrics, log);
            EvaluationResult? now = IsDue(options.EvaluateEvery) ? Ready.Evaluator?.Run() : null;
            evaluation = now ?? evaluation;
            log.Add(metrics, now, warning, Ready.Step.Loads);
            Tell(metrics, overflows == 0 ? warning : null, now);
            if (IsDue(options.CheckpointEvery) && done < options.Steps)
                WriteCheckpoint(log);
        }
        WriteCheckpoint(log);
        return new TrainingOutcome(done, done < options.Steps, loss, evaluation, run.Checkpoint(done));
    }

    public void Dispose()
    {
        Task.WaitAny(programs);
        if (programs.IsCompletedSuccessfully)
            programs.Result.Dispose();
        memory.Dispose();
    }

    private StepMetrics Step(TrainingClock clock)
    {
        long start = Stopwatch.GetTimestamp();
        double rate = options.Rate.At(done);
        batches.Fill(done, batch);
        StepResult result = Ready.Step.Run(done, batch, rate);
        if (done++ == first)
            Timeline.Mark(FirstStep, endsStart: true);
        return clock.Measure(done, result, rate, Stopwatch.GetElapsedTime(start));
    }

    private string? Alarm(in StepMetrics metrics, MetricsLog log)
    {
        overflows = float.IsFinite(metrics.GradientNorm) ? 0 : overflows + 1;
        if (scalesLoss && float.IsFinite(metrics.Loss) && overflows is > 0 and <= MostOverflows)
            return "overflow: the step is skipped, the loss scale halved";
        if (!float.IsFinite(metrics.Loss) || !float.IsFinite(metrics.GradientNorm))
        {
            log.Add(metrics, null, "not finite", Ready.Step.Loads);
            string kept = checkpointed < 0 ? "no checkpoint was written yet" : $"the checkpoint of step {checkpointed} is kept";
            string elsewhere = checkpointed < 0 ? "" : ", and start again in another folder";
            throw new LegatoException(
                $"training stopped at step {metrics.Step}: the loss is {metrics.Loss}, the gradient's norm {metrics.GradientNorm}; {kept}",
                run.Path, $"lower the learning rate, lengthen the warm-up or clip at a smaller norm{elsewhere}");
        }
        return alarm.IsSpike(metrics.Loss) ? $"loss spike: {metrics.Loss:F3} at step {metrics.Step}" : null;
    }

    private bool IsDue(long every) => every > 0 && (done % every == 0 || done == options.Steps);

    private void WriteCheckpoint(MetricsLog log)
    {
        if (checkpointed != done)
            observer.CheckpointWritten(done, KeepState());
        TrainingReport.Write(run.ReportFile, model.Name, options, log, Ready.Step.Loads);
    }

    private string KeepState()
    {
        string folder = run.WriteCheckpoint(
            done, options.KeepCheckpoints, path => TrainingCheckpoint.Write(path, model, memory, State, tokenizer));
        checkpointed = done;
        Timeline.Mark("checkpoint written");
        return folder;
    }

    private void CheckFit()
    {
        int longest = Math.Max(options.Sequence, options.Source);
        if (longest > model.Context)
            throw new LegatoException(
                $"a sequence of {longest} tokens is longer than the context of {model.Name}, {model.Context}", "seq",
                $"give a sequence of at most {model.Context}");
        if (train.Data.Vocabulary > model.Vocabulary)
            throw new LegatoException(
                $"the data's tokenizer has {train.Data.Vocabulary} tokens, {model.Name} only {model.Vocabulary}", "vocab_size",
                "use the model's own tokenizer, or a model with a larger vocabulary");
    }

    // A row that a step reads twice adds nothing to its gradient.
    private void CheckStep()
    {
        if (options.Accumulate > 1 && batches.Rows > batches.Count)
            throw new LegatoException(
                $"a step of {Counted.Of(options.Accumulate, "batch")} of {Counted.Of(options.Batch, "row")} reads more than all of the data, which has {Counted.Of(batches.Count, "row")}",
                "accumulate", batches.Count >= 2 * options.Batch
                    ? $"accumulate {batches.Count / options.Batch} batches or fewer"
                    : "accumulate one batch, and choose a smaller one");
    }

    /// <summary>The run's plans, ready on the device.</summary>
    private sealed class Programs : IDisposable
    {
        private readonly IExecutable step;
        private readonly IExecutable? evaluation;

        public Programs(ModelMemory memory, Plan plan, Plan? evaluationPlan, EvaluationBatches? held, TrainingOptions options)
        {
            step = memory.Compile(plan);
            try
            {
                Step = new TrainingStep(step, options.Optimizer, options.Seed);
                if (evaluationPlan is null)
                    return;
                evaluation = memory.Compile(evaluationPlan);
                Evaluator = new Evaluator(evaluation, held!);
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        public TrainingStep Step { get; }

        public Evaluator? Evaluator { get; }

        public void Dispose()
        {
            step.Dispose();
            evaluation?.Dispose();
        }
    }

    private sealed class Silence : ITrainingObserver
    {
    }
}
