/// `legato plan`: what would run, how long it would take, and how much memory it needs, before anything runs.
module Legato.Cli.PlanVerb

open System.IO
open Argu
open Legato.Cli.Repeatable
open Legato.Compiler
open Legato.Dsl
open Legato.Models
open Legato.Runtime
open Legato.Runtime.Plans

type PlanArgument =
    | [<MainCommand>] Model of model: string
    | Train
    | Prefill
    | Decode
    | Evaluate
    | Batch of sequences: int
    | Seq of positions: int
    | Source of positions: int
    | Pack
    | Vocab of tokens: int
    | [<Repeatable>] Set of assignment: string
    | Context of positions: int
    | Precision of Precision
    | Remat of Rematerialization
    | Device of ForetoldDevice
    | Gpu of card: string
    | Graph
    | Kernels
    | Save of dir: string
    | Config of file: string
    | Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Model _ -> "a preset, a checkpoint folder, a run folder or a GGUF file"
            | Train -> "plan a training step (the default)"
            | Prefill -> "plan the prefill of a prompt"
            | Decode -> "plan the decoding of one token a sequence"
            | Evaluate -> "plan an evaluation of the loss"
            | Batch _ -> "sequences a batch (default: 1)"
            | Seq _ ->
                "positions a sequence (train, prefill, evaluate; default: the model's context, for prefill --context)"
            | Source _ -> "positions that an encoder reads, for models that have one (default: the model's context)"
            | Pack -> "plan rows whose documents don't see each other (train, evaluate)"
            | Vocab _ -> "tokens in the vocabulary of a preset or of a script's model (default: a preset's own)"
            | Set _ -> "override a key of the model's config, as in num_hidden_layers=4; give the flag for each"
            | Context _ -> "positions that the cache holds (prefill, decode; default: the model's context)"
            | Precision _ -> "the type of the weights, and in training of the activations (default: fp32)"
            | Remat _ -> "what the backward pass computes again to save memory (train; default: none)"
            | Device _ -> "what it would run on (default: cpu)"
            | Gpu _ -> "what it would run on: a card that needn't be there, such as H200 or 'RTX 4090'"
            | Graph -> "print the graph that the plan was made from"
            | Kernels -> "print the kernels of the plan's steps"
            | Save _ -> "save the plan into this folder, to be run without the compiler"
            | Config _ -> "a JSON file of settings, keyed by these flags' names; flags given here win"
            | Json -> "print the plan as JSON"

/// What a plan is for.
[<RequireQualifiedAccess>]
type Purpose =
    | Train
    | Prefill
    | Decode
    | Evaluate

type PlanOptions = {
    Model: string
    Purpose: Purpose
    Batch: int
    /// None: the model's context.
    Sequence: int option
    /// None: the model's context.
    Source: int option
    Pack: bool
    /// None: the model's own.
    Vocabulary: int option
    /// Keys of the model's config, with their values.
    Overrides: (string * string) list
    /// None: the model's context.
    Context: int option
    Precision: Precision
    Rematerialization: Rematerialization
    /// None: the processor, unless a card is named.
    Device: ForetoldDevice option
    Gpu: string option
    Graph: bool
    Kernels: bool
    Save: string option
    Json: bool
}

let private defaults = {
    Model = ""
    Purpose = Purpose.Train
    Batch = 1
    Sequence = None
    Source = None
    Pack = false
    Vocabulary = None
    Overrides = []
    Context = None
    Precision = Precision.Fp32
    Rematerialization = Rematerialization.None
    Device = None
    Gpu = None
    Graph = false
    Kernels = false
    Save = None
    Json = false
}

let private where = "legato plan"

let private apply options argument =
    match argument with
    | Model name -> { options with Model = name }
    | Train -> { options with Purpose = Purpose.Train }
    | Prefill -> { options with Purpose = Purpose.Prefill }
    | Decode -> { options with Purpose = Purpose.Decode }
    | Evaluate -> { options with Purpose = Purpose.Evaluate }
    | Batch sequences -> { options with Batch = sequences }
    | Seq positions -> { options with Sequence = Some positions }
    | Source positions -> { options with Source = Some positions }
    | Pack -> { options with Pack = true }
    | Vocab tokens -> { options with Vocabulary = Some tokens }
    | Set text -> { options with Overrides = options.Overrides @ [ Arguments.assignment text ] }
    | Context positions -> { options with Context = Some positions }
    | Precision precision -> { options with Precision = precision }
    | Remat policy -> { options with Rematerialization = policy }
    | Device device -> { options with Device = Some device }
    | Gpu card -> { options with Gpu = Some card }
    | Graph -> { options with Graph = true }
    | Kernels -> { options with Kernels = true }
    | Save folder -> { options with Save = Some folder }
    | Json -> { options with Json = true }
    | Config _ -> options

let private purposes = [
    "--train", Purpose.Train, (_.IsTrain: PlanArgument -> bool)
    "--prefill", Purpose.Prefill, _.IsPrefill
    "--decode", Purpose.Decode, _.IsDecode
    "--evaluate", Purpose.Evaluate, _.IsEvaluate
]

let private onePurpose (arguments: PlanArgument list) =
    match [ for flag, _, isGiven in purposes -> flag, List.exists isGiven arguments ] |> List.filter snd with
    | first :: second :: _ -> Limits.notBoth first second
    | _ -> fun _ -> None

let private flagOf purpose = purposes |> List.pick (fun (flag, other, _) -> if other = purpose then Some flag else None)

