/// `legato bench attention`: causal attention, forward and backward, with operations counted as they are elsewhere: half
/// of all pairs of positions, and 2.5 times the forward ones backward (Dao 2023).
module Legato.Cli.BenchAttention

open System
open Legato.Runtime.Checkpoints
open Legato.Runtime.Cuda
open Legato.Runtime.Devices
open Legato.Runtime.Plans

type Shape = { HeadSize: int64; Positions: int64; Batch: int64; Heads: int64 }

/// Of a GPU and of a processor.
let private shapes device =
    let shape headSize positions batch heads = {
        HeadSize = headSize
        Positions = positions
        Batch = batch
        Heads = heads
    }

    match device with
    | Device.Cuda -> [ shape 64L 1024L 32L 12L; shape 128L 4096L 4L 32L; shape 128L 16384L 1L 32L ]
    | Device.Cpu
    | Device.Interpreter -> [ shape 64L 1024L 1L 12L; shape 128L 2048L 1L 4L ]

let private causal =
    Expr.Apply(Operation.LessOrEqual, (Expr.Variable "k" :> Expr), (Expr.Variable "q" :> Expr))

/// Query, key, value and output, the same as gradients, and two floats a row.
let private tensors = [ "q"; "k"; "v"; "o"; "do"; "dq"; "dk"; "dv" ]

let plan (element: ScalarType) (shape: Shape) name (step: (string -> HeadTensor) -> (string -> BufferView) -> Step) =
    let { HeadSize = size; Positions = positions; Batch = batch; Heads = heads } = shape
    let axis name (size: int64) = PlanAxis(name, Extent.Of size)

    let buffers = [|
        for id, name in List.indexed tensors ->
            let axes = [| axis "Batch" batch; axis "Seq" positions; axis "Heads" heads; axis "HeadDim" size |]
            PlanBuffer(id, name, BufferClass.Parameter, element, axes, -1L, 0, 1)

        for id, name in [ tensors.Length, "lse"; tensors.Length + 1, "dot" ] ->
            let axes = [| axis "Batch" batch; axis "Heads" heads; axis "Seq" positions |]
            PlanBuffer(id, name, BufferClass.Parameter, ScalarType.F32, axes, -1L, 0, 1)
    |]

    let view name = BufferView.Whole (buffers |> Array.find (fun b -> b.Name = name)).Id

    let headed name =
        HeadTensor(view name, Extent.Of(positions * heads * size), Extent.Of(heads * size), Extent.Of size)

    Plan(name, Purpose.Forward, "fp32", [||], buffers, [||], [||], [| step headed view |], 0L)

let private meaning (shape: Shape) =
    let { HeadSize = size; Positions = positions; Batch = batch; Heads = heads } = shape
    let of' (size: int64) = Extent.Of size

    AttentionShape(
        of' batch,
        of' heads,
        of' heads,
        of' positions,
        of' positions,
        of' size,
        of' size,
        1.0 / sqrt (float size),
        causal,
        null
    )

let forward shape headed (view: string -> BufferView) : Step =
    Step.Attention(
        "attention",
        Cost.Zero,
        meaning shape,
        headed "q",
        headed "k",
        headed "v",
        headed "o",
        view "lse",
        null,
        [||]
    )

let backward shape headed (view: string -> BufferView) : Step =
    Step.AttentionGradient(
        "gradient",
        Cost.Zero,
        meaning shape,
        headed "q",
        headed "k",
        headed "v",
        headed "o",
        view "lse",
        headed "do",
        headed "dq",
        headed "dk",
        headed "dv",
        view "dot",
        [||]
    )

/// Queries, keys and values as a model has them at first.
let numbers = lazy (RandomNumbers.normal (Random 1))

let private figures (device: IDevice) element measure (shape: Shape) =
    use memory = new ModelMemory(device)
    let forward = plan element shape "attention" (forward shape)
    let backward = plan element shape "attention's gradient" (backward shape)
    MemoryNeed.requireRoom device [ forward; backward ]
    use ahead = memory.Compile forward
    use back = memory.Compile backward

    for name in [ "q"; "k"; "v"; "do" ] do
        RandomNumbers.fill numbers.Value element (memory.Parameter name).Memory

    let { HeadSize = size; Positions = positions; Batch = batch; Heads = heads } = shape
    let operations = 2.0 * float (batch * heads * positions * positions * size)

    let subject name factor (executable: IExecutable) : Rounds.Subject = {
        Name = $"{name}, head {size}, {batch} × {heads} × {positions}"
        Unit = "calls"
        Units = 1.0
        Bound = Rounds.Bound.Arithmetic(factor * operations)
        Run = [ executable.Run ]
    }

    measure [ subject "forward" 1.0 ahead; subject "backward" 2.5 back ]

/// The limits, and two figures a shape.
let measure (threads: int option) (rounds: int) (choice: Device) : Rounds.Limits * Rounds.Figure list =
    use device = DeviceChoice.openDevice choice threads true

    let element, measured =
        match device with
        | :? CudaDevice as gpu ->
            ScalarType.BF16, Rounds.measureUnder (GpuLimits.ofDevice gpu.Information "bf16") rounds
        | _ -> ScalarType.F32, Rounds.measure threads rounds

    let outcomes = shapes choice |> List.map (figures device element measured)
    fst outcomes.Head, List.collect snd outcomes
