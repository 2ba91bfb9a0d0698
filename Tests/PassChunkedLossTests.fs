/// The loss over chunks of tokens is the loss over all of them, and so are its gradients.
module Legato.Tests.PassChunkedLossTests

open Legato.Compiler
open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Tests.GraphValues
open Legato.Tests.PassExecution
open Legato.Tests.PassModels
open NUnit.Framework

let private batch, length, embed, vocabulary = 3L, 4L, 5L, 7L
let private dim name size = { Name = name; Size = Fixed size }
let private tokens = [ dim "Batch" batch; dim "Seq" length ]
let private parameter path dims = Node.make (Op.Param({ Path = path; Initializer = Zeros; Decays = true }, dims)) []

// Below the head: something with parameters of its own, in whose gradient that of the tied weight meets the head's.
let private hidden = parameter "hidden" (tokens @ [ dim "Embed" embed ])
let private weight = parameter "weight" [ dim "Vocab" vocabulary; dim "Embed" embed ]
let private bias = parameter "bias" [ dim "Vocab" vocabulary ]
let private labels = Node.input "labels" tokens Integer
let private below = Node.map2 (fun h w -> Un(Tanh, h) * w) hidden (Node.reduce Sum [ "Vocab" ] weight)

let private logits = Node.contract [ "Embed" ] below weight
let private capped = Node.map2 (fun x b -> Num 5.0 * Un(Tanh, x + b)) logits bias

/// Adds to each logit what depends on the token's position: such a loss can't be cut.
let private byPosition = Node.map2 (fun x i -> x * Un(ToFloat, i)) logits (Node.iota (dim "Seq" length))

let private heads = [ "plain", logits; "capped", capped; "by position", byPosition ]
let private parameters = [ hidden; weight; bias ]

let private gradients (head: Node) most scale =
    let losses, share = Losses.crossEntropy head labels, Losses.shareOf labels
    let mean = ChunkedLoss.mean "Vocab" most share scale true losses
    Differentiate.gradientsFrom Rematerialisation.None mean.Seeds [] mean.Loss parameters

let private valuesOf =
    [ for node in parameters -> nameOf node, random node.Id (elements node) ]
    // The last position asks for no loss.
    @ [
        "labels", [ for i in 1L .. batch * length -> if i % length = 0L then -1.0 else float (i * 5L % vocabulary) ]
    ]

let private evaluated (g: Differentiate.Gradients) = evaluateWith [] valuesOf (Simplify.graph (g.Loss :: g.Of))

[<Test>]
let ``chunks give the gradients of the whole`` ([<Values("plain", "capped", "by position")>] name: string) =
    let head = heads |> List.find (fst >> (=) name) |> snd
    let whole = evaluated (gradients head System.Int64.MaxValue (Node.number 1.0))

    for tokensAtOnce in [ 1L; 3L; 6L ] do
        let cut = evaluated (gradients head (tokensAtOnce * vocabulary) (Node.number 1.0))

        for a, b in List.zip whole cut do
            for x, y in List.zip a b do
                Assert.That(y, Is.EqualTo(x).Within 1e-12)

[<Test>]
let ``the gradients are scaled, the loss is not`` () =
    let plain = evaluated (gradients logits (3L * vocabulary) (Node.number 1.0))
    let scaled = evaluated (gradients logits (3L * vocabulary) (Node.number 8.0))
    Assert.That(scaled.Head.Head, Is.EqualTo(plain.Head.Head).Within 1e-12)

    for a, b in List.zip plain.Tail scaled.Tail do
        for x, y in List.zip a b do
            Assert.That(y, Is.EqualTo(8.0 * x).Within 1e-12)

[<Test>]
let ``devices agree`` () =
    let g = gradients capped (3L * vocabulary) (Node.number 1.0)
    let names = "loss" :: [ for p in parameters -> $"d {nameOf p}" ]
    let call = callOf (List.zip names (Simplify.graph (g.Loss :: g.Of))) []
    agrees processor.Value [ "labels", valuesOf |> List.find (fst >> (=) "labels") |> snd ] call

let private requests =
    let sizes = PlanRequest(Purpose.Train, 4L, 16L, 16L)

    [
        sizes
        PlanRequest(Purpose.Train, 4L, 16L, 16L, Accumulate = 3L, Precision = "bf16")
        PlanRequest(Purpose.Train, 4L, 16L, 16L, Rematerialisation = Rematerialisation.Block)
        PlanRequest(Purpose.Evaluate, 4L, 16L, 16L)
    ]

[<Test>]
let ``no buffer holds more logits than was asked for``
    ([<ValueSource(nameof requests)>] request: PlanRequest)
    ([<Values("gpt2-tiny", "llama-tiny")>] name: string)
    =
    let model =
        (Legato.Models.Presets.all |> List.find (fun p -> p.Name = name)).Config
        |> Legato.Models.Families.ofConfig

    let plan = Compile.plan model request
    let bound = 16L * int64 model.Vocabulary

    let bounded =
        Compile.plan
            model
            (PlanRequest(
                request.Purpose,
                request.Batch,
                request.Sequence,
                request.Context,
                request.Precision,
                request.Accumulate,
                request.Rematerialisation,
                MostLogits = bound
            ))

    let logits (plan: Plan) = [
        for b in plan.Buffers do
            let axes = b.Axes |> Seq.map (fun a -> a.Name) |> List.ofSeq

            if List.contains "Vocab" axes && List.contains "Batch" axes then
                plan.Maximum b.Elements
    ]

    Assert.That(List.max (logits plan), Is.GreaterThan bound)
    Assert.That(List.max (logits bounded), Is.LessThanOrEqualTo bound)
    Assert.That(PassPlanWalk.mistake bounded |> Option.toObj, Is.Null)
