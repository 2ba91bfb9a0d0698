/// Plans that are begun before the tokenizer is read: with its own vocabulary, as most often, a preset's are the ones that it
/// is trained by, and a checkpoint's model has no other.
module Legato.Cli.TrainAhead

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

/// A model and its plans.
[<NoEquality; NoComparison>]
type private Ahead = { Model: ModelDef; Plans: IPlanSource }

/// Once the device is opened, and if it is a GPU.
let private onGpu (opening: DeviceChoice.Opening) (work: CudaDevice -> unit) =
    let work () =
        match opening.Device with
        | :? CudaDevice as gpu -> work gpu
        | _ -> ()

    Task.Run work |> ignore

// Other objectives need to know the tokenizer's tokens. What is wrong with the model is told when it is asked for in earnest.
let private make opening (options: TrainOptions) (model: ModelDef) =
    let ahead = { Model = model; Plans = CompiledModel model }

    if options.Objective = TrainingObjective.Causal then
        let plan () =
            let sequence = options.Sequence |> Option.defaultValue model.Context
            let isPacked = options.Pack || List.exists Conversations.IsNamed options.Data

            let wanted = trainingOptions options Objective.Causal (RowShape(sequence, 0, isPacked)) |> requests

            for request in wanted do
                onGpu opening (fun gpu -> gpu.LoadAhead(request.Purpose, model.Name, request.Precision))

            // What a GPU takes for a plan is worked out while the next one is made.
            for request in wanted do
                let plan = ahead.Plans.Plan request
                onGpu opening (fun gpu -> gpu.Foretell plan |> ignore)

        Task.Run plan |> ignore

    ahead

/// Begins them, for the device that is opened meanwhile. What comes back is asked with the model that is trained: its plans, those under way where it is the same.
let start opening (choice: Choice) (options: TrainOptions) : ModelDef -> IPlanSource =
    let begun =
        choice.Usual |> Option.map (fun usual -> Task.Run(fun () -> make opening options (usual ())))

    fun model ->
        match begun with
        | Some task ->
            Task.WaitAny task |> ignore

            if
                task.IsCompletedSuccessfully
                && task.Result.Model.Config = model.Config
                && task.Result.Model.Name = model.Name
            then
                task.Result.Plans
            else
                CompiledModel model
        | None -> CompiledModel model
