/// Plans that compute one thing in several ways agree: micro-batches, rematerialisation, caches, storage types.
module Legato.Tests.PassTrainingTests

open System
open Legato.Compiler
open Legato.Dsl
open Legato.Models
open Legato.Runtime.Plans
open Legato.Tests.GraphValues
open Legato.Tests.PassExecution
open Legato.Tests.PassModels
open NUnit.Framework

let private models = [ "gpt2"; "llama"; "experts" ]

let private modelOf name =
    match name with
    | "gpt2" -> preset [ "n_embd", "16"; "n_head", "2" ] "gpt2-tiny"
    | "llama" ->
        let sizes = [
            "hidden_size", "16"
            "num_attention_heads", "4"
            "num_key_value_heads", "2"
            "intermediate_size", "24"
        ]

        preset sizes "llama-tiny"
    | _ -> GraphSamples.model (GraphSamples.decoder GraphSamples.sizes)

let private near tolerance what (wanted: float list) (found: float list) =
    compare tolerance what [ what, wanted ] [ what, found ]

// A large ε keeps the first step smooth where a gradient is about zero.
let private settings = OptimizerSettings(0.9, 0.95, 1e-2, 0.1, 1.0)
let private rows, length = 6L, 5L

/// Loss, norm and all that one training step leaves behind.
let private trainedFrom states dropout logits device precision (model: ModelDef) accumulate keeps =
    let request =
        PlanRequest(
            Purpose.Train,
            rows / accumulate,
            length,
            length,
            Precision = precision,
            Accumulate = accumulate,
            Rematerialisation = keeps,
            Optimizer = settings,
            MostLogits = logits,
            Dropout = dropout
        )

    let tokens count seed = tokensOf model seed (int (count * length))
    let plan = Compile.plan model request

    execute device plan [
        for path, values in parametersOf model do
            path, values
            MasterWeights.Prefix + path, values
        "tokens", tokens rows 1
        // Micro-batches differ in how many labels count.
        "labels", tokens rows 2 |> List.mapi (fun i label -> if i % 3 = 0 && i < 20 then -100.0 else label)
        "rate", [ 0.01 ]
        "correction1", [ 0.1 ]
        "correction2", [ 0.05 ]
        "seed", [ 12345.0 ]
        yield! states
    ]
    |> Map.ofList

let private trainedWith = trainedFrom []
let private trainedOn = trainedWith 0.0 PlanRequest.DefaultMostLogits
let private trained = trainedOn processor.Value "fp32"

let private same tolerance (a: Map<string, float list>) (b: Map<string, float list>) =
    Assert.That((List.ofSeq a.Keys = List.ofSeq b.Keys))

    for KeyValue(name, values) in a do
        near tolerance name values b[name]

[<Test>]
let ``micro-batches add up to the batch`` ([<ValueSource(nameof models)>] name: string) =
    let model = modelOf name
    same 2e-5 (trained model 1L Rematerialisation.None) (trained model 3L Rematerialisation.None)

[<Test>]
let ``a step over chunks of logits is the step``
    ([<ValueSource(nameof models)>] name: string)
    ([<Values(1L, 3L)>] accumulate: int64)
    =
    let model = modelOf name
    let few = 5L * int64 model.Vocabulary
    let cut keeps = trainedWith 0.0 few processor.Value "fp32" model accumulate keeps
    same 2e-5 (trained model 1L Rematerialisation.None) (cut Rematerialisation.None)
    same 2e-5 (trained model 1L Rematerialisation.None) (cut Rematerialisation.Block)

[<Test>]
let ``what is computed again is the same`` ([<ValueSource(nameof models)>] name: string) =
    let model = modelOf name
    let kept, again = trained model 1L Rematerialisation.None, trained model 1L Rematerialisation.Block
    near 1e-6 "loss" kept["loss"] again["loss"]
    near 1e-5 "gradient_norm" kept["gradient_norm"] again["gradient_norm"]
    same 2e-5 kept again

[<Test>]
let ``what is dropped is the same, however a step is computed`` ([<Values("gpt2", "llama")>] name: string) =
    let model = modelOf name
    let dropping = trainedWith 0.25 PlanRequest.DefaultMostLogits processor.Value "fp32" model
    let whole = dropping 1L Rematerialisation.None
    same 2e-5 whole (dropping 1L Rematerialisation.Block)
    same 2e-5 whole (dropping 3L Rematerialisation.None)
    use oracle = interpreter ()
    same 2e-5 whole (trainedWith 0.25 PlanRequest.DefaultMostLogits oracle "fp32" model 1L Rematerialisation.None)
    let undropped = trained model 1L Rematerialisation.None
    Assert.That(abs (whole["loss"].Head - undropped["loss"].Head), Is.GreaterThan 1e-3)

