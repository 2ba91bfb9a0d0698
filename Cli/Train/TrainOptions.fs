/// What a training run is asked for, wherever the wish was written.
module Legato.Cli.TrainOptions

open Legato.Runtime
open Legato.Runtime.Data

/// The trained model's tokenizer.
[<RequireQualifiedAccess>]
type TokenizerSource =
    /// The one in the checkpoint's folder; one token a character where there is no checkpoint.
    | Own
    | Characters
    | Bytes
    | BytePairs
    | Saved of path: string

/// Where training starts.
[<RequireQualifiedAccess>]
type Start =
    | Fresh
    /// The newest run in `runs/`.
    | Latest
    | From of folder: string

type TrainOptions = {
    Model: string
    /// Files and folders; none: the built-in corpus.
    Data: string list
    Tokenizer: TokenizerSource
    Vocabulary: int
    Out: string option
    Start: Start
    Steps: int
    Batch: int
    /// None: the model's context.
    Sequence: int option
    Accumulate: int
    Objective: TrainingObjective
    /// None: the objective's own.
    ObjectiveRate: float option
    /// Whether documents that share a sequence don't see each other.
    Pack: bool
    /// What ends a document beside the end of its file and the tokenizer's end of text.
    Separator: string option
    /// None: the tokenizer's own.
    ChatTemplate: string option
    LearningRate: float
    MinLearningRateRatio: float
    Schedule: Schedule
    /// None: 100, or a tenth of all steps where those are fewer.
    Warmup: int option
    /// None: a fifth of all steps.
    DecaySteps: int option
    WeightDecay: float
    Beta1: float
    Beta2: float
    Epsilon: float
    /// 0: never.
    Clip: float
    Dropout: float
    Seed: uint64
    EvaluateEvery: int
    EvaluateBatches: int
    CheckpointEvery: int
    Keep: int
    Precision: Precision
    Rematerialization: Rematerialization
    /// None: one a core.
    Threads: int option
    Pin: bool
    /// None: the GPU where there is one.
    Device: Device option
    SamplePrompt: string option
    /// Fields of the model's config and their new values.
    Overrides: (string * string) list
    Json: bool
    Quiet: bool
}

let where = "legato train"

/// The main job: what a bare `legato train` does.
let defaults = {
    Model = "demo"
    Data = []
    Tokenizer = TokenizerSource.Own
    Vocabulary = 1024
    Out = None
    Start = Start.Fresh
    Steps = 3900
    Batch = 8
    Sequence = None
    Accumulate = 1
    Objective = TrainingObjective.Causal
    ObjectiveRate = None
    Pack = false
    Separator = None
    ChatTemplate = None
    LearningRate = 3e-3
    MinLearningRateRatio = 0.1
    Schedule = Schedule.Cosine
    Warmup = None
    DecaySteps = None
    WeightDecay = 0.1
    Beta1 = 0.9
    Beta2 = 0.95
    Epsilon = 1e-8
    Clip = 1.0
    Dropout = 0.0
    Seed = 1UL
    EvaluateEvery = 500
    EvaluateBatches = 8
    CheckpointEvery = 1000
    Keep = 2
    Precision = Precision.Fp32
    Rematerialization = Rematerialization.None
    Threads = None
    Pin = true
    Device = None
    SamplePrompt = None
    Overrides = []
    Json = false
    Quiet = false
}

/// Steps of wsd's warm-up and of its decay: what isn't given fits beside what is.
let riseAndFall options =
    let left given = options.Steps - Option.defaultValue 0 given

    let warmUp =
        options.Warmup
        |> Option.defaultValue (min 100 (options.Steps / 10) |> min (left options.DecaySteps))

    let decay =
        options.DecaySteps |> Option.defaultValue (options.Steps / 5 |> min (left options.Warmup) |> max 1)

    warmUp, decay
