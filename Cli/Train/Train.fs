/// `legato train`: from a preset, or from where a checkpoint stands, to a trained model in a run folder.
module Legato.Cli.Train

open System.IO
open Argu
open FsToolkit.ErrorHandling
open Legato.Cli.Repeatable
open Legato.Cli.TrainOptions
open Legato.Runtime
open Legato.Runtime.Data
open Legato.Runtime.Training

type TrainArgument =
    | [<MainCommand>] Model of model: string
    | [<Repeatable>] Data of path: string
    | Tokenizer of tokenizer: string
    | Vocab of tokens: int
    | Out of dir: string
    | Resume of dir: string option
    | Steps of steps: int
    | Batch of sequences: int
    | Seq of positions: int
    | Accumulate of batches: int
    | Objective of TrainingObjective
    | Objective_Rate of share: float
    | Pack
    | Separator of token: string
    | Chat_Template of path: string
    | Lr of rate: float
    | Min_Lr_Ratio of share: float
    | Schedule of Schedule
    | Warmup of steps: int
    | Decay_Steps of steps: int
    | Weight_Decay of decay: float
    | Beta1 of beta: float
    | Beta2 of beta: float
    | Eps of epsilon: float
    | Clip of norm: float
    | Dropout of share: float
    | Seed of seed: uint64
    | Eval_Every of steps: int
    | Eval_Batches of batches: int
    | Checkpoint_Every of steps: int
    | Keep of checkpoints: int
    | Precision of Precision
    | Remat of Rematerialization
    | Threads of threads: int
    | No_Pin
    | Device of Device
    | Sample_Prompt of text: string
    | [<Repeatable>] Set of assignment: string
    | Config of file: string
    | Json
    | Quiet

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Model _ -> "a preset or a checkpoint folder (default: the main job's tiny model)"
            | Data _ ->
                "a text file, a folder, or .jsonl conversations to learn from; give the flag for each (default: the built-in stories and sums)"
            | Tokenizer _ ->
                "char, bytes, bpe (trained on the data), or a saved tokenizer (default: the checkpoint's own; for a preset char)"
            | Vocab _ -> "how many tokens a BPE tokenizer is trained to (default: 1024)"
            | Out _ -> "the run's folder: checkpoints, metrics, report (default: a new one in runs/)"
            | Resume _ -> "go on from the last checkpoint of this run folder (default: the newest in runs/)"
            | Steps _ -> "optimizer steps (default: 3900)"
            | Batch _ -> "sequences a batch (default: 8)"
            | Seq _ -> "positions a sequence, or that an encoder reads (default: the model's context)"
            | Accumulate _ -> "batches whose gradients are added up before each step (default: 1)"
            | Objective _ ->
                "what to learn: the next token, masked tokens, cut spans, a damaged text, a middle (default: causal)"
            | Objective_Rate _ ->
                "the share of tokens that is damaged, or of texts for fim (default: the objective's own)"
            | Pack ->
                "documents that share a sequence don't see each other; each file is one, and what an end-of-text token ends"
            | Separator _ -> "with --pack, a token that ends a document too"
            | Chat_Template _ -> "how conversations are written (default: the tokenizer's own template)"
            | Lr _ -> "the highest learning rate (default: 0.003, for small models)"
            | Min_Lr_Ratio _ -> "the last learning rate as a share of the highest (default: 0.1)"
            | Schedule _ -> "how the learning rate falls after the warm-up (default: cosine)"
            | Warmup _ -> "steps over which the learning rate rises from zero (default: 100, at most a tenth of all)"
            | Decay_Steps _ -> "steps over which wsd falls at the end (default: a fifth of all)"
            | Weight_Decay _ -> "decoupled decay of matrices, none of vectors (default: 0.1)"
            | Beta1 _ -> "AdamW's first decay rate (default: 0.9)"
            | Beta2 _ -> "AdamW's second decay rate (default: 0.95)"
            | Eps _ -> "AdamW's epsilon (default: 1e-8)"
            | Clip _ -> "the global gradient norm to clip at; 0 never clips (default: 1)"
            | Dropout _ ->
                "the share of embeddings, and of what each part of a block adds, that training drops (default: 0)"
            | Seed _ -> "where every random choice of the run comes from (default: 1)"
            | Eval_Every _ -> "steps between evaluations on the held-out part; 0 for none (default: 500)"
            | Eval_Batches _ -> "batches an evaluation (default: 8)"
            | Checkpoint_Every _ -> "steps between checkpoints; 0 for one at the end (default: 1000)"
            | Keep _ -> "how many checkpoints to keep (default: 2)"
            | Precision _ -> "fp32, tf32, or bf16 or fp16 with float32 masters of the weights (default: fp32)"
            | Remat _ -> "what the backward pass computes again to save memory (default: none)"
            | Threads _ -> "worker threads (default: one a core)"
            | No_Pin -> "don't pin the worker threads to cores"
            | Device _ -> "where to run (default: cuda where there is a GPU, else cpu)"
            | Sample_Prompt _ -> "a text for the model to go on from at each evaluation"
            | Set _ -> "override a key of the model's config, as in hidden_size=256; give the flag for each"
            | Config _ -> "a JSON file of settings, keyed by these flags' names; flags given here win"
            | Json -> "print metrics as JSON, one object a line"
            | Quiet -> "no progress"

