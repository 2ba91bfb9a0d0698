/// `legato export`: a run's or a checkpoint's model as a folder in the Hugging Face layout, which other programs load.
module Legato.Cli.Export

open Argu
open Legato.Runtime
open Legato.Runtime.Checkpoints

type ExportArgument =
    | [<MainCommand>] Model of model: string
    | Out of dir: string
    | Precision of FolderPrecision
    | Shard_Size of bytes: int64

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Model _ -> "a run folder (its latest checkpoint), a checkpoint folder or a GGUF file"
            | Out _ -> "the folder to write: config.json, safetensors, the tokenizer's files"
            | Precision _ -> "the type of the weights (default: the stored one)"
            | Shard_Size _ -> "the most bytes a weights file holds (default: 5000000000)"

type ExportOptions = {
    Model: string
    Out: string
    /// None: as stored.
    Precision: FolderPrecision option
    ShardBytes: int64
}

let private where = "legato export"

let private apply options argument =
    match argument with
    | Model name -> { options with Model = name }
    | Out folder -> { options with Out = folder }
    | Precision precision -> { options with Precision = Some precision }
    | Shard_Size bytes -> { options with ShardBytes = bytes }

let private defaults = { Model = ""; Out = ""; Precision = None; ShardBytes = HubCheckpoint.ShardBytes }

let private notGguf (out: string) where =
    if GgufFile.IsNamed out then
        "export writes a folder, and --out names a GGUF file"
        |> Mistake.at where "name a folder, or write the file with `legato convert`"
        |> Some
    else
        None

let private checks (arguments: ExportArgument list) options = [
    Limits.given "MODEL" options.Model
    Limits.namedPlace "--out" (arguments |> List.exists _.IsOut) options.Out
    notGguf options.Out
    Limits.folderName "name a folder; its model.safetensors holds the weights" "--out" options.Out
    Limits.above 0.0 "--shard-size" (float options.ShardBytes)
]

let options (given: ParseResults<ExportArgument>) : Result<ExportOptions, LegatoException list> =
    Arguments.options where apply defaults checks given

let private stored precision =
    match precision with
    | FolderPrecision.Fp32 -> StoredPrecision.Fp32
    | FolderPrecision.Bf16 -> StoredPrecision.Bf16
    | FolderPrecision.Fp16 -> StoredPrecision.Fp16

let run (options: ExportOptions) =
    let precision = Option.map stored options.Precision

    ModelSource.tellingWhole options.Model (fun () ->
        let source = ModelSource.findWeights options.Model
        Conversion.toFolder source precision options.ShardBytes options.Out)

    printfn "%s" options.Out
    0
