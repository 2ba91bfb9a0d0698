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

/// A recorded run, ready to be replayed.
[<NoEquality; NoComparison>]
type private Run = {
    Folder: string
    Settings: OptimizerSettings
    Rows: Recorded list
    Plans: IPlanSource
    Batches: int64[]
    Sequences: int64
    Positions: int64
}

/// <exception cref="LegatoException">The folder is no sound record, of an unknown family, or of too few batches.</exception>
let private load folder =
    let settings, rows = read (Path.Combine(folder, recordFile))
    let plans = ModelSource.find folder |> ModelSource.definition |> ShownPlans.ofModel
    use file = new SafetensorsFile(Path.Combine(folder, batchFile))
    let shape = (file.Get "batches").Shape

    if shape[0] < int64 rows.Length then
        raise (
            Mistake.at folder "record a batch a step" $"there are {Units.steps rows.Length}, and batches for {shape[0]}"
        )

    {
        Folder = folder
        Settings = settings
        Rows = rows
        Plans = plans
        Batches = file.Integers "batches"
        Sequences = shape[1]
        Positions = shape[2]
    }

/// The losses and gradient norms of a run's steps. `prepare`: what is done to the initial weights; `finish`: what is made of the
/// final ones.
let private replay (device: IDevice) run precision prepare finish =
    use memory = new ModelMemory(device)

    let request =
        PlanRequest(
            Purpose.Train,
            run.Sequences,
            run.Positions,
            run.Positions,
            DeviceChoice.precision precision,
            Optimizer = run.Settings
        )

    use executable = memory.Compile(run.Plans.Plan request)
    HubCheckpoint.Load(run.Folder, run.Plans.Model, (fun path -> memory.Parameter path), initialWeights)
    prepare memory
    let training = TrainingStep(executable, run.Settings, 0L)

    let steps =
        run.Rows
        |> List.mapi (fun step row ->
            let tokens, labels = batchOf run.Batches (int run.Sequences) (int run.Positions) step
            let result = training.Run(int64 step, RowBatch.Of(tokens, labels), row.Rate)
            float result.Loss, float result.GradientNorm)

    let losses, norms = List.unzip steps
    losses, norms, finish memory

let private largestRelative (recorded: float list) (computed: float list) =
    List.map2 (fun r c -> abs (c - r) / abs r) recorded computed |> Comparison.largest

/// By how much rounding the initial weights to a narrow type moves the gradient norms of a run in float32, relative.
let private normsMoved device run precision =
    let round (memory: ModelMemory) =
        for parameter in run.Plans.Model.Parameters do
            VerifyTolerance.roundWeights precision (memory.Parameter parameter.Path)

    let norms prepare =
        let _, norms, () = replay device run Precision.Fp32 prepare ignore
        norms

    largestRelative (norms ignore) (norms round)

/// <exception cref="LegatoException">The folder is no sound record, of an unknown family, or of too few batches.</exception>
let compare (device: IDevice) precision tolerance (folder: string) : Comparison list =
    let run = load folder

    let losses, norms, weights =
        replay device run precision ignore (weightDifference device folder run.Plans.Model)

    let curve = VerifyTolerance.ofCurve precision

    // A router that sends a token to another expert changes gradients at once, however little made it do so.
    let allowedOfNorms =
        if tolerance = None && VerifyTolerance.isNarrow precision then
            max curve (VerifyTolerance.ofRounding (normsMoved device run precision))
        else
            curve

    let judged name difference allowed = {
        Name = name
        Difference = difference
        Allowed = tolerance |> Option.orElse (Some allowed)
    }

    let recorded value = List.map value run.Rows

    [
        judged $"loss of {Units.steps run.Rows.Length}, relative" (largestRelative (recorded _.Loss) losses) curve
        judged "gradient norm, relative" (largestRelative (recorded _.GradientNorm) norms) allowedOfNorms
        { Name = "weights at the end"; Difference = weights; Allowed = None }
    ]