/// Every flag that some purposes don't read, and the purposes that do.
let private readers = [
    "--seq", [ Purpose.Train; Purpose.Prefill; Purpose.Evaluate ], (_.IsSeq: PlanArgument -> bool)
    "--context", [ Purpose.Prefill; Purpose.Decode ], _.IsContext
    "--pack", [ Purpose.Train; Purpose.Evaluate ], _.IsPack
    "--remat", [ Purpose.Train ], _.IsRemat
]

/// How long a sequence is, said by the flag that a purpose reads.
let private instead flag purpose =
    match flag, purpose with
    | "--seq", Purpose.Decode -> Some "--context"
    | "--context", (Purpose.Train | Purpose.Evaluate) -> Some "--seq"
    | _ -> None

let private checks arguments options = [
    onePurpose arguments
    yield! Limits.readers flagOf instead options.Purpose arguments readers
    Limits.notBoth ("--json", options.Json) ("--graph", options.Graph)
    Limits.notBoth ("--json", options.Json) ("--kernels", options.Kernels)
    Limits.notBoth ("--device", options.Device.IsSome) ("--gpu", options.Gpu.IsSome)
    Limits.atLeast 1 "--batch" options.Batch
    Limits.optional (Limits.atLeast 1) "--vocab" options.Vocabulary
    Limits.assignments "--set" options.Overrides
    Limits.notBoth
        ("--vocab", options.Vocabulary.IsSome)
        ("--set vocab_size", options.Overrides |> List.exists (fst >> (=) "vocab_size"))
    Limits.optional Limits.named "--save" options.Save
    Limits.optional (Limits.atLeast 1) "--seq" options.Sequence
    Limits.optional (Limits.atLeast 1) "--source" options.Source
    Limits.optional (Limits.atLeast 1) "--context" options.Context
]

/// The plan that a command line asks for; or everything that is wrong with it.
let options (given: ParseResults<PlanArgument>) : Result<PlanOptions, LegatoException list> =
    Arguments.options where apply defaults checks given

let private purpose =
    function
    | Purpose.Train -> Plans.Purpose.Train
    | Purpose.Prefill -> Plans.Purpose.Prefill
    | Purpose.Decode -> Plans.Purpose.Decode
    | Purpose.Evaluate -> Plans.Purpose.Evaluate

/// What the compiler is asked for: of a decode plan's sequence there is one position.
let request (model: ModelDef) (options: PlanOptions) : PlanRequest =
    let context = options.Context |> Option.defaultValue model.Context |> int64
    let isCached = options.Purpose = Purpose.Prefill || options.Purpose = Purpose.Decode
    let longest = if isCached then context else int64 model.Context
    let whole = options.Sequence |> Option.map int64 |> Option.defaultValue longest
    let sequence = if options.Purpose = Purpose.Decode then 1L else whole

    let source =
        if model.Task = SequenceToSequence then
            Option.defaultValue model.Context options.Source
        else
            0

    PlanRequest(
        purpose options.Purpose,
        int64 options.Batch,
        sequence,
        (if isCached then context else sequence),
        DeviceChoice.precision options.Precision,
        Rematerialisation = DeviceChoice.rematerialization options.Rematerialization,
        NarrowActivations = (isCached && (options.Gpu.IsSome || options.Device = Some ForetoldDevice.Cuda)),
        Source = int64 source,
        IsPacked = options.Pack
    )

let private save (model: ModelDef) request (folder: string) =
    SavedPlans.Save(folder, CompiledModel model, [ request ])
    Path.Combine(folder, SavedPlans.FileName request)

/// Plans a model, whatever declares it.
let runWith (model: ModelDef) (options: PlanOptions) : int =
    Limits.readBy
        (model.Task = SequenceToSequence)
        "--source"
        options.Source.IsSome
        model.Name
        [ "a model that has an encoder" ]
        where
    |> Option.iter raise

    let request = request model options

    Limits.atMost ("--context", int request.Context) "--seq" (int request.Sequence) where
    |> Option.iter raise

    // What can't be saved is told before anything is shown.
    let saved = options.Save |> Option.map (save model request)

    if options.Graph then
        printf "%s" (PlanPage.graph (Compile.graph model request))

    let plan = Compile.plan model request

    if options.Kernels then
        printf "%s" (PlanPage.kernels plan)

    let target = PlanTarget.choose options.Gpu options.Device request.Precision
    let report = PlanTarget.report target plan

    if options.Json then
        JsonOutput.print (PlanPage.document target.Origin report)
    elif not (options.Graph || options.Kernels) then
        printf "%s" (PlanPage.page target.Origin report)
        PlanTarget.shortage target report |> Option.iter (printfn "%s")

    saved |> Option.iter (printfn "saved %s")
    0

let private withVocabulary options (source: ModelSource.Source) =
    match options.Vocabulary, source.Folder with
    | None, _ -> source
    | Some size, None -> { source with Config = Families.withVocabulary size source.Config }
    | Some _, Some folder ->
        raise (LegatoException("a checkpoint's vocabulary is its own", folder, "leave --vocab out"))

/// Plans the model of a preset or a checkpoint folder.
let run (options: PlanOptions) : int =
    Limits.given "MODEL" options.Model where |> Option.iter raise

    let define =
        match options.Purpose with
        | Purpose.Train
        | Purpose.Evaluate -> ModelSource.definitionToTrain
        | Purpose.Prefill
        | Purpose.Decode -> ModelSource.definition

    let model =
        ModelSource.find options.Model
        |> withVocabulary options
        |> ModelSource.withOverrides options.Overrides
        |> define

    runWith model options