let private tokenizer word =
    match word with
    | "char" -> TokenizerSource.Characters
    | "bytes" -> TokenizerSource.Bytes
    | "bpe" -> TokenizerSource.BytePairs
    | path -> TokenizerSource.Saved path

let private apply options argument =
    match argument with
    | Model name -> { options with Model = name }
    | Data path -> { options with Data = options.Data @ [ path ] }
    | Tokenizer word -> { options with Tokenizer = tokenizer word }
    | Vocab tokens -> { options with Vocabulary = tokens }
    | Out folder -> { options with Out = Some folder }
    | Resume(Some folder) -> { options with Start = Start.From folder }
    | Resume None -> { options with Start = Start.Latest }
    | Steps steps -> { options with Steps = steps }
    | Batch sequences -> { options with Batch = sequences }
    | Seq positions -> { options with Sequence = Some positions }
    | Accumulate batches -> { options with Accumulate = batches }
    | Objective objective -> { options with Objective = objective }
    | Objective_Rate share -> { options with ObjectiveRate = Some share }
    | Pack -> { options with Pack = true }
    | Separator token -> { options with Separator = Some token }
    | Chat_Template path -> { options with ChatTemplate = Some path }
    | Lr rate -> { options with LearningRate = rate }
    | Min_Lr_Ratio share -> { options with MinLearningRateRatio = share }
    | Schedule schedule -> { options with Schedule = schedule }
    | Warmup steps -> { options with Warmup = Some steps }
    | Decay_Steps steps -> { options with DecaySteps = Some steps }
    | Weight_Decay decay -> { options with WeightDecay = decay }
    | Beta1 beta -> { options with Beta1 = beta }
    | Beta2 beta -> { options with Beta2 = beta }
    | Eps epsilon -> { options with Epsilon = epsilon }
    | Clip norm -> { options with Clip = norm }
    | Dropout share -> { options with Dropout = share }
    | Seed seed -> { options with Seed = seed }
    | Eval_Every steps -> { options with EvaluateEvery = steps }
    | Eval_Batches batches -> { options with EvaluateBatches = batches }
    | Checkpoint_Every steps -> { options with CheckpointEvery = steps }
    | Keep checkpoints -> { options with Keep = checkpoints }
    | Precision precision -> { options with Precision = precision }
    | Remat policy -> { options with Rematerialization = policy }
    | Threads threads -> { options with Threads = Some threads }
    | No_Pin -> { options with Pin = false }
    | Device device -> { options with Device = Some device }
    | Sample_Prompt text -> { options with SamplePrompt = Some text }
    | Set text -> { options with Overrides = options.Overrides @ [ Arguments.assignment text ] }
    | Json -> { options with Json = true }
    | Quiet -> { options with Quiet = true }
    | Config _ -> options

let private riseAndFall options where =
    match options.Warmup, options.DecaySteps with
    | Some warmUp, Some decay when
        warmUp <= options.Steps
        && decay <= options.Steps
        && int64 warmUp + int64 decay > int64 options.Steps
        ->
        $"--warmup and --decay-steps are {warmUp} and {decay} steps, of {options.Steps} in all"
        |> Mistake.at where "give fewer of them, or more --steps"
        |> Some
    | _ -> None

