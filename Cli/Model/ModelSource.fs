/// What MODEL names: a preset, a checkpoint folder, a run's folder, which stands for its latest checkpoint, or a GGUF file.
module Legato.Cli.ModelSource

open System
open System.IO
open Legato.Dsl
open Legato.Models
open Legato.Runtime
open Legato.Runtime.Checkpoints
open Legato.Runtime.Text
open Legato.Runtime.Training

/// A config, and where its weights lie, if anywhere: a folder or a GGUF file.
type Source = {
    Name: string
    /// The text of the config.json.
    Config: string
    Folder: string option
}

/// A model that is to be trained or to speak, whatever declares it.
[<NoEquality; NoComparison>]
type Choice = {
    Name: string
    /// The model for a vocabulary: a preset has any, a checkpoint its own.
    Fit: Tokenizer -> ModelDef
    /// What it is without a tokenizer, where it can be told: a checkpoint's model, a preset with its own vocabulary.
    Usual: (unit -> ModelDef) option
    /// Where its weights lie; None: nowhere yet.
    Folder: string option
}

/// A mistake in a model is a user's mistake like any other.
let guarded (work: unit -> 'T) =
    try
        work ()
    with ModelError(what, where, remedy) as mistake ->
        raise (LegatoException(what, where, remedy, mistake))

/// As `guarded`, for what is wrong with a config that lies in a folder: told with the file's path.
let guardedIn (folder: string option) (work: unit -> 'T) =
    try
        work ()
    with ModelError(what, where, remedy) as mistake ->
        let place =
            match folder with
            | Some path when not (GgufFile.IsNamed path) ->
                where.Replace(Config.place, Path.Combine(path, CheckpointFolder.ConfigFile))
            | _ -> where

        raise (LegatoException(what, place, remedy, mistake))

/// What a verb without presets takes.
let private takesWeights =
    "give a run's or a checkpoint's folder, or a GGUF file, whose name ends in .gguf"

/// Extensions of the files that a checkpoint's folder has.
let private filesOfCheckpoints = [ ".safetensors"; ".json" ]

let private refuseFile (file: string) =
    let what, remedy =
        if List.contains (Path.GetExtension(file).ToLowerInvariant()) filesOfCheckpoints then
            "this is a file, and a checkpoint is a folder", "give the folder that it lies in"
        else
            "this is a file, and no model", takesWeights

    raise (LegatoException(what, file, remedy))

/// Runs of a folder that a mistake names.
let private mostNamed = 3

/// A folder of runs is none itself.
let private refuseRuns folder =
    if not (File.Exists(Path.Combine(folder, CheckpointFolder.ConfigFile))) then
        match Runs.newestFirst folder with
        | [] -> ()
        | runs ->
            let named = runs |> List.truncate mostNamed |> String.concat ", "

            let which =
                if runs.Length > mostNamed then
                    "give one of them, the newest are"
                else
                    "give one of them:"

            raise (LegatoException("the folder holds runs, and is none itself", folder, $"{which} {named}"))

/// The checkpoint that a folder stands for: its own, or the latest of the run in it.
let checkpointOf folder =
    if File.Exists folder then
        refuseFile folder

    if not (Directory.Exists folder) then
        raise (LegatoException("there is no such folder", folder, "check the path"))

    if not (Runs.isRun folder) then
        refuseRuns folder
        folder
    else
        match RunFolder.Open(folder).Latest with
        | null -> raise (LegatoException("the run has no checkpoint yet", folder, "let it train on, or start it anew"))
        | latest -> latest

/// The path of the tokenizer that is named: a run's folder stands for its latest checkpoint.
let tokenizerOf path = if Runs.isRun path && not (Tokenizer.IsIn path) then checkpointOf path else path

/// Says of a mistake in the newest checkpoint of a run's folder which one before it is whole.
let tellingWhole (model: string) (work: unit -> 'T) =
    let wholeBeside (place: string) =
        let run = if Runs.isRun model then Some(RunFolder.Open model) else None

        run
        |> Option.filter (fun run -> run.IsInLatest place && not run.IsLatestWhole)
        |> Option.bind (fun run -> Option.ofObj (run.WholeBeforeLatest()))

    try
        work ()
    with :? LegatoException as mistake ->
        match wholeBeside mistake.Where with
        | None -> reraise ()
        | Some whole ->
            let own = mistake.Remedy |> Option.ofObj |> Option.map (fun remedy -> remedy + "; or ")

            let remedy =
                $"{Option.defaultValue String.Empty own}give {whole}, the checkpoint before, which is whole"

            raise (LegatoException(mistake.What, mistake.Where, remedy, mistake))

let private isPath (model: string) = Path.Exists model || Path.GetFileName model <> model

let private preset name =
    try
        Presets.find name
    with ModelError(what, where, remedy) as mistake ->
        raise (LegatoException($"{what}, and there is no folder of that name", where, remedy, mistake))

let isGguf (source: Source) = source.Folder |> Option.exists GgufFile.IsNamed

/// <exception cref="LegatoException">There is no such preset, folder or file, or it has no config.</exception>
let find (model: string) : Source =
    if GgufFile.IsNamed model && Directory.Exists model then
        let remedy = "give the folder a name that doesn't end in .gguf"
        raise (LegatoException("this is a folder, and its name is a GGUF file's", model, remedy))
    elif GgufFile.IsNamed model then
        { Name = model; Config = guarded (fun () -> GgufModel.config model); Folder = Some model }
    elif isPath model then
        let folder = checkpointOf model

        let config =
            guardedIn (Some folder) (fun () -> Families.unquantised (CheckpointFolder.ReadConfig folder))

        { Name = model; Config = config; Folder = Some folder }
    else
        let preset = preset model
        { Name = preset.Name; Config = preset.Config; Folder = None }

/// As `find`, for verbs that need weights, which no preset has.
let findWeights (model: string) : Source =
    let isPreset = Presets.all |> List.exists (fun preset -> preset.Name = model)

    if GgufFile.IsNamed model || isPath model || isPreset then
        find model
    else
        raise (LegatoException("there is no folder or file of that name", model, takesWeights))

/// The model of a source's config, under the names that its weights have there.
let private ofConfig read (source: Source) config =
    let model: ModelDef = read config

    match source.Folder with
    | Some path when GgufFile.IsNamed path -> GgufModel.namedAs path model
    | _ -> model

let private defined read (source: Source) : ModelDef =
    let name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath source.Name))
    guardedIn source.Folder (fun () -> { ofConfig read source source.Config with Name = name })

/// The model as its source declares it, called by the preset's or the folder's name.
let definition source = defined Families.ofConfig source

/// The same with the parts that training alone computes.
let definitionToTrain source = defined Families.toTrain source

/// A line end, as vocabularies of characters and of bytes spell it.
let private lineEnds = [ "\n"; "Ċ" ]

// A text of a tokenizer without a begin token starts as every line does: behind a line end.
let private beginToken (tokenizer: Tokenizer) =
    Option.ofNullable tokenizer.BeginOfSequenceId
    |> Option.orElse (Option.ofNullable tokenizer.EndOfSequenceId)
    |> Option.orElseWith (fun () -> lineEnds |> List.tryPick (tokenizer.IdOf >> Option.ofNullable))

let private fitted (tokenizer: Tokenizer) config =
    config
    |> Families.withVocabulary tokenizer.VocabularySize
    |> Families.withPadding (Option.ofNullable tokenizer.PaddingId)
    |> Families.withTokens (beginToken tokenizer) (Option.toList (Option.ofNullable tokenizer.EndOfSequenceId))

/// The source with keys of its config overridden.
let withOverrides (overrides: (string * string) list) (source: Source) : Source = {
    source with
        Config = guarded (fun () -> Families.withOverrides overrides source.Config)
}

let private chosen read overrides (source: Source) : Choice =
    // What --set says is no fault of the file's.
    let place = if List.isEmpty overrides then source.Folder else None

    let ofSource fit () =
        guardedIn place (fun () ->
            let config = if source.Folder.IsSome then source.Config else fit source.Config
            let model = ofConfig read source (Families.withOverrides overrides config)
            if source.Folder.IsSome then model else { model with Name = source.Name })

    {
        Name = source.Name
        Fit = fun tokenizer -> ofSource (fitted tokenizer) ()
        Usual = Some(ofSource id)
        Folder = source.Folder
    }

/// The model of a source.
let choose (source: Source) : Choice = chosen Families.ofConfig [] source

/// The model of a source with the parts that training alone computes, some keys of its config overridden.
let chooseToTrain (overrides: (string * string) list) (source: Source) : Choice =
    chosen Families.toTrain overrides source
