/// Plans that are begun before the tokenizer is read: with its own vocabulary, as most often, a preset's are the ones that it
/// is trained by, and a checkpoint's model has no other.
module Legato.Cli.TrainAhead

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
let private make opening (options: TrainOptions) (model: ModelDef) =
    let making = new CancellationTokenSource()

    let ahead = { Model = model; Plans = CompiledModel model; Making = making }

    if options.Objective = TrainingObjective.Causal then
        let plan () =
            let sequence = options.Sequence |> Option.defaultValue model.Context
            let isPacked = options.Pack || List.exists Conversations.IsNamed options.Data

            let wanted = trainingOptions options Objective.Causal (RowShape(sequence, 0, isPacked)) |> requests

            for request in wanted do
                onGpu opening (fun gpu -> gpu.LoadAhead(request.Purpose, model.Name, request.Precision))

            let each work =
                for request in wanted do
                    if not making.IsCancellationRequested then
                        ahead.Plans.Plan request |> work

            // A GPU's kernels are compiled, those of the first plan first, while the next plan and parameters are made.
            onGpu opening (fun gpu -> each gpu.CompileAhead)
            each ignore

        Task.Run plan |> ignore

    ahead

/// Begins them, for the device that is opened meanwhile. What comes back is asked with the model that is trained: its plans, those under way where it is the same.
let start opening (choice: Choice) (options: TrainOptions) : ModelDef -> IPlanSource =
    let begun =
        choice.Usual |> Option.map (fun usual -> Task.Run(fun () -> make opening options (usual ())))

    fun model ->
        begun |> Option.iter (fun task -> Task.WaitAny task |> ignore)

        match begun with
        | Some task when task.IsCompletedSuccessfully ->
            let ahead = task.Result

            if ahead.Model.Config = model.Config && ahead.Model.Name = model.Name then
                ahead.Plans
            else
                ahead.Making.Cancel()
                (make opening options model).Plans
        | _ -> (make opening options model).Plans