/// More than that many batches a step are a slip of the finger; how many the data has is told once it is read.
let private mostAccumulated = 1 <<< 16

let private checks (given: TrainArgument list) options = [
    Limits.atLeast 1 "--vocab" options.Vocabulary
    Limits.readBy
        (options.Tokenizer = TokenizerSource.BytePairs)
        "--vocab"
        (given |> List.exists _.IsVocab)
        "this tokenizer"
        [ "--tokenizer bpe" ]
    Limits.atLeast 1 "--steps" options.Steps
    Limits.atLeast 1 "--batch" options.Batch
    Limits.optional (Limits.atLeast 1) "--seq" options.Sequence
    Limits.upTo mostAccumulated "--accumulate" options.Accumulate
    Limits.optional (Limits.below (0.01, 1.0)) "--objective-rate" options.ObjectiveRate
    Limits.readBy
        (options.Objective <> TrainingObjective.Causal)
        "--objective-rate"
        options.ObjectiveRate.IsSome
        "--objective causal"
        [ "masked"; "spans"; "denoise"; "fim" ]
    Limits.readBy options.Pack "--separator" options.Separator.IsSome "documents that aren't packed" [ "--pack" ]
    Limits.readBy
        (List.exists Conversations.IsNamed options.Data)
        "--chat-template"
        options.ChatTemplate.IsSome
        "plain text"
        [ "--data with .jsonl conversations" ]
    Limits.above 0.0 "--lr" options.LearningRate
    Limits.single "--lr" options.LearningRate
    Limits.within (0.0, 1.0) "--min-lr-ratio" options.MinLearningRateRatio
    Limits.optional (Limits.atLeast 0) "--warmup" options.Warmup
    Limits.optional (Limits.atMost ("--steps", options.Steps)) "--warmup" options.Warmup
    Limits.optional (Limits.atLeast 1) "--decay-steps" options.DecaySteps
    Limits.optional (Limits.atMost ("--steps", options.Steps)) "--decay-steps" options.DecaySteps
    Limits.readBy
        (options.Schedule = Schedule.Wsd)
        "--decay-steps"
        options.DecaySteps.IsSome
        $"--schedule {options.Schedule.ToString().ToLowerInvariant()}"
        [ "wsd" ]
    riseAndFall options
    Limits.notNegative "--weight-decay" options.WeightDecay
    Limits.single "--weight-decay" options.WeightDecay
    Limits.below (0.0, 1.0) "--beta1" options.Beta1
    Limits.singleBelowOne "--beta1" options.Beta1
    Limits.below (0.0, 1.0) "--beta2" options.Beta2
    Limits.singleBelowOne "--beta2" options.Beta2
    Limits.above 0.0 "--eps" options.Epsilon
    Limits.single "--eps" options.Epsilon
    Limits.notNegative "--clip" options.Clip
    Limits.single "--clip" options.Clip
    Limits.below (0.0, 1.0) "--dropout" options.Dropout
    Limits.singleBelowOne "--dropout" options.Dropout
    Limits.atLeast 0 "--eval-every" options.EvaluateEvery
    Limits.atLeast 1 "--eval-batches" options.EvaluateBatches
    Limits.atLeast 0 "--checkpoint-every" options.CheckpointEvery
    Limits.atLeast 1 "--keep" options.Keep
    Limits.optional Limits.threads "--threads" options.Threads
    Limits.assignments "--set" options.Overrides
]

/// Paths that are compared with a run's own, or that say where it lies.
let private paths (given: TrainArgument list) =
    given
    |> List.choose (function
        | Data path -> Some(Limits.named "--data" path)
        | Tokenizer path -> Some(Limits.named "--tokenizer" path)
        | Chat_Template path -> Some(Limits.named "--chat-template" path)
        | Out folder -> Some(Limits.named "--out" folder)
        | Resume(Some folder) -> Some(Limits.named "--resume" folder)
        | _ -> None)

let private settingsOf argument =
    match argument with
    | Resume(Some folder) -> Some(Runs.settingsFile folder)
    | Resume None -> Runs.newest () |> Option.map Runs.settingsFile
    | _ -> None

