/// MODEL on a command line: a preset's name, or a checkpoint folder.
module Legato.Cli.ModelSource

open System.IO
open Legato.Compiler
open Legato.Dsl
open Legato.Models
open Legato.Runtime
open Legato.Runtime.Checkpoints

type ModelSource = {
    Definition: ModelDef
    /// Where its weights are; None: a preset, which has none.
    Folder: string option
}

let private guarded make =
    try
        make ()
    with ModelError(what, where, remedy) as mistake ->
        raise (LegatoException(what, where, remedy, mistake))

/// A model of a folder is called as the folder is.
let ofFolder (folder: string) = {
    Definition = {
        guarded (fun () -> Families.ofConfig (CheckpointFolder.ReadConfig folder)) with
            Name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath folder))
    }
    Folder = Some folder
}

/// <exception cref="LegatoException">It is neither; or the folder's config can't be read, or is of an unknown family.</exception>
let resolve (name: string) : ModelSource =
    let isPreset = Presets.all |> List.exists (fun preset -> preset.Name = name)

    if not isPreset && Directory.Exists name then
        ofFolder name
    elif not isPreset && name.IndexOfAny [| '/'; '\\' |] >= 0 then
        raise (Mistake.at name "check the path" "there is no such checkpoint folder")
    else
        { Definition = guarded (fun () -> Presets.model (Presets.find name)); Folder = None }

let plans (source: ModelSource) = CompiledModel source.Definition :> Plans.IPlanSource
