/// Layers that tell later tokens: published checkpoints leave them out, though their configs count them, and those of a GGUF file
/// are left out here.
module Legato.Cli.LaterLayers

open Legato.Cli.ModelSource
open Legato.Compiler
open Legato.Runtime
open Legato.Runtime.Checkpoints
open Legato.Runtime.Plans

let private key = "num_nextn_predict_layers"

// The model is the one that training computes.
let private areMissing (model: ModelDescription) (folder: string) =
    use checkpoint = HubCheckpoint.Open folder
    let names = model.Parameters |> Seq.map _.Path
    let tellsLater = names |> Seq.exists (fun path -> path.Split '.' |> Array.contains "ahead")
    tellsLater && not (HubCheckpoint.HoldsAll(checkpoint, model))

/// Training can't go on without them.
/// <exception cref="LegatoException">The checkpoint doesn't hold what the config counts.</exception>
let require (model: ModelDescription) (folder: string) =
    if areMissing model folder then
        raise (
            LegatoException(
                $"{key} counts layers that tell later tokens, and the checkpoint doesn't hold all of them",
                folder,
                $"train without them: --set {key}=0"
            )
        )

/// Says that a GGUF file's are not read.
let noteUnread (source: Source) =
    match source.Folder with
    | Some file when isGguf source && guarded (fun () -> GgufModel.tellsLater file) ->
        eprintfn "note: the layers of %s that tell later tokens are left out" file
    | _ -> ()

/// Says that they are not there, or not read, where nothing but training would read them.
let note (source: Source) =
    noteUnread source

    match source.Folder with
    | Some folder when not (isGguf source) ->
        let whole = CompiledModel(definitionToTrain source) :> IPlanSource

        if areMissing whole.Model folder then
            eprintfn
                "note: %s of the config counts layers that tell later tokens, and %s doesn't hold them; the model speaks without"
                key
                folder
    | _ -> ()
