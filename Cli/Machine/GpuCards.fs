/// What GPUs are and can do at most, by their makers' data sheets (dense, without sparsity).
module Legato.Cli.GpuCards

open System
open Legato.Compiler
open Legato.Runtime
open Legato.Runtime.Cuda

/// A card: how the driver would describe it; operations a second of float32 without and of 16-bit types with tensor
/// cores; bytes a second from memory.
type Card = { Gpu: CudaGpu; Float32: float; Tf32: float; Half: float; Bandwidth: float }

let private gibi = 1073741824L

let private card name architecture multiprocessors memory shared float32 tf32 half bandwidth = {
    Gpu = CudaGpu(0, name, architecture, multiprocessors, memory * gibi, bandwidth * 1e12, shared <<< 10)
    Float32 = float32 * 1e12
    Tf32 = tf32 * 1e12
    Half = half * 1e12
    Bandwidth = bandwidth * 1e12
}

/// The known ones; an earlier name wins where a GPU's has two of them.
let all = [
    card "GH200" 90 132 96L 227 67.0 494.0 989.0 4.0
    card "H200" 90 132 140L 227 67.0 494.0 989.0 4.8
    card "H100 PCIe" 90 114 80L 227 51.0 378.0 756.0 2.0
    card "H100 NVL" 90 132 94L 227 60.0 417.0 835.0 3.9
    card "H100" 90 132 80L 227 67.0 494.0 989.0 3.35
    card "B200" 100 148 180L 227 80.0 1125.0 2250.0 8.0
    card "A100-SXM4-40GB" 80 108 40L 163 19.5 156.0 312.0 1.555
    card "A100" 80 108 80L 163 19.5 156.0 312.0 2.04
    card "L40S" 89 142 48L 99 91.6 183.0 362.0 0.864
    card "L4" 89 58 24L 99 30.3 60.0 121.0 0.3
    card "RTX 5090" 120 170 32L 99 104.8 105.0 210.0 1.79
    card "RTX 4090" 89 128 24L 99 82.6 82.6 165.0 1.01
    card "RTX 3090" 86 82 24L 99 35.6 35.6 71.0 0.936
    card "A10" 86 72 24L 99 31.2 62.5 125.0 0.6
]

/// The card of that name, as --gpu takes it.
/// <exception cref="LegatoException">There is none.</exception>
let find (name: string) =
    let isNamed (card: Card) = String.Equals(card.Gpu.Name, name, StringComparison.OrdinalIgnoreCase)

    match List.tryFind isNamed all with
    | Some card -> card
    | None ->
        let known = [ for card in all -> card.Gpu.Name ]
        raise (LegatoException($"no GPU is known as '{name}'", "--gpu", Mistake.chooseAmong known name))

// 128 lanes and 512 16-bit multiply-adds a cycle a multiprocessor, at 1.5 GHz.
let private estimate (gpu: CudaGpu) =
    let perLane = float gpu.Multiprocessors * 2.0 * 1.5e9

    {
        Gpu = gpu
        Float32 = 128.0 * perLane
        Tf32 = 256.0 * perLane
        Half = 512.0 * perLane
        Bandwidth = gpu.MemoryBytesPerSecond
    }

/// What a GPU that is there can do: its data sheet's, or an estimate from its sizes.
let ofGpu (gpu: CudaGpu) =
    match List.tryFind (fun (card: Card) -> gpu.Name.Contains card.Gpu.Name) all with
    | Some card -> { card with Gpu = gpu }
    | None -> estimate gpu

/// Operations a second of products in a precision.
let flops (precision: string) (card: Card) =
    match precision with
    | "fp32" -> card.Float32
    | "tf32" -> card.Tf32
    | _ -> card.Half

/// What kernels have been measured to reach of an H200's data sheet, as shares of another card's.
let speed (precision: string) (card: Card) : DeviceSpeed =
    let flops = flops precision card
    let points shares = [ for work, share in shares -> { Work = work; PerSecond = share * flops } ]

    {
        Products = points [ 2.1e9, 0.41; 17e9, 0.65; 137e9, 0.66; 1.1e12, 0.7 ]
        ProductBytes = [
            { Work = 1.0; PerSecond = 0.9 * card.Bandwidth }
            { Work = 16.0; PerSecond = 0.84 * card.Bandwidth }
        ]
        Attention = [
            {
                HeadSize = 64L
                Forward = points [ 1024.0, 0.28; 8192.0, 0.4 ]
                Backward = points [ 1024.0, 0.22; 8192.0, 0.34 ]
            }
            {
                HeadSize = 128L
                Forward = points [ 1024.0, 0.44; 8192.0, 0.6 ]
                Backward = points [ 1024.0, 0.3; 8192.0, 0.44 ]
            }
        ]
        CacheBytes = [
            { Work = 2e6; PerSecond = 0.14 * card.Bandwidth }
            { Work = 34e6; PerSecond = 0.35 * card.Bandwidth }
        ]
        Kernels = 0.5 * card.Float32
        Bandwidth = 0.86 * card.Bandwidth
        LaunchSeconds = 2.2e-6
    }