// The nearest number that the type holds.
let private rounded precision (x: float) =
    match precision with
    | "fp16" -> float (Half.op_Explicit x: Half)
    | _ ->
        let bits = BitConverter.SingleToUInt32Bits(float32 x)
        let upper = (bits + 0x7fffu + ((bits >>> 16) &&& 1u)) >>> 16
        float (BitConverter.UInt32BitsToSingle(upper <<< 16))

let private narrow = [ "bf16"; "fp16" ]

// On the whole: single elements, and gradients that are zero but for rounding, differ by more.
let private close tolerance what (wanted: Map<string, float list>) (found: Map<string, float list>) =
    for KeyValue(name, values) in wanted do
        if not (name.StartsWith "optimizer.v.") then
            let size = values |> List.sumBy (fun v -> tolerance * abs v + 1e-5)
            let difference = List.map2 (fun a b -> abs (a - b)) values found[name] |> List.sum
            Assert.That(difference, Is.LessThanOrEqualTo size, $"{what}: {name}")

let private losses (step: Map<string, float list>) =
    step |> Map.filter (fun name _ -> name = "loss" || name = "gradient_norm")

[<Test>]
let ``narrow training is close to float32's, however it is cut``
    ([<Values("gpt2", "llama")>] name: string)
    ([<ValueSource(nameof narrow)>] precision: string)
    =
    let model = modelOf name
    let wide = trained model 1L Rematerialisation.None
    let step = trainedOn processor.Value precision model
    let whole = step 1L Rematerialisation.None
    close 0.02 "against float32" (losses wide) (losses whole)
    close 0.02 "micro-batches" whole (step 3L Rematerialisation.None)
    close 0.02 "rematerialisation" whole (step 1L Rematerialisation.Block)

[<Test>]
let ``the interpreter trains narrow as the processor does``
    ([<ValueSource(nameof models)>] name: string)
    ([<ValueSource(nameof narrow)>] precision: string)
    =
    let model = modelOf name
    use oracle = interpreter ()

    close
        0.02
        "cpu"
        (trainedOn oracle precision model 1L Rematerialisation.None)
        (trainedOn processor.Value precision model 1L Rematerialisation.None)

[<TestCase(1024.0, true); TestCase(1.329227995784916e36, false)>]
let ``gradients that overflow change no weight and halve the scale`` (scale: float) (learns: bool) =
    let name = LossScale.Buffer
    let model = modelOf "llama"

    let step =
        trainedFrom
            [ name, [ scale ] ]
            0.0
            PlanRequest.DefaultMostLogits
            processor.Value
            "fp16"
            model
            1L
            Rematerialisation.None

    Assert.That(step[name].Head, Is.EqualTo(if learns then scale else scale / 2.0))

    for path, before in parametersOf model do
        let moved = List.map2 (fun a b -> abs (a - b)) before step[MasterWeights.Prefix + path] |> List.max
        Assert.That(moved > 1e-5, Is.EqualTo learns, path)

[<Test>]
let ``the model reads the masters, rounded`` ([<ValueSource(nameof narrow)>] precision: string) =
    let step = trainedOn processor.Value precision (modelOf "llama") 1L Rematerialisation.None

    for path, _ in parametersOf (modelOf "llama") do
        Assert.That((List.map (rounded precision) step[MasterWeights.Prefix + path] = step[path]), Is.True, path)

let private decoders = Enum.GetValues<Purpose>() |> Array.filter ((<>) Purpose.Encode)

[<Test>]
let ``two compilations give one plan``
    ([<ValueSource(nameof models)>] name: string)
    ([<ValueSource(nameof decoders)>] purpose: Purpose)
    =
    let text () = PlanFile.Write(Compile.plan (modelOf name) (PlanRequest(purpose, 2L, 8L, 8L)))

    let first = text ()
    // Nodes of the first may be gone or still there: neither shows.
    GC.Collect()
    Assert.That(text (), Is.EqualTo first)

/// Logits of every position, [row][position], without a cache.
let private forwardOf narrows precision (model: ModelDef) parameters tokens batch length =
    let request =
        PlanRequest(Purpose.Forward, batch, length, length, Precision = precision, NarrowActivations = narrows)

    let plan = Compile.plan model request

    let results = execute processor.Value plan (("tokens", tokens) :: parameters)

    results.Head |> snd |> List.chunkBySize (int model.Vocabulary) |> List.chunkBySize (int length)

