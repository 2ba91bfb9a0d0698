/// `legato bench`: what this machine can do, and how much of it Legato uses.
module Legato.Cli.Bench

open Argu
open FsToolkit.ErrorHandling
open Legato.Cli.Repeatable
open Legato.Runtime
open Legato.Runtime.Cpu
open Legato.Runtime.Cuda

type BenchArgument =
    | [<MainCommand>] Suite of suite: string list
    | Batch of sequences: int
    | Seq of positions: int
    | Tokens of tokens: int
    | Context of tokens: int
    | Text of file: string
    | Size of size: int
    | Experts of experts: int
    | Top of experts: int
    | Embed of features: int
    | Mlp of features: int
    | Precision of Precision
    | Device of Device
    | Threads of threads: int
    | Rounds of rounds: int
    | [<Repeatable>] Set of assignment: string
    | Config of file: string
    | Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Suite _ ->
                "machine, gemm, attention, norm, moe, train, prefill, decode, tokenize or vocabulary; after it a preset or a folder"
            | Batch _ -> "sequences a batch (train, prefill, decode; default: 1)"
            | Seq _ -> "positions a sequence (train; default: 256)"
            | Tokens _ ->
                "tokens to prefill, decode, send to experts or learn (vocabulary), rows to norm (default: 512, 128, 8192, 32000, 16384)"
            | Context _ -> "tokens of a sequence that are in the cache before (decode; default: 0)"
            | Text _ -> "a text file to encode (tokenize; default: the built-in corpus)"
            | Size _ -> "rows, columns and depth of the matrix product (gemm), features of a row (norm); default: 2048"
            | Experts _ -> "experts of the mixture (moe; default: 8)"
            | Top _ -> "experts of each token (moe; default: 2)"
            | Embed _ -> "features of a token (moe; default: 4096)"
            | Mlp _ -> "features that an expert makes of it (moe; default: 14336)"
            | Precision _ -> "the type of the weights (default: fp32)"
            | Device _ ->
                "where to run (attention, norm, moe, train, prefill, decode; default: cuda where there is a GPU, else cpu); machine: what to measure (default: cpu)"
            | Threads _ -> "worker threads (default: one a core)"
            | Rounds _ -> "how often to measure; the median and the best are printed (default: 5)"
            | Set _ ->
                "override a key of the model's config, as in num_hidden_layers=4 (train, prefill, decode); give the flag for each"
            | Config _ -> "a JSON file of settings, keyed by these flags' names; flags given here win"
            | Json -> "print figures, machine and sizes as JSON"

/// What is measured.
[<RequireQualifiedAccess>]
type Suite =
    | Machine
    | Gemm
    | Attention
    | Norm
    | Moe
    | Train
    | Prefill
    | Decode
    | Tokenize
    | Vocabulary

type BenchOptions = {
    Suite: Suite
    /// None: the suite's own.
    Model: string option
    Batch: int
    Sequence: int
    /// None: the suite's own.
    Tokens: int option
    /// In the cache before.
    Context: int
    /// None: the built-in corpus.
    Text: string option
    Size: int
    Experts: int
    /// Of each token.
    Chosen: int
    Embed: int
    Mlp: int
    Precision: Precision
    /// None: the GPU where there is one.
    Device: Device option
    /// None: one a core.
    Threads: int option
    Rounds: int
    /// Keys of the model's config, and their values.
    Overrides: (string * string) list
    Json: bool
}

let private defaults = {
    Suite = Suite.Machine
    Model = None
    Batch = 1
    Sequence = 256
    Tokens = None
    Context = 0
    Text = None
    Size = 2048
    Experts = 8
    Chosen = 2
    Embed = 4096
    Mlp = 14336
    Precision = Precision.Fp32
    Device = None
    Threads = None
    Rounds = 5
    Overrides = []
    Json = false
}

let private where = "legato bench"

let private suites = [
    "machine", Suite.Machine
    "gemm", Suite.Gemm
    "attention", Suite.Attention
    "norm", Suite.Norm
    "moe", Suite.Moe
    "train", Suite.Train
    "prefill", Suite.Prefill
    "decode", Suite.Decode
    "tokenize", Suite.Tokenize
    "vocabulary", Suite.Vocabulary
]

