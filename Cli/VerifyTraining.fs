/// Replays a recorded training run: the same weights, batches and learning rates, step by step.
module Legato.Cli.VerifyTraining

open System
open System.Collections.Generic
open System.IO
open System.Runtime.InteropServices
open System.Text.Json
open Legato.Runtime
open Legato.Runtime.Checkpoints
open Legato.Runtime.Data
open Legato.Runtime.Devices
open Legato.Runtime.Plans
open Legato.Runtime.Training

/// The optimizer's settings, and each step's loss, gradient norm before clipping and learning rate.
let recordFile = "expected.json"

let private initialWeights = "initial.safetensors"
let private finalWeights = "final.safetensors"

/// `batches` [steps, rows, positions]: each position's label is the next position's token.
let private batchFile = "batches.safetensors"

/// A curve in a narrow type is another computation; it must stay close all the same.
let private largestRelativeDifference precision = if precision = "bf16" || precision = "fp16" then 2e-2 else 1e-3

let isRecordedIn folder =
    [ recordFile; initialWeights; finalWeights; batchFile ]
    |> List.forall (fun name -> File.Exists(Path.Combine(folder, name)))

type private Recorded = { Loss: float; GradientNorm: float; Rate: float }

let private read (path: string) =
    try
        use document = JsonDocument.Parse(File.ReadAllText path)
        let root = document.RootElement
        let number (name: string) (element: JsonElement) = element.GetProperty(name).GetDouble()
        let betas = root.GetProperty "betas"
        let decay = root.GetProperty("weight_decay") |> number "matrices_and_embeddings"

        let settings =
            OptimizerSettings(
                betas[0].GetDouble(),
                betas[1].GetDouble(),
                number "eps" root,
                decay,
                number "clip_grad_norm" root
            )

        let rows = [
            for row in root.GetProperty("rows").EnumerateArray() ->
                {
                    Loss = number "loss" row
                    GradientNorm = number "grad_norm" row
                    Rate = number "lr" row
                }
        ]

        settings, rows
    with
    | :? JsonException
    | :? KeyNotFoundException
    | :? IndexOutOfRangeException
    | :? InvalidOperationException as error ->
        raise (
            LegatoException(
                $"the recorded run can't be read: {error.Message}",
                path,
                "it holds betas, eps, weight_decay, clip_grad_norm and rows",
                error
            )
        )

/// A step's tokens, and as labels the tokens after them. The last of a row has none, and yet is sent to experts.
let private batchOf (batches: int64[]) rows positions step =
    let tokens =
        batches |> Array.skip (step * rows * positions) |> Array.take (rows * positions) |> Array.map int

    let label i = if (i + 1) % positions = 0 then -1 else tokens[i + 1]
    tokens, Array.init tokens.Length label

let private floats (parameter: ParameterMemory) =
    let values = Array.zeroCreate<float32>(int (parameter.Memory.Bytes / 4L))
    parameter.Memory.Read(0L, MemoryMarshal.AsBytes(Span values))
    values

/// The largest difference between the weights that training ended with and the recorded ones.
let private weightDifference (device: IDevice) folder (model: ModelDescription) (memory: ModelMemory) =
    let recorded =
        dict [
            for p in model.Parameters -> p.Path, ParameterMemory(device.Allocate(p.Elements * 4L), ScalarType.F32)
        ]

    try
        HubCheckpoint.Load(folder, model, (fun path -> recorded[path]), finalWeights)

        model.Parameters
        |> Seq.map (fun p ->
            Array.map2 Comparison.between (floats recorded[p.Path]) (floats (memory.Parameter p.Path))
            |> Comparison.largest)
        |> Comparison.largest
    finally
        for parameter in recorded.Values do
            parameter.Memory.Dispose()

/// <exception cref="LegatoException">The folder is no sound record, of an unknown family, or of too few batches.</exception>
let compare (device: IDevice) precision (folder: string) : Comparison list =
    let settings, rows = read (Path.Combine(folder, recordFile))
    let plans = ModelSource.find folder |> ModelSource.definition |> ShownPlans.ofModel
    use file = new SafetensorsFile(Path.Combine(folder, batchFile))
    let shape = (file.Get "batches").Shape
    let batches = file.Integers "batches"
    let count, positions = int shape[1], int shape[2]

    if shape[0] < int64 rows.Length then
        raise (Mistake.at folder "record a batch a step" $"there are {rows.Length} steps, and batches for {shape[0]}")

    use memory = new ModelMemory(device)

    use executable =
        memory.Compile(
            plans.Plan(PlanRequest(Purpose.Train, shape[1], shape[2], shape[2], precision, Optimizer = settings))
        )

    HubCheckpoint.Load(folder, plans.Model, (fun path -> memory.Parameter path), initialWeights)
    let training = TrainingStep(executable, settings, 0L)

    let differences =
        rows
        |> List.mapi (fun step row ->
            let tokens, labels = batchOf batches count positions step
            let result = training.Run(int64 step, RowBatch.Of(tokens, labels), row.Rate)
            let relative recorded computed = abs (computed - recorded) / abs recorded
            relative row.Loss (float result.Loss), relative row.GradientNorm (float result.GradientNorm))

    let judged name difference = {
        Name = name
        Difference = difference
        Allowed = Some(largestRelativeDifference precision)
    }

    [
        judged $"loss of {rows.Length} steps, relative" (differences |> List.map fst |> Comparison.largest)
        judged "gradient norm, relative" (differences |> List.map snd |> Comparison.largest)
        {
            Name = "weights at the end"
            Difference = weightDifference device folder plans.Model memory
            Allowed = None
        }
    ]