let private forward = forwardOf false

[<Test>]
let ``prefill and decode give the forward pass, row by row`` ([<ValueSource(nameof models)>] name: string) =
    let model = modelOf name
    let parameters = parametersOf model
    let sequences = [ tokensOf model 11 8; tokensOf model 12 8; tokensOf model 13 8 ]
    let whole = forward "fp32" model parameters (List.concat sequences) 3L 8L
    let logitsAt places = List.map2 (fun (row: float list list) at -> row[at]) whole places |> List.concat
    let request purpose = PlanRequest(purpose, 4L, 8L, 12L)
    use persistent = new Persistent(processor.Value)
    use prefill = new Running(processor.Value, Compile.plan model (request Purpose.Prefill), persistent)
    use decode = new Running(processor.Value, Compile.plan model (request Purpose.Decode), persistent)
    prefill.Write parameters

    let call (plan: Running) (past: int list) (counts: int list) =
        let width = List.max counts

        let part =
            List.map3 (fun (tokens: float list) from n -> List.truncate n (List.skip from tokens)) sequences past counts
            |> List.map (fun row -> row @ List.replicate (width - row.Length) 0.0)

        plan.Write [
            "tokens", List.concat part
            "past", List.map float past
            "last", counts |> List.map (fun n -> float (n - 1))
        ]

        plan.Run()
        let wanted = List.map2 (fun past n -> past + n - 1) past counts
        near 2e-5 $"logits at {wanted}" (logitsAt wanted) (plan.Output "logits")

    prefill.Bind("batch", 3L)
    decode.Bind("batch", 3L)
    prefill.Bind("seq", 4L)
    call prefill [ 0; 0; 0 ] [ 4; 2; 1 ]
    call decode [ 4; 2; 1 ] [ 1; 1; 1 ]
    prefill.Bind("seq", 3L)
    call prefill [ 5; 3; 2 ] [ 1; 3; 2 ]
    call decode [ 6; 6; 4 ] [ 1; 1; 1 ]

[<TestCase("bf16", 0.05)>]
[<TestCase("fp16", 0.005)>]
let ``parameters stored in two bytes are those numbers, and close to float32's``
    (precision: string)
    (tolerance: float)
    =
    for name in models do
        let model = modelOf name
        let parameters = parametersOf model
        let tokens = tokensOf model 5 8
        let flat = List.collect List.concat
        let stored = forward precision model parameters tokens 2L 4L |> flat
        let narrow = parameters |> List.map (fun (path, v) -> path, List.map (rounded precision) v)
        near 2e-5 $"{name} with rounded parameters" (forward "fp32" model narrow tokens 2L 4L |> flat) stored

        // An expert chosen otherwise is another model.
        if name <> "experts" then
            near tolerance name (forward "fp32" model parameters tokens 2L 4L |> flat) stored

[<Test>]
let ``narrow activations stay close, the cache among them`` ([<Values("gpt2", "llama")>] name: string) =
    let model = modelOf name
    let parameters = parametersOf model
    let tokens = tokensOf model 5 8
    let flat = List.collect List.concat
    let wide = forward "bf16" model parameters tokens 2L 4L |> flat
    near 0.05 name wide (forwardOf true "bf16" model parameters tokens 2L 4L |> flat)
    let request purpose = PlanRequest(purpose, 2L, 4L, 8L, Precision = "bf16", NarrowActivations = true)
    use persistent = new Persistent(processor.Value)
    use prefill = new Running(processor.Value, Compile.plan model (request Purpose.Prefill), persistent)
    use decode = new Running(processor.Value, Compile.plan model (request Purpose.Decode), persistent)
    let column (values: float list) at = [ values[at]; values[4 + at] ]

    let logitsAt at =
        wide |> List.chunkBySize (int model.Vocabulary) |> List.chunkBySize 4 |> List.collect (List.item at)

    let call (plan: Running) past last given =
        plan.Write [ "tokens", given; "past", [ past; past ]; "last", [ last; last ] ]
        plan.Run()
        plan.Output "logits"

    prefill.Write parameters
    prefill.Bind("seq", 3L)
    near 0.05 "prefill" (logitsAt 2) (call prefill 0.0 2.0 (tokens[..2] @ tokens[4..6]))
    near 0.05 "decode" (logitsAt 3) (call decode 3.0 0.0 (column tokens 3))