/// Whether arguments give data, and whether those are conversations.
let private kindOfData arguments =
    let paths =
        arguments
        |> List.choose (function
            | Data path -> Some path
            | _ -> None)

    paths.IsEmpty, List.exists Conversations.IsNamed paths

let private overrides arguments =
    arguments
    |> List.choose (function
        | Set assignment -> Some assignment
        | _ -> None)

/// What a run keeps from its beginning on, if the arguments would have it otherwise.
let private changed (folder: string) before arguments argument =
    let sameAsBefore = List.contains argument before

    let unlessBefore flag lasting = if sameAsBefore || List.contains lasting before then None else Some flag

    match argument with
    // A run of a script's model has no preset.
    | Model name ->
        match before |> List.tryFind _.IsModel with
        | Some model when model <> Model(Runs.lasting name) -> Some "MODEL"
        | _ -> None
    | Set _ -> if overrides arguments = overrides before then None else Some "--set"
    // The text may lie elsewhere now: whether it is the same is seen once it is read.
    | Data _ -> if kindOfData arguments = kindOfData before then None else Some "--data"
    | Tokenizer word -> unlessBefore "--tokenizer" (Tokenizer(Runs.lasting word))
    | Vocab _ -> if sameAsBefore then None else Some "--vocab"
    | Pack -> if sameAsBefore then None else Some "--pack"
    | Separator _ -> if sameAsBefore then None else Some "--separator"
    | Chat_Template path -> unlessBefore "--chat-template" (Chat_Template(Runs.lasting path))
    | Out out -> if Path.GetFullPath out = Path.GetFullPath folder then None else Some "--out"
    | _ -> None

let private readsFiles settings = File.Exists(Runs.tokensFile (Path.GetDirectoryName(settings: string)))

/// What stands in for a run's settings.
let private begunWith settings =
    let flags =
        if readsFiles settings then
            "MODEL, --data and the other flags"
        else
            "MODEL and the flags"

    $"give {flags} that it was begun with beside --resume"

let private unreadable settings (mistake: LegatoException) =
    $"the run's settings can't be read: {mistake.What}"
    |> Mistake.at mistake.Where $"{mistake.Remedy}; or remove the file and {begunWith settings}"

// The defaults must not stand for what a run was begun with.
let private withoutSettings settings (now: Arguments.Gathered<TrainArgument>) =
    let arguments = now.Arguments

    if arguments |> List.exists _.IsData || not (readsFiles settings) && arguments |> List.exists _.IsModel then
        Ok now
    else
        let remedy =
            $"{begunWith settings}, or write them there, as in "
            + """{ "model": "llama-tiny", "data": ["text.txt"] }"""

        Error [ Mistake.at settings remedy "the run's settings are missing: nothing says what it was begun with" ]

let private hasCheckpoint folder = Runs.isRun folder && not (isNull (RunFolder.Open(folder).Latest))

/// What the run that is resumed was begun with, under the arguments given now.
let private withSettings (parser: ArgumentParser<TrainArgument>) (now: Arguments.Gathered<TrainArgument>) =
    let arguments = now.Arguments

    match List.tryPick settingsOf arguments with
    | Some settings when File.Exists settings ->
        let folder = Path.GetDirectoryName settings

        let refused before = [
            for flag in arguments |> List.choose (changed folder before arguments) |> List.distinct ->
                let remedy = $"leave {flag} out, or begin a new run without --resume"
                LegatoException($"a resumed run keeps what {flag} said when it began", flag, remedy)
        ]

        ConfigFile.load parser settings
        |> Result.mapError (List.map (unreadable settings))
        |> Result.bind (fun before ->
            match before |> List.collect _.Arguments |> refused with
            | [] -> Ok(Arguments.over parser before now)
            | mistakes -> Error mistakes)
    | Some settings when hasCheckpoint (Path.GetDirectoryName settings) -> withoutSettings settings now
    | _ -> Ok now

/// The run that a command line, the config file that it names, and the run that it resumes ask for; or everything that
/// is wrong with them.
let options (given: ParseResults<TrainArgument>) : Result<TrainOptions, LegatoException list> =
    result {
        let! now = Arguments.gather where given
        let! now = Arguments.hold where (paths now.Arguments) now now
        let! all = withSettings given.Parser now
        let options = List.fold apply defaults all.Arguments
        return! Arguments.hold where (checks now.Arguments options) all options
    }
