/// `legato verify`: recomputes what a folder has recorded, and tells how far off the result is.
module Legato.Cli.Verify

open System.Globalization
open System.IO
open Argu
open Legato.Runtime

type VerifyArgument =
    | [<MainCommand>] Folder of dir: string
    | Tolerance of difference: float
    | Round_Trip
    | Device of Device
    | Precision of Precision
    | Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Folder _ ->
                "a checkpoint folder with recorded logits and tokens, or with a recorded training run; with --round-trip any with weights, a GGUF file too"
            | Tolerance _ ->
                "the largest difference that passes: of logits, absolute (default: 1e-4; in narrow types what rounding the weights explains, relative), or of losses, relative (default: 0.001; bf16 and fp16 0.02)"
            | Round_Trip ->
                "export the model (any with weights), load it again and compare tensors and logits, bit for bit"
            | Device _ -> "where to run (default: cuda where there is a GPU, else cpu)"
            | Precision _ -> "the type to hold the weights in (default: fp32)"
            | Json -> "print the differences as JSON"

type VerifyOptions = {
    Folder: string
    /// None: what the precision explains.
    Tolerance: float option
    RoundTrip: bool
    Device: Device option
    Precision: Precision
    Json: bool
}

let private defaults = {
    Folder = ""
    Tolerance = None
    RoundTrip = false
    Device = None
    Precision = Precision.Fp32
    Json = false
}

let private where = "legato verify"

let private apply options argument =
    match argument with
    | Folder folder -> { options with Folder = folder }
    | Tolerance difference -> { options with Tolerance = Some difference }
    | Round_Trip -> { options with RoundTrip = true }
    | Device device -> { options with Device = Some device }
    | Precision precision -> { options with Precision = precision }
    | Json -> { options with Json = true }

let private checks options = [
    Limits.given "DIR" options.Folder
    Limits.optional Limits.notNegative "--tolerance" options.Tolerance
    Limits.readBy
        (not options.RoundTrip)
        "--tolerance"
        options.Tolerance.IsSome
        "--round-trip, which compares bit for bit"
        [ "a comparison with what the folder records" ]
]

/// The comparison that a command line asks for; or everything that is wrong with it.
let options (given: ParseResults<VerifyArgument>) : Result<VerifyOptions, LegatoException list> =
    Arguments.options where apply defaults (fun _ -> checks) given

let private name (device: Device) = device.ToString().ToLowerInvariant()

let private comparisons options device =
    if options.RoundTrip then
        VerifyRoundTrip.compare device (DeviceChoice.precision options.Precision) options.Folder
    elif VerifyTraining.isRecordedIn options.Folder then
        VerifyTraining.compare device options.Precision options.Tolerance options.Folder
    elif VerifyInference.isRecordedIn options.Folder then
        VerifyInference.compare device options.Precision options.Tolerance options.Folder
    elif File.Exists options.Folder then
        raise (
            Mistake.at options.Folder "give the folder that it lies in" "this is a file, and records lie in a folder"
        )
    elif not (Directory.Exists options.Folder) then
        raise (Mistake.at options.Folder "check the path" "there is no such folder")
    else
        raise (
            Mistake.at
                options.Folder
                $"give a folder with {VerifyInference.recordFile} (logits and tokens that were recorded), or with {VerifyTraining.recordFile} (a recorded training run) and its weights; a run or a model without records can be verified with --round-trip"
                "the folder records nothing that could be verified"
        )

let private row (comparison: Comparison) = [
    comparison.Name
    comparison.Difference.ToString("0.0e+00", CultureInfo.InvariantCulture)
    comparison.Allowed
    |> Option.map (fun a -> a.ToString("0.0e+00", CultureInfo.InvariantCulture))
    |> Option.defaultValue ""
    (if comparison.IsWithin then "ok" else "differs")
]

let private print options device comparisons =
    printfn "%s on %s in %s" options.Folder (name device) (DeviceChoice.precision options.Precision)

    [ "compared"; "largest difference"; "allowed"; "" ] :: List.map row comparisons
    |> Units.table [ 0; 3 ]
    |> printf "%s"

/// The exit code of a comparison that found too large a difference.
let private differs = 1

let run (options: VerifyOptions) : int =
    let choice = DeviceChoice.chosen options.Device
    use device = DeviceChoice.openDevice choice None true
    let comparisons = comparisons options device

    if options.Json then
        JsonOutput.print {|
            Folder = options.Folder
            Device = name choice
            Precision = DeviceChoice.precision options.Precision
            Passed = comparisons |> List.forall _.IsWithin
            Comparisons = comparisons
        |}
    else
        print options choice comparisons

    if comparisons |> List.forall _.IsWithin then 0 else differs
