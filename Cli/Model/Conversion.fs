/// A checkpoint in another format, or in other types: what `export` and `convert` do.
module Legato.Cli.Conversion

open System.IO
open System.Text.Json
open System.Text.Json.Nodes
open Legato.Cli.ModelSource
open Legato.Compiler
open Legato.Models
open Legato.Runtime
open Legato.Runtime.Checkpoints
open Legato.Runtime.Plans
open Legato.Runtime.Text

/// The model's usual way to speak, which belongs neither to its weights nor to its tokenizer.
let private speech = "generation_config.json"

let private description model = (CompiledModel model :> IPlanSource).Model

let private guardedAt (source: Source) work = guardedIn source.Folder work
let private hub (source: Source) = description (guardedAt source (fun () -> Families.ofConfig source.Config))

/// The model as a checkpoint has it and as a folder is to have it: parts for training alone are kept where they are there.
let private kept (source: Source) weights =
    let whole = if isGguf source then None else Some(description (definitionToTrain source))

    match whole with
    | Some whole when HubCheckpoint.HoldsAll(weights, whole) -> whole, whole
    | _ -> description (definition source), hub source

let private weightsOf (source: Source) =
    match source.Folder with
    | Some path -> path
    | None ->
        let remedy = "give a checkpoint's or a run's folder, or a GGUF file"
        raise (LegatoException("a preset has no weights", source.Name, remedy))

let private isThere path =
    File.Exists path
    || Directory.Exists path && Seq.isEmpty (Directory.EnumerateFileSystemEntries path) |> not

let private requireNew path =
    if isThere path then
        raise (LegatoException("there is something already", path, "give --out a name that is free"))

let private scalar precision =
    match precision with
    | StoredPrecision.Fp32 -> ScalarType.F32
    | StoredPrecision.Bf16 -> ScalarType.BF16
    | StoredPrecision.Fp16 -> ScalarType.F16
    | StoredPrecision.Q8 ->
        raise (
            LegatoException(
                "a folder of safetensors can't hold q8",
                "--precision",
                "use fp32, bf16 or fp16, or give --out a .gguf"
            )
        )

let private typeNames = [ ScalarType.F32, "float32"; ScalarType.BF16, "bfloat16"; ScalarType.F16, "float16" ]

/// The config with the type that the weights are written in, under the key that it has for it.
let private retyped (precision: ScalarType option) (config: string) =
    match precision with
    | None -> config
    | Some precision ->
        let json = JsonNode.Parse(config).AsObject()
        let key = if json.ContainsKey "dtype" then "dtype" else "torch_dtype"
        json[key] <- JsonValue.Create(typeNames |> List.find (fst >> (=) precision) |> snd)
        Config.text json

let private holdsTokenizer (path: string) =
    use file = new GgufFile(path)
    file.Metadata.Keys |> Seq.exists _.StartsWith("tokenizer.")

/// A file that a copy must not spread.
let private requireJson (file: string) =
    if file.EndsWith ".json" then
        try
            JsonDocument.Parse(File.ReadAllBytes file).Dispose()
        with :? JsonException as e ->
            let line = e.LineNumber.GetValueOrDefault() + 1L
            let remedy = "put the whole file there, or take it away to write the folder without"
            raise (LegatoException($"the file is no JSON: line {line} can't be read", file, remedy, e))

/// One that Legato can't read may be one of another kind, which other programs read.
let private noteUnreadable (from: string) =
    if Tokenizer.IsIn from then
        try
            Tokenizer.Load from |> ignore
        with :? LegatoException as e ->
            eprintfn "note: the tokenizer is copied as it lies, and Legato can't read it: %s" e.What
            e.Where |> Option.ofObj |> Option.iter (eprintfn "  where: %s")

let private noteNonFinite (tensors: NonFiniteTensors) =
    tensors.Description
    |> Option.ofObj
    |> Option.iter (eprintfn "note: %s; they are written as they are")

let private copyText (from: string) folder =
    if GgufFile.IsNamed from then
        if holdsTokenizer from then
            (Tokenizer.Load from).Save folder
    else
        match List.ofSeq (Tokenizer.FilesIn from) with
        | [] when Tokenizer.IsIn from -> (Tokenizer.Load from).Save folder
        | names ->
            noteUnreadable from

            for name in speech :: names do
                let file, copy = Path.Combine(from, name), Path.Combine(folder, name)

                if File.Exists file then
                    requireJson file
                    Directory.CreateDirectory(Path.GetDirectoryName copy) |> ignore
                    File.Copy(file, copy)

/// Writes a folder in the Hugging Face layout: config.json, weights, and the tokenizer's files where there are any.
/// <exception cref="LegatoException">The source can't be read or doesn't fit its config, or the folder can't be written.</exception>
let toFolder (source: Source) (precision: StoredPrecision option) (shardBytes: int64) (folder: string) =
    requireNew folder
    let from = weightsOf source
    LaterLayers.noteUnread source
    let precision = precision |> Option.map scalar
    use weights = HubCheckpoint.Open from
    let stored, written = kept source weights

    AtomicWrite.NewFolder(
        folder,
        fun path ->
            File.WriteAllText(Path.Combine(path, CheckpointFolder.ConfigFile), retyped precision source.Config)
            copyText from path

            CheckpointConversion.ToFolder(weights, stored, written, path, Option.toNullable precision, shardBytes)
            |> noteNonFinite
    )

/// A matrix's type in GGUF, and the number that the file as a whole is marked with (llama_ftype).
let private encoding precision =
    match precision with
    | StoredPrecision.Fp32 -> TensorType.F32, 0u
    | StoredPrecision.Fp16 -> TensorType.F16, 1u
    | StoredPrecision.Q8 -> TensorType.Q8_0, 7u
    | StoredPrecision.Bf16 -> TensorType.BF16, 32u

/// A folder's tokenizer that can't be read is no reason to refuse its weights, which GGUF holds without one too.
let private tokenizerEntries (from: string) =
    if GgufFile.IsNamed from then
        if holdsTokenizer from then List.ofSeq ((Tokenizer.Load from).ToGguf()) else []
    elif Tokenizer.IsIn from then
        try
            List.ofSeq ((Tokenizer.Load from).ToGguf())
        with :? LegatoException as e ->
            eprintfn "note: the GGUF file is without the folder's tokenizer, which can't be put into it: %s" e.What
            e.Where |> Option.ofObj |> Option.iter (eprintfn "  where: %s")
            []
    else
        []

/// Writes a GGUF file, the tokenizer in it where there is one.
/// <exception cref="LegatoException">The source can't be read or doesn't fit its config, GGUF has no words for the model, or
/// the file can't be written.</exception>
let toGguf (source: Source) (precision: StoredPrecision option) (file: string) =
    requireNew file
    let from = weightsOf source
    LaterLayers.noteUnread source
    let model = guardedAt source (fun () -> Families.ofConfig source.Config)
    let renamed = guardedAt source (fun () -> description (GgufModel.named model))
    let name = Path.GetFileNameWithoutExtension file
    let metadata, constants = guardedAt source (fun () -> GgufModel.describe name source.Config)
    use weights = HubCheckpoint.Open from

    let matrices, mark =
        match precision with
        | Some precision ->
            let matrices, mark = encoding precision
            System.Nullable matrices, [ System.Collections.Generic.KeyValuePair("general.file_type", box mark) ]
        | None -> System.Nullable(), []

    let entries = metadata @ mark @ tokenizerEntries from

    CheckpointConversion.ToGguf(weights, description (definition source), renamed, file, matrices, entries, constants)
    |> noteNonFinite
