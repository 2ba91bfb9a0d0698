/// What GPUs can do at most, by their makers' data sheets (dense, without sparsity).
module Legato.Cli.GpuLimits

open Legato.Runtime.Cuda

/// Operations a second of float32 without and of 16-bit types with tensor cores; bytes a second.
type private Sheet = { Float32: float; Half: float; Bandwidth: float }

let private sheets = [
    "H200", { Float32 = 67e12; Half = 989e12; Bandwidth = 4.8e12 }
    "H100", { Float32 = 67e12; Half = 989e12; Bandwidth = 3.35e12 }
    "B200", { Float32 = 80e12; Half = 2250e12; Bandwidth = 8e12 }
    "A100", { Float32 = 19.5e12; Half = 312e12; Bandwidth = 2.04e12 }
    "L40S", { Float32 = 91.6e12; Half = 362e12; Bandwidth = 0.864e12 }
    "RTX 4090", { Float32 = 82.6e12; Half = 165e12; Bandwidth = 1.01e12 }
    "RTX 3090", { Float32 = 35.6e12; Half = 71e12; Bandwidth = 0.936e12 }
]

// 128 lanes and 512 16-bit multiply-adds a cycle a multiprocessor, at 1.5 GHz.
let private estimate (gpu: CudaGpu) =
    let perLane = float gpu.Multiprocessors * 2.0 * 1.5e9

    {
        Float32 = 128.0 * perLane
        Half = 512.0 * perLane
        Bandwidth = gpu.MemoryBytesPerSecond
    }

let private sheet (gpu: CudaGpu) =
    sheets
    |> List.tryFind (fun (name, _) -> gpu.Name.Contains name)
    |> Option.map snd
    |> Option.defaultWith (fun () -> estimate gpu)

/// The limits of work in a precision.
let ofDevice (gpu: CudaGpu) (precision: string) : Rounds.Limits =
    let sheet = sheet gpu
    let flops = if precision = "fp32" then sheet.Float32 else sheet.Half
    let known (value: float) : Rounds.Spread = { Median = value; Best = value }

    {
        Processor = gpu.Name
        Threads = gpu.Multiprocessors
        Instructions = $"sm_{gpu.Architecture}"
        FlopsOneThread = known (flops / float gpu.Multiprocessors)
        Flops = known flops
        ReadOneThread = known (sheet.Bandwidth / float gpu.Multiprocessors)
        Read = known sheet.Bandwidth
        Best = None
    }
