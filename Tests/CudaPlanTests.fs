/// Plans prepared for GPUs that needn't be there: their launches are in bounds, their kernels compile, their memory is shared.
module Legato.Tests.CudaPlanTests

open System.Collections.Generic
open System.Threading.Tasks
open Legato.Cli
open Legato.Compiler
open Legato.Models
open Legato.Runtime.Cuda
open Legato.Runtime.Devices
open Legato.Runtime.Plans
open NUnit.Framework

let private request purpose precision : PlanRequest =
    let isCached = purpose = Purpose.Prefill || purpose = Purpose.Decode
    let sequence = if purpose = Purpose.Decode then 1L else 64L

    PlanRequest(purpose, 2L, sequence, (if isCached then 128L else sequence), precision, NarrowActivations = isCached)

let private planOf model purpose precision =
    (CompiledModel(Presets.find model |> Presets.model) :> IPlanSource).Plan(request purpose precision)

/// Prepares a plan on paper, and hands every launch to a stream that checks it.
let private prepared (gpu: CudaGpu) (plan: Plan) =
    let device = CudaDevice.OnPaper gpu

    let persistent = Dictionary<string, IDeviceMemory>()

    for buffer in plan.Buffers do
        if buffer.IsPersistent then
            persistent[buffer.Name] <- device.Allocate(plan.Maximum buffer.Bytes)

    use executable = device.Compile(plan, persistent)
    executable.Run()
    device

let private purposes = [ Purpose.Train; Purpose.Evaluate; Purpose.Prefill; Purpose.Decode ]
let private models = [ "gpt2-10m"; "llama-tiny"; "mixtral-tiny" ]
let private cards = [ "A100"; "H200"; "RTX 4090" ]

[<Test>]
let ``launches are within what GPUs take``
    ([<ValueSource(nameof models)>] model: string)
    ([<ValueSource(nameof purposes)>] purpose: Purpose)
    ([<Values("fp32", "bf16", "fp16")>] precision: string)
    ([<ValueSource(nameof cards)>] card: string)
    =
    use device = planOf model purpose precision |> prepared (GpuCards.find card).Gpu
    Assert.That(device.Compiler.Sources, Is.Not.Empty)

[<Test; Category "Heavy">]
let ``kernels of plans compile`` ([<Values("A100", "H200")>] card: string) =
    if isNull (CudaLibraries.Find CudaLibrary.Compiler) then
        Assert.Ignore "this machine has no NVRTC"

    let gpu = (GpuCards.find card).Gpu

    let sources =
        [
            for model in models do
                for purpose in purposes do
                    for precision in [ "fp32"; "bf16" ] do
                        use device = planOf model purpose precision |> prepared gpu
                        yield! device.Compiler.Sources
        ]
        |> List.distinct

    let target = if gpu.Architecture = 90 then "90a" else string gpu.Architecture

    Parallel.ForEach(sources, fun source -> Nvrtc.Compile(source, CudaCompiler.Options target) |> ignore)
    |> ignore

[<Test>]
let ``steps take turns in what they need beside the plan`` () =
    use device = CudaDevice.OnPaper (GpuCards.find "H200").Gpu

    let working layers =
        let config = (Presets.find "gpt2-10m").Config.Replace("\"n_layer\": 6", $"\"n_layer\": {layers}")
        Assert.That(config, Does.Contain $"\"n_layer\": {layers}")
        let plans: IPlanSource = CompiledModel { Families.ofConfig config with Name = "gpt2" }
        // So many rows that their sums take more than those of the weights' squares, which grow with the layers.
        plans.Plan(PlanRequest(Purpose.Train, 8L, 256L, 256L, "bf16")) |> device.WorkingBytes

    Assert.That(working 3, Is.GreaterThan(32L <<< 20))
    Assert.That(working 12, Is.EqualTo(working 3))

let rec private allSteps (steps: IReadOnlyList<Step>) : Step list = [
    for step in steps do
        yield step

        match step with
        | :? Step.Loop as loop -> yield! allSteps loop.Body
        | _ -> ()
]

[<Test>]
let ``what cuBLASLt may do beside a product is found in a plan of GPT-2`` () =
    let steps = (planOf "gpt2-10m" Purpose.Train "bf16").Steps |> allSteps
    let pairs = List.pairwise steps

    let gelu =
        pairs
        |> List.filter (function
            | (:? Step.MatrixProduct as product), (:? Step.Fused as map) ->
                not (isNull (GeluOfProduct.Of(product, map)))
            | _ -> false)

    let slopes =
        steps
        |> List.filter (function
            | :? Step.MatrixProduct as product ->
                match ProductEpilogue.Of product with
                | null -> false
                | ended -> ended.GeluInput.HasValue
            | _ -> false)

    Assert.That(gelu, Has.Length.EqualTo 1)
    Assert.That(slopes, Has.Length.EqualTo 1)
