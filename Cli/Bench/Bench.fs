/// `legato bench`: what this machine can do, and how much of it Legato uses.
module Legato.Cli.Bench

open Argu
open FsToolkit.ErrorHandling
open Legato.Cli.Repeatable
open Legato.Runtime

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
            | Seq _ -> "positions a sequence (train; default: 256, or the model's context where that is shorter)"
            | Tokens _ ->
                "tokens to prefill, decode, send to experts or learn (vocabulary), rows to norm (default: 512, 128, 8192, 32000, 16384; no more than the model's context holds)"
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
    /// None: the suite's own.
    Sequence: int option
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
    Sequence = None
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

let where = "legato bench"

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
    | Seq positions -> { options with Sequence = Some positions }
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

let nameOf suite = suites |> List.find (fun (_, other) -> other = suite) |> fst
let private ofModels = [ Suite.Train; Suite.Prefill; Suite.Decode ]
let private ofKernels = [ Suite.Norm; Suite.Moe ] @ ofModels

/// The flags that size what is measured, and the suites that read them.
let sizing = [
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

/// The flag that says to a suite what one that it doesn't read says to others.
let private instead flag suite =
    match flag, suite with
    | "--seq", (Suite.Norm | Suite.Moe | Suite.Prefill | Suite.Decode)
    | "--context", Suite.Prefill -> Some "--tokens"
    | ("--tokens" | "--context"), Suite.Train -> Some "--seq"
    | _ -> None

let private withModel = ofModels @ [ Suite.Tokenize ]

let private checks arguments options = [
    Limits.readBy
        (List.contains options.Suite withModel)
        "a model"
        options.Model.IsSome
        (nameOf options.Suite)
        (List.map nameOf withModel)
    yield! Limits.readers nameOf instead options.Suite arguments readers
    Limits.readBy
        (options.Suite <> Suite.Attention)
        "--device interpreter"
        (options.Device = Some Device.Interpreter)
        "attention, whose sizes take it minutes"
        [ "cpu"; "cuda" ]
    Limits.atLeast 1 "--batch" options.Batch
    Limits.optional (Limits.atLeast 1) "--seq" options.Sequence
    Limits.optional (Limits.atLeast 1) "--tokens" options.Tokens
    Limits.atLeast 0 "--context" options.Context
    Limits.atLeast 1 "--size" options.Size
    Limits.atLeast 1 "--experts" options.Experts
    Limits.atLeast 1 "--top" options.Chosen
    Limits.atMost ("--experts", options.Experts) "--top" options.Chosen
    Limits.atLeast 1 "--embed" options.Embed
    Limits.atLeast 1 "--mlp" options.Mlp
    Limits.optional Limits.threads "--threads" options.Threads
    Limits.atLeast 1 "--rounds" options.Rounds
    Limits.assignments "--set" options.Overrides
]

/// The measurement that a command line asks for; or everything that is wrong with it.
let options (given: ParseResults<BenchArgument>) : Result<BenchOptions, LegatoException list> =
    result {
        let! gathered = Arguments.gather where given

        let words =
            gathered.Arguments
            |> List.collect (function
                | Suite words -> words
                | _ -> [])

        let! options = List.fold apply defaults gathered.Arguments |> subject words
        return! Arguments.hold where (checks gathered.Arguments options) gathered options
    }
