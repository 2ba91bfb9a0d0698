/// A packed row is its documents by themselves: the same loss, the same gradients.
module Legato.Tests.PassPackTests

open Legato.Compiler
open Legato.Dsl
open Legato.Models
open Legato.Runtime.Devices
open Legato.Runtime.Plans
open Legato.Tests.GraphValues
open Legato.Tests.PassExecution
open Legato.Tests.PassModels
open NUnit.Framework

/// A decoder whose mask and score tell positions apart by themselves, not only by their distance.
let private absolute () =
    let scores = alibi GraphSamples.sizes.Heads + scoreCap 5.0
    let mask = causal &&& (blocked 3 1 ||| prefix 2) &&& window 6 + scores
    GraphSamples.model (GraphSamples.decoderOf mask GraphSamples.sizes)

let private models = [
    "gpt2", fun () -> preset [ "n_embd", "16"; "n_head", "2" ] "gpt2-tiny"
    "llama", fun () -> preset [ "hidden_size", "16" ] "llama-tiny"
    "bert", fun () -> preset [ "hidden_size", "16"; "num_attention_heads", "2" ] "bert-tiny"
    "absolute", absolute
    "foretelling", fun () -> Families.toTrain (FamilyForetellingTests.config 1)
]

let private modelOf name = (models |> List.find (fst >> (=) name) |> snd) ()
let private names = List.map fst models

// Without clipping, moments are a constant share of the gradients after the first step.
let private settings = OptimizerSettings(0.9, 0.95, 1e-2, 0.0, 0.0)

let private step (device: IDevice) (model: ModelDef) rows length isPacked accumulate tokens labels starts =
    let request =
        PlanRequest(
            Purpose.Train,
            rows,
            length,
            length,
            Accumulate = accumulate,
            Optimizer = settings,
            IsPacked = isPacked
        )

    execute device (Compile.plan model request) [
        yield! parametersOf model
        "tokens", tokens
        "labels", labels
        "starts", starts
        "rate", [ 0.0 ]
        "correction1", [ 0.1 ]
        "correction2", [ 0.05 ]
    ]
    |> List.filter (fun (name, _) -> name = "loss" || name.StartsWith "optimizer.m.")

/// Labels of a document: its tokens, each one place earlier; of the last place none.
let private labelsOf tokens = List.tail tokens @ [ -100.0 ]

let private weighted (parts: (float * (string * float list) list) list) =
    let total = List.sumBy fst parts
    let scale weight = List.map (fun (name, values) -> name, List.map (fun v -> v * weight / total) values)
    let add = List.map2 (fun (name, a) (_, b) -> name, List.map2 (+) a b)
    parts |> List.map (fun (weight, part) -> scale weight part) |> List.reduce add

// Two rows of one length, each cut at other places.
let private cuts = [ [ [ 5; 4; 3 ]; [ 1; 11 ] ]; [ [ 12 ]; [ 6; 6 ] ]; [ [ 2; 2; 2; 2; 2; 2 ]; [ 9; 3 ] ] ]

[<Test>]
let ``loss and gradients are those of the documents alone``
    ([<ValueSource(nameof names)>] name: string)
    ([<Values(0, 1, 2)>] cut: int)
    ([<Values(1L, 2L)>] accumulate: int64)
    =
    let model = modelOf name
    // Of documents of one length, each counts the same in the loss of every later token.
    let rows = if name = "foretelling" then [ [ 6; 6 ]; [ 6; 6 ] ] else cuts[cut]
    let documents = rows |> List.map (List.mapi (fun i length -> tokensOf model (7 * length + i) length))

    let alone = [
        for tokens in List.concat documents do
            let count = float tokens.Length

            if count > 1.0 then
                count - 1.0, step processor.Value model 1L (int64 count) false 1L tokens (labelsOf tokens) []
    ]

    let flat f = documents |> List.collect (List.collect f)

    let starts =
        rows
        |> List.collect (fun lengths ->
            List.zip lengths (lengths |> List.scan (+) 0 |> List.take lengths.Length)
            |> List.collect (fun (length, start) -> List.replicate length (float start)))

    let packed =
        step processor.Value model (2L / accumulate) 12L true accumulate (flat id) (flat labelsOf) starts

    for (name, wanted), (found, values) in List.zip (weighted alone) packed do
        Assert.That(found, Is.EqualTo name)
        close 2e-5 wanted values

[<Test>]
let ``the interpreter packs as the processor does`` ([<ValueSource(nameof names)>] name: string) =
    let model = modelOf name
    use oracle = interpreter ()
    let tokens = tokensOf model 1 24
    let starts = List.replicate 2 ([ 0.0; 0.0; 0.0 ] @ List.replicate 9 3.0) |> List.concat
    let on device = step device model 2L 12L true 1L tokens (tokensOf model 2 24) starts

    for (_, wanted), (_, values) in List.zip (on oracle) (on processor.Value) do
        close 2e-5 wanted values

[<Test>]
let ``a packed call's graph passes the verifier`` () =
    let request = PlanRequest(Purpose.Train, 2L, 12L, 12L, IsPacked = true)
    let call = Specialise.call (absolute ()) request
    Verify.graph (List.map snd call.Outputs @ List.map snd call.Updates)