let private apply options argument =
    match argument with
    | Batch sequences -> { options with Batch = sequences }
    | Seq positions -> { options with Sequence = positions }
    | Tokens tokens -> { options with Tokens = Some tokens }
    | Context tokens -> { options with Context = tokens }
    | Text file -> { options with Text = Some file }
    | Size size -> { options with Size = size }
    | Experts experts -> { options with Experts = experts }
    | Top experts -> { options with Chosen = experts }
    | Embed features -> { options with Embed = features }
    | Mlp features -> { options with Mlp = features }
    | Precision precision -> { options with Precision = precision }
    | Device device -> { options with Device = Some device }
    | Threads threads -> { options with Threads = Some threads }
    | Rounds rounds -> { options with Rounds = rounds }
    | Set text -> { options with Overrides = options.Overrides @ [ Arguments.assignment text ] }
    | Json -> { options with Json = true }
    | Suite _
    | Config _ -> options

/// The suite and the model that the words before the flags name.
let private subject words options =
    let known = List.map fst suites

    match words with
    | name :: model when model.Length <= 1 ->
        match List.tryFind (fun (suite, _) -> suite = name) suites with
        | Some(_, suite) -> Ok { options with Suite = suite; Model = List.tryHead model }
        | None -> Error [ Mistake.at where (Mistake.chooseAmong known name) $"no suite is called '{name}'" ]
    | [] -> Error [ Mistake.at where ("known are: " + String.concat ", " known) "no suite is given" ]
    | surplus -> Error [ Mistake.at where "give a suite and a model" $"too many words: {surplus}" ]

let private nameOf suite = suites |> List.find (fun (_, other) -> other = suite) |> fst
let private ofModels = [ Suite.Train; Suite.Prefill; Suite.Decode ]
let private ofKernels = [ Suite.Norm; Suite.Moe ] @ ofModels

/// The flags that size what is measured, and the suites that read them.
let private sizing = [
    "--batch", ofModels, (_.IsBatch: BenchArgument -> bool)
    "--seq", [ Suite.Train ], _.IsSeq
    "--tokens", [ Suite.Norm; Suite.Moe; Suite.Prefill; Suite.Decode; Suite.Vocabulary ], _.IsTokens
    "--context", [ Suite.Decode ], _.IsContext
    "--size", [ Suite.Gemm; Suite.Norm ], _.IsSize
    "--experts", [ Suite.Moe ], _.IsExperts
    "--embed", [ Suite.Moe ], _.IsEmbed
    "--mlp", [ Suite.Moe ], _.IsMlp
]

/// Every flag that some suites don't read, and the suites that do.
let private readers =
    sizing
    @ [
        "--text", [ Suite.Tokenize ], _.IsText
        "--top", [ Suite.Moe ], _.IsTop
        "--precision", ofKernels, _.IsPrecision
        "--device", Suite.Machine :: Suite.Attention :: ofKernels, _.IsDevice
        "--set", ofModels, _.IsSet
    ]

let private withModel = ofModels @ [ Suite.Tokenize ]

let private checks arguments options = [
    Limits.readBy
        (List.contains options.Suite withModel)
        "a model"
        options.Model.IsSome
        (nameOf options.Suite)
        (List.map nameOf withModel)
    yield! Limits.readers nameOf options.Suite arguments readers
    Limits.readBy
        (options.Suite <> Suite.Attention)
        "--device interpreter"
        (options.Device = Some Device.Interpreter)
        "attention, whose sizes take it minutes"
        [ "cpu"; "cuda" ]
    Limits.atLeast 1 "--batch" options.Batch
    Limits.atLeast 1 "--seq" options.Sequence
    Limits.optional (Limits.atLeast 1) "--tokens" options.Tokens
    Limits.atLeast 0 "--context" options.Context
    Limits.atLeast 1 "--size" options.Size
    Limits.atLeast 1 "--experts" options.Experts
    Limits.atLeast 1 "--top" options.Chosen
    Limits.atMost ("--experts", options.Experts) "--top" options.Chosen
    Limits.atLeast 1 "--embed" options.Embed
    Limits.atLeast 1 "--mlp" options.Mlp
    Limits.optional (Limits.upTo CpuDeviceOptions.MostThreads) "--threads" options.Threads
    Limits.atLeast 1 "--rounds" options.Rounds
    Limits.assignments "--set" options.Overrides
]

