/// What a GPU can do at most, as `legato bench` compares with it.
module Legato.Cli.GpuLimits

open Legato.Runtime.Cuda

/// The limits of work in a precision.
let ofDevice (gpu: CudaGpu) (precision: string) : Rounds.Limits =
    let card = GpuCards.ofGpu gpu
    let flops = GpuCards.flops precision card
    let known (value: float) : Rounds.Spread = { Median = value; Best = value }

    {
        Processor = gpu.Name
        Threads = gpu.Multiprocessors
        Instructions = $"sm_{gpu.Architecture}"
        FlopsOneThread = known (flops / float gpu.Multiprocessors)
        Flops = known flops
        ReadOneThread = known (card.Bandwidth / float gpu.Multiprocessors)
        Read = known card.Bandwidth
        Best = None
    }
