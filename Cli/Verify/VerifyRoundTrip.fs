/// Exports a model, loads what was written, and compares it with what it was written from.
module Legato.Cli.VerifyRoundTrip

open System
open System.IO
open Legato.Runtime
open Legato.Runtime.Checkpoints
open Legato.Runtime.Devices
open Legato.Runtime.Plans

/// Positions of the text that both are given.
let private longest = 32

/// Every token in its turn, in strides that meet neighbours seldom.
let private text (model: ModelDescription) =
    Array.init (int (min (int64 longest) model.Context)) (fun i -> int ((7919L * int64 i + 13L) % model.Vocabulary))

let private logits (device: IDevice) precision (source: ModelSource.Source) =
    let plans = ModelSource.definition source |> ShownPlans.ofModel
    let tokens = text plans.Model
    let length = int64 tokens.Length
    let given = if plans.Model.Task = ModelTask.SequenceToSequence then tokens else [||]
    use memory = new ModelMemory(device)

    let request = PlanRequest(Purpose.Forward, 1L, length, length, precision, Source = int64 given.Length)

    use executable = memory.Compile(plans.Plan request)
    HubCheckpoint.Load(source.Folder.Value, plans.Model, fun path -> memory.Parameter path)
    VerifyInference.forwardBeside given executable tokens

/// Bytes that are compared at a time.
let private chunk = 1L <<< 24

let private isSameFrom (a: StoredTensor) (b: StoredTensor) start =
    let length = int (min chunk (a.Info.Bytes - start))
    let theirs = b.File.Span(b.Info.Offset + start, length)
    (a.File.Span(a.Info.Offset + start, length)).SequenceEqual theirs

let private isSame (a: ITensorSource) (b: ITensorSource) name =
    match a.Find name, b.Find name with
    | null, _
    | _, null -> false
    | a, b ->
        a.Info.Type = b.Info.Type
        && Seq.toList a.Info.Shape = Seq.toList b.Info.Shape
        && List.forall (isSameFrom a b) [ 0L .. chunk .. a.Info.Bytes - 1L ]

// Blocks are written as plain numbers.
let private isInBlocks (source: ITensorSource) name =
    match source.Find name with
    | null -> false
    | tensor -> tensor.Info.Type.IsBlock()

/// How many of the written tensors are not those that were read. GGUF's names and types are others.
let private otherTensors (before: string) (after: string) =
    use a = HubCheckpoint.Open before
    use b = HubCheckpoint.Open after

    b.Names
    |> Seq.filter (fun name -> not (isInBlocks a name || isSame a b name))
    |> Seq.length
    |> float

/// <exception cref="LegatoException">There is no folder for temporary files.</exception>
let private temporary () =
    try
        (Directory.CreateTempSubdirectory "legato-round-trip-").FullName
    with
    | :? IOException
    | :? UnauthorizedAccessException as error ->
        let remedy = "set TMPDIR to a folder that you may write to"
        raise (LegatoException("no temporary folder can be made", Path.GetTempPath(), remedy, error))

/// <exception cref="LegatoException">The model has no weights, or can't be read or written.</exception>
let compare (device: IDevice) precision (model: string) : Comparison list =
    let source = ModelSource.find model
    let home = ref ""
    let remove () = AtomicWrite.TryRemoveFolder home.Value
    use _ = Unfinished.Begin((fun () -> home.Value <- temporary ()), remove)

    try
        let copy = Path.Combine(home.Value, "model")
        Conversion.toFolder source None HubCheckpoint.ShardBytes copy
        let before = logits device precision source
        let after = logits device precision (ModelSource.find copy)
        let largest = Array.map2 Comparison.between before after |> Comparison.largest

        [
            { Name = "logits"; Difference = largest; Allowed = Some 0.0 }
            if not (GgufFile.IsNamed model) then
                {
                    Name = "tensors"
                    Difference = otherTensors source.Folder.Value copy
                    Allowed = Some 0.0
                }
        ]
    finally
        remove ()