/// The measurement that a command line asks for; or everything that is wrong with it.
let options (given: ParseResults<BenchArgument>) : Result<BenchOptions, LegatoException list> =
    result {
        let! arguments = Arguments.gather where given

        let words =
            arguments
            |> List.collect (function
                | Suite words -> words
                | _ -> [])

        let! options = List.fold apply defaults arguments |> subject words
        return! Limits.hold where (checks arguments options) options
    }

/// What a suite found, beside its sizes.
type private Outcome = {
    Sizes: (string * string) list
    Limits: Rounds.Limits
    Figures: Rounds.Figure list
    /// Of the one figure, by the plan alone, and where the device's speed comes from.
    Predicted: (float * string) option
    Memory: BenchModel.Memory option
}

let private ofModel options model tokens run =
    let sizes: BenchModel.Sizes = {
        Batch = options.Batch
        Tokens = tokens
        Context = options.Context
        Precision = DeviceChoice.precision options.Precision
        Device = DeviceChoice.chosen options.Device
    }

    let name = options.Model |> Option.defaultValue model
    let source = ModelSource.find name |> ModelSource.withOverrides options.Overrides
    let result: BenchModel.Result = run options.Threads options.Rounds source sizes

    {
        Sizes = [
            "model", name
            "batch", string sizes.Batch
            "tokens", string tokens
            if options.Suite = Suite.Decode then
                "context", string sizes.Context
            "precision", sizes.Precision
            yield! options.Overrides
        ]
        Limits = result.Limits
        Figures = [ result.Figure ]
        Predicted = Some(result.Predicted, result.Origin)
        Memory = Some result.Memory
    }

let private plain sizes (limits, figures) = {
    Sizes = sizes
    Limits = limits
    Figures = figures
    Predicted = None
    Memory = None
}

let private tokens options otherwise = options.Tokens |> Option.defaultValue otherwise

/// Trained before the machine is measured, which takes memory too.
let private measureVocabulary options =
    let training = BenchTokenize.train (tokens options 32_000)
    let rate = float training.Bytes / training.Seconds
    let limits, _ = Rounds.measure options.Threads 1 []

    let figure: Rounds.Figure = {
        Name = "train byte-level BPE"
        Unit = "bytes"
        PerSecond = { Median = rate; Best = rate }
        WorkUnit = ""
        Work = None
        Share = None
    }

    let sizes = [
        "text", $"{training.Bytes} bytes, generated on the way"
        "tokens", string training.Tokens
        "time", Units.seconds training.Seconds
        "peak memory", Units.bytes training.PeakMemory
    ]

    plain sizes (limits, [ figure ])

/// What predictions for this GPU go by, in every precision.
let private measureGpu () =
    use device = new CudaDevice()

    let figures precision =
        PlanTarget.measure device precision
        |> GpuSpeed.figures precision (GpuLimits.ofDevice device.Information precision)

    plain [] (GpuLimits.ofDevice device.Information "bf16", List.collect figures [ "bf16"; "fp16"; "tf32"; "fp32" ])

/// Only what all threads of this machine can do is of use to predictions.
let private measureProcessor options =
    let outcome = Rounds.measure options.Threads options.Rounds [] |> plain []

    if options.Threads.IsNone then
        Option.iter SavedLimits.save outcome.Limits.Best

    outcome

let private mixture options =
    let sizes: BenchMixture.Sizes = {
        Tokens = tokens options 8192
        Experts = options.Experts
        Chosen = options.Chosen
        Embed = options.Embed
        Mlp = options.Mlp
        Precision = DeviceChoice.precision options.Precision
        Device = DeviceChoice.chosen options.Device
    }

    BenchMixture.measure options.Threads options.Rounds sizes
    |> plain [
        "tokens", string sizes.Tokens
        "experts", $"{sizes.Experts} of {sizes.Embed} x {sizes.Mlp}, {sizes.Chosen} a token"
        "precision", sizes.Precision
    ]

