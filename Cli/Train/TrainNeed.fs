/// What a training run asks of the trainer, and the memory that it takes.
module Legato.Cli.TrainNeed

open Legato.Cli.TrainOptions
open Legato.Runtime
open Legato.Runtime.Data
open Legato.Runtime.Plans
open Legato.Runtime.Training

let private rate options : LearningRate =
    let peak, steps = options.LearningRate, int64 options.Steps
    let warmUp = options.Warmup |> Option.defaultValue (min 100 (options.Steps / 10)) |> int64
    let least = options.MinLearningRateRatio

    match options.Schedule with
    | Schedule.Constant -> LearningRate.Constant(peak, warmUp)
    | Schedule.Cosine -> LearningRate.Cosine(peak, warmUp, steps, least)
    | Schedule.Linear -> LearningRate.Linear(peak, warmUp, steps, least)
    | Schedule.Wsd ->
        let warmUp, decay = riseAndFall options
        LearningRate.WarmUpStableDecay(peak, int64 warmUp, steps, int64 decay, least)

let trainingOptions options objective (rows: RowShape) =
    TrainingOptions(
        int64 options.Steps,
        options.Batch,
        rows.Sequence,
        rate options,
        Source = rows.Source,
        IsPacked = rows.IsPacked,
        Accumulate = options.Accumulate,
        Objective = objective,
        Optimizer = OptimizerSettings(options.Beta1, options.Beta2, options.Epsilon, options.WeightDecay, options.Clip),
        Dropout = options.Dropout,
        Precision = DeviceChoice.precision options.Precision,
        Rematerialisation = DeviceChoice.rematerialization options.Rematerialization,
        Seed = int64 options.Seed,
        EvaluateEvery = int64 options.EvaluateEvery,
        EvaluationBatches = options.EvaluateBatches,
        CheckpointEvery = int64 options.CheckpointEvery,
        KeepCheckpoints = options.Keep
    )

/// The plans of a run.
let requests (options: TrainingOptions) = [
    options.Request Purpose.Train
    if options.EvaluateEvery > 0 then
        options.Request Purpose.Evaluate
]

let private needOf device (plans: IPlanSource) (options: TrainingOptions) =
    requests options |> List.map plans.Plan |> MemoryNeed.ofPlans device

// First smaller batches, then the forward pass again in the backward pass, then shorter sequences.
let private smaller
    device
    plans
    objective
    (options: TrainOptions)
    (rows: int -> RowShape)
    sequence
    : MemoryNeed.Smaller seq =
    let need options sequence = needOf device plans (trainingOptions options objective (rows sequence))
    let frugal = { options with Rematerialization = Rematerialization.Block }

    seq {
        {
            MemoryNeed.Switch = fun batch -> $"--batch {batch}"
            MemoryNeed.Need = fun batch -> need { options with Batch = batch } sequence
            MemoryNeed.Most = options.Batch - 1
        }

        {
            MemoryNeed.Switch = fun batch -> $"--batch {batch} --remat block"
            MemoryNeed.Need = fun batch -> need { frugal with Batch = batch } sequence
            MemoryNeed.Most = options.Batch
        }

        {
            MemoryNeed.Switch = fun sequence -> $"--batch 1 --remat block --seq {sequence}"
            MemoryNeed.Need = need { frugal with Batch = 1 }
            MemoryNeed.Most = sequence - 1
        }
    }

/// What the run takes, which must fit.
let requireMemory device plans objective options rows sequence =
    let need = needOf device plans (trainingOptions options objective (rows sequence))
    MemoryNeed.require where (MemoryNeed.available device) (smaller device plans objective options rows sequence) need
    need
