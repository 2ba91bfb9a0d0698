/// Runs `legato bench`: a suite by its sizes, on its device.
module Legato.Cli.BenchRun

open Legato.Cli.Bench
open Legato.Cli.BenchPage
open Legato.Runtime
open Legato.Runtime.Cuda

/// `usual`: the tokens of a sequence unless told, where the model has room for so many.
let private ofModel options model given usual run =
    let name = options.Model |> Option.defaultValue model
    let source = ModelSource.find name |> ModelSource.withOverrides options.Overrides

    let tokens =
        given
        |> Option.defaultWith (fun () ->
            let room = (ModelSource.definition source).Context - options.Context
            min usual room |> max 1)

    let sizes: BenchModel.Sizes = {
        Batch = options.Batch
        Tokens = tokens
        Context = options.Context
        Precision = DeviceChoice.precision options.Precision
        Device = DeviceChoice.chosen options.Device
    }

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

    let limits, figures, ways = BenchMixture.measure options.Threads options.Rounds sizes

    (limits, figures)
    |> plain [
        "tokens", string sizes.Tokens
        "experts", $"{sizes.Experts} of {sizes.Embed} x {sizes.Mlp}, {sizes.Chosen} a token"
        "precision", sizes.Precision
        for step, way in ways do
            $"dense {step}", way
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
    | Suite.Train -> ofModel options "gpt2-124m" options.Sequence 256 BenchModel.train
    | Suite.Prefill -> ofModel options "llama-100m" options.Tokens 512 BenchModel.prefill
    | Suite.Decode -> ofModel options "llama-100m" options.Tokens 128 BenchModel.decode
    | Suite.Tokenize ->
        let name = options.Model |> Option.defaultValue "byte-level BPE trained on the built-in corpus"

        BenchTokenize.measure (options.Threads |> Option.defaultValue 2) options.Rounds options.Model options.Text
        |> plain [ "tokenizer", name; "text", options.Text |> Option.defaultValue "of the built-in corpus" ]
    | Suite.Vocabulary -> measureVocabulary options

/// The flags that say how large a suite's subject is.
let private flagsOfSize suite = [
    for flag, by, _ in sizing do
        if List.contains suite by then
            flag
]

/// A mistake that names no place is the suite's; what is too large is made smaller by its flags.
let private measured options =
    try
        measure options
    with :? LegatoException as error when isNull error.Where ->
        let remedy =
            match error, flagsOfSize options.Suite with
            | :? TooLargeException, (_ :: _ as flags) -> "choose a smaller " + String.concat " or " flags
            | _ -> error.Remedy

        raise (LegatoException(error.What, $"{where} {nameOf options.Suite}", remedy, error))

let run (options: BenchOptions) : int =
    let outcome = measured options

    if options.Json then
        JsonOutput.print (document options outcome)
    else
        print options outcome

    0