let private measure options =
    match options.Suite with
    | Suite.Machine when options.Device = Some Device.Cuda -> measureGpu ()
    | Suite.Machine -> measureProcessor options
    | Suite.Gemm ->
        BenchProduct.measure options.Threads options.Rounds options.Size
        |> plain [ "size", string options.Size ]
    | Suite.Attention ->
        BenchAttention.measure options.Threads options.Rounds (DeviceChoice.chosen options.Device)
        |> plain []
    | Suite.Norm ->
        let sizes: BenchNorm.Sizes = {
            Rows = tokens options 16384
            Features = options.Size
            Precision = DeviceChoice.precision options.Precision
            Device = DeviceChoice.chosen options.Device
        }

        BenchNorm.measure options.Threads options.Rounds sizes
        |> plain [ "rows", string sizes.Rows; "features", string sizes.Features; "precision", sizes.Precision ]
    | Suite.Moe -> mixture options
    | Suite.Train -> ofModel options "gpt2-124m" options.Sequence BenchModel.train
    | Suite.Prefill -> ofModel options "llama-100m" (tokens options 512) BenchModel.prefill
    | Suite.Decode -> ofModel options "llama-100m" (tokens options 128) BenchModel.decode
    | Suite.Tokenize ->
        let name = options.Model |> Option.defaultValue "byte-level BPE trained on the built-in corpus"

        BenchTokenize.measure (options.Threads |> Option.defaultValue 2) options.Rounds options.Model options.Text
        |> plain [ "tokenizer", name; "text", options.Text |> Option.defaultValue "of the built-in corpus" ]
    | Suite.Vocabulary -> measureVocabulary options

let private limitRows (limits: Rounds.Limits) =
    let row name unit (spread: Rounds.Spread) = [ name; Units.rate spread.Median + unit; Units.rate spread.Best + unit ]

    [
        row "multiply-adds, one thread" "FLOP/s" limits.FlopsOneThread
        row $"multiply-adds, {limits.Threads} threads" "FLOP/s" limits.Flops
        row "reads, one thread" "B/s" limits.ReadOneThread
        row $"reads, {limits.Threads} threads" "B/s" limits.Read
    ]

let private figureRow (figure: Rounds.Figure) =
    let shown (choose: Rounds.Spread -> float) =
        let share = figure.Share |> Option.map (choose >> Units.percent) |> Option.defaultValue ""

        let work =
            figure.Work
            |> Option.map (fun work -> $"{Units.rate (choose work)}{figure.WorkUnit}/s")
            |> Option.defaultValue ""

        [ Units.rate (choose figure.PerSecond) + figure.Unit; work; share ]

    figure.Name :: shown _.Median @ shown _.Best

let private print options (outcome: Outcome) =
    let limits = outcome.Limits
    printfn "%s, %d threads, %s; %d rounds" limits.Processor limits.Threads limits.Instructions options.Rounds

    for name, value in outcome.Sizes do
        printfn "%s: %s" name value

    printfn ""
    [ "limits, a second"; "median"; "best" ] :: limitRows limits |> Units.table [ 0 ] |> printfn "%s"

    if not outcome.Figures.IsEmpty then
        [ "measured, a second"; "median"; ""; "share"; "best"; ""; "share" ]
        :: List.map figureRow outcome.Figures
        |> Units.table [ 0 ]
        |> printf "%s"

    outcome.Predicted
    |> Option.iter (fun (predicted, origin) ->
        let figure = outcome.Figures.Head
        let ratio = Units.percent (figure.PerSecond.Median / predicted)
        printfn "\nspeed: %s%s a second predicted, %s of it measured" (Units.rate predicted) figure.Unit ratio
        printfn "speed of the machine: %s" origin)

    outcome.Memory
    |> Option.iter (fun memory ->
        let ratio = Units.percent (float memory.Allocated / float memory.Predicted)

        printfn
            "memory: %s predicted, %s allocated (%s)"
            (Units.bytes memory.Predicted)
            (Units.bytes memory.Allocated)
            ratio)

/// What is too large names no place itself: it is the suite's, and its flags say how large.
let private measured options =
    try
        measure options
    with :? LegatoException as error when isNull error.Where ->
        let flags = [
            for flag, by, _ in sizing do
                if List.contains options.Suite by then
                    flag
        ]

        let remedy =
            if flags.IsEmpty then
                error.Remedy
            else
                "choose a smaller " + String.concat " or " flags

        raise (LegatoException(error.What, $"{where} {nameOf options.Suite}", remedy, error))

let run (options: BenchOptions) : int =
    let outcome = measured options

    if options.Json then
        JsonOutput.print {|
            Suite = options.Suite
            Sizes = dict outcome.Sizes
            Rounds = options.Rounds
            Limits = {| outcome.Limits with Best = outcome.Limits.Best |> Option.map string |}
            Figures = outcome.Figures
            Predicted = outcome.Predicted |> Option.map fst
            SpeedOfTheMachine = outcome.Predicted |> Option.map snd
            Memory = outcome.Memory
        |}
    else
        print options outcome

    0
