/// `legato convert`: weights between safetensors and GGUF, and between types.
module Legato.Cli.Convert

open Argu
open Legato.Runtime
open Legato.Runtime.Checkpoints

type ConvertArgument =
    | [<MainCommand>] Model of model: string
    | Out of path: string
    | Precision of StoredPrecision

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Model _ -> "a checkpoint folder, a run folder or a GGUF file"
            | Out _ -> "what to write: a folder of safetensors, or a GGUF file if the name ends in .gguf"
            | Precision _ ->
                "the type of the weights; q8 is GGUF's Q8_0 (default: what holds the stored ones without loss)"

type ConvertOptions = {
    Model: string
    Out: string
    /// None: what holds the stored weights without loss.
    Precision: StoredPrecision option
}

let private where = "legato convert"

let private apply options argument =
    match argument with
    | Model name -> { options with Model = name }
    | Out path -> { options with Out = path }
    | Precision precision -> { options with Precision = Some precision }

let private checks (arguments: ConvertArgument list) options = [
    Limits.given "MODEL" options.Model
    Limits.namedPlace "--out" (arguments |> List.exists _.IsOut) options.Out
    Limits.folderName "name a folder, or a file that ends in .gguf" "--out" options.Out
]

let options (given: ParseResults<ConvertArgument>) : Result<ConvertOptions, LegatoException list> =
    Arguments.options where apply { Model = ""; Out = ""; Precision = None } checks given

let run (options: ConvertOptions) =
    ModelSource.tellingWhole options.Model (fun () ->
        let source = ModelSource.findWeights options.Model

        if GgufFile.IsNamed options.Out then
            Conversion.toGguf source options.Precision options.Out
        else
            Conversion.toFolder source options.Precision HubCheckpoint.ShardBytes options.Out)

    printfn "%s" options.Out
    0
