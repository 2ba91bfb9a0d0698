/// Plans that are begun before the tokenizer is read: with its own vocabulary, as most often, a preset's are the ones that it
/// is trained by, and a checkpoint's model has no other.
module Legato.Cli.TrainAhead

open System
open System.Threading
open System.Threading.Tasks
open Legato.Cli.ModelSource
open Legato.Cli.TrainNeed
open Legato.Cli.TrainOptions
open Legato.Compiler
open Legato.Dsl
open Legato.Runtime
open Legato.Runtime.Cuda
open Legato.Runtime.Data
open Legato.Runtime.Plans
open Legato.Runtime.Training

/// A model and its plans, made as long as nothing is known against it.
[<NoEquality; NoComparison>]
type private Ahead = { Model: ModelDef; Plans: IPlanSource; Making: CancellationTokenSource }

/// Once the device is opened, and if it is a GPU.
let private onGpu (opening: DeviceChoice.Opening) (work: CudaDevice -> unit) =
    let work () =
        match opening.Device with
        | :? CudaDevice as gpu -> work gpu
        | _ -> ()

    Task.Run work |> ignore

// Other objectives need to know the tokenizer's tokens. What is wrong with the model is told when it is asked for in earnest.
let private make opening (options: TrainOptions) (stopped: CancellationToken) (model: ModelDef) =
    let making = CancellationTokenSource.CreateLinkedTokenSource stopped
    let withdrawn = making.Token
    let ahead = { Model = model; Plans = CompiledModel model; Making = making }

    if options.Objective = TrainingObjective.Causal then
        let plan () =
            let sequence = options.Sequence |> Option.defaultValue model.Context
            let isPacked = options.Pack || List.exists Conversations.IsNamed options.Data

            let wanted = trainingOptions options Objective.Causal (RowShape(sequence, 0, isPacked)) |> requests

            let each work =
                for request in wanted do
                    if not withdrawn.IsCancellationRequested then
                        work request

            let planned work = each (ahead.Plans.Plan >> work)
            onGpu opening (fun gpu -> each (fun wanted -> gpu.LoadAhead(wanted.Purpose, model.Name, wanted.Precision)))
            // A GPU's kernels are compiled, those of the first plan first, while the next plan and parameters are made.
            onGpu opening (fun gpu -> planned (fun plan -> gpu.CompileAhead(plan, withdrawn)))
            planned ignore

        Task.Run plan |> ignore

    ahead

/// Plans under way. Once they are disposed of, no more are made, and of none more is compiled.
type Begun internal (opening: DeviceChoice.Opening, choice: Choice, options: TrainOptions) =
    let stopping = new CancellationTokenSource()
    let make = make opening options stopping.Token
    let usual = choice.Usual |> Option.map (fun usual -> Task.Run(fun () -> make (usual ())))

    /// Those of the model that is trained: the ones under way where it is the same.
    member _.PlansOf(model: ModelDef) : IPlanSource =
        usual |> Option.iter (fun task -> Task.WaitAny task |> ignore)

        match usual with
        | Some task when task.IsCompletedSuccessfully ->
            let ahead = task.Result

            if ahead.Model.Config = model.Config && ahead.Model.Name = model.Name then
                ahead.Plans
            else
                ahead.Making.Cancel()
                (make model).Plans
        | _ -> (make model).Plans

    interface IDisposable with
        member _.Dispose() = stopping.Cancel()

/// Begins them, for the device that is opened meanwhile.
let start opening choice options = new Begun(opening, choice, options)
