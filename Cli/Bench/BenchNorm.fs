/// `legato bench norm`: RMSNorm and its gradient, as the compiler's own kernels.
module Legato.Cli.BenchNorm

open System
open Legato.Compiler
open Legato.Dsl
open Legato.Runtime.Checkpoints
open Legato.Runtime.Cuda
open Legato.Runtime.Devices
open Legato.Runtime.Plans

type Sizes = { Rows: int; Features: int; Precision: string; Device: Device }

/// Runs in one launch of a plan.
let private repeats = 20

/// Rows a second, forward and backward; bytes are those of x and y, and of x, dy and dx.
let measure threads rounds (sizes: Sizes) =
    let layer: Layer<Tensor<Batch, Embed> -> Tensor<Batch, Embed>> =
        rmsNorm "norm" (axis<Embed> sizes.Features)

    let dims = (axis<Batch> sizes.Rows).Dims @ (axis<Embed> sizes.Features).Dims
    use device = DeviceChoice.openDevice sizes.Device threads true
    use memory = new ModelMemory(device)
    let random = Random 1
    let fill kind target = RandomNumbers.fill (RandomNumbers.uniform random) kind target

    let ahead = LayerPlan.forward sizes.Precision repeats dims layer
    let back = LayerPlan.backward sizes.Precision repeats dims layer
    MemoryNeed.requireRoom device [ ahead; back ]

    let subject name tensors (plan: Plan) : Rounds.Subject * IExecutable =
        let executable = memory.Compile plan
        let parameter = memory.Parameter "norm.gain"
        fill parameter.Type parameter.Memory

        for buffer in plan.Buffers do
            if buffer.Class = BufferClass.Input then
                fill buffer.Type (executable.Memory buffer)

        let x = plan.Buffer(BufferClass.Input, "x")

        {
            Name = name
            Unit = "rows"
            Units = float repeats * float sizes.Rows
            Bound = Rounds.Bound.Reading(float tensors * float sizes.Features * float (x.Type.Size()))
            Run = [ executable.Run ]
        },
        executable

    let subjects = [ subject "norm" 2 ahead; subject "norm gradient" 3 back ]

    try
        match device with
        | :? CudaDevice as gpu ->
            Rounds.measureUnder (GpuLimits.ofDevice gpu.Information sizes.Precision) rounds (List.map fst subjects)
        | _ -> Rounds.measure threads rounds (List.map fst subjects)
    finally
        for _, executable in subjects do
            executable.Dispose()
