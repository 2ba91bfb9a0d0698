/// Dropout: how much is dropped, where, and when.
module Legato.Tests.DropoutTests

open Legato.Compiler
open Legato.Dsl
open Legato.Models
open Legato.Runtime.Plans
open Legato.Tests.GraphValues
open NUnit.Framework

let private rows, length, width = 3, 20, 40
let private sizes = { GraphSamples.sizes with Embed = axis width; Layers = axis 2 }

/// The tensor behind a dropout in a loop of two layers, each layer's share by itself and what it was given.
let private dropped share name seed =
    let call = {
        Batch = Fixed(int64 rows)
        Sequence = Fixed(int64 length)
        Context = Fixed(int64 length)
        Source = None
        Dropout = share
        IsCached = false
    }

    let scope = Scope.Root call
    let x = floats "x" [ dim "Batch" rows; dim "Seq" length; dim "Embed" width ]

    let body: Layer<Tensor<Batch * Seq, Embed> -> Tensor<Batch * Seq, Embed>> =
        stack sizes.Layers (dropout name)

    let y = ((body.Elaborate scope) (Tensor x)).Node
    let single = ((dropout name).Elaborate scope) (Tensor<Batch * Seq, Embed> x)
    let ones = List.replicate (rows * length * width) 1.0
    evaluateWith [] [ "x", ones; "seed", [ seed ]; "first_row", [ 0.0 ] ] [ y; single.Node ]

let private shareOf (values: float list) =
    (values |> List.filter ((=) 0.0)).Length |> float |> fun n -> n / float values.Length

[<Test>]
let ``the share that is dropped is the share that was asked for, and the others make up for it`` () =
    let share = 0.3
    let twice, once = dropped share "one" 7.0 |> fun found -> found[0], found[1]
    // Four deviations of so many throws.
    let bound = 4.0 * sqrt (share * (1.0 - share) / float (rows * length * width))
    Assert.That(shareOf once, Is.EqualTo<float>(share).Within bound)
    Assert.That(once |> List.filter ((<>) 0.0) |> List.distinct |> List.length, Is.EqualTo 1)
    Assert.That(List.max once, Is.EqualTo(1.0 / 0.7).Within 1e-12)
    // The second layer drops others than the first.
    Assert.That(shareOf twice, Is.EqualTo(1.0 - 0.7 * 0.7).Within bound)

[<Test>]
let ``seeds, places and rows differ in what they drop`` () =
    let at name seed = (dropped 0.5 name seed)[1]
    let plain = at "one" 7.0
    let differing a b = List.map2 (fun x y -> if x = y then 0.0 else 1.0) a b |> List.average
    Assert.That((at "one" 7.0 = plain))
    Assert.That(differing plain (at "one" 8.0), Is.EqualTo(0.5).Within 0.1)
    Assert.That(differing plain (at "two" 7.0), Is.EqualTo(0.5).Within 0.1)
    let row i = plain |> List.skip (i * length * width) |> List.truncate (length * width)
    Assert.That(differing (row 0) (row 1), Is.EqualTo(0.5).Within 0.1)

let private preset name = Presets.model (Presets.find name)

let private request purpose share source = PlanRequest(purpose, 2L, 8L, 8L, Dropout = share, Source = source)

let private drops (nodes: Node list) =
    let rec has (nodes: Node list) =
        Node.topological nodes
        |> List.exists (fun node ->
            match node.Op with
            | Op.Map scalar -> (string scalar).Contains "UniformAt"
            | Op.Scan scan -> has scan.Results
            | _ -> false)

    has nodes

let private families = [ "gpt2-tiny"; "llama-tiny"; "mixtral-tiny"; "bert-tiny"; "t5-tiny"; "bart-tiny" ]

[<Test>]
let ``training drops, and nothing else does`` ([<ValueSource(nameof families)>] name: string) =
    let source = if name.StartsWith "t5" || name.StartsWith "bart" then 8L else 0L

    let has purpose share =
        (Specialise.call (preset name) (request purpose share source)).Outputs |> List.map snd |> drops

    Assert.That(has Purpose.Train 0.1)
    Assert.That(has Purpose.Train 0.0, Is.False)
    Assert.That(has Purpose.Evaluate 0.1, Is.False)
    Assert.That(has Purpose.Forward 0.1, Is.False)

[<Test>]
let ``a gradient is the slope of the loss with the same numbers dropped`` () =
    let model =
        GraphSamples.model (
            layer "model" {
                let! tokens = embedding "tokens" GraphSamples.sizes.Vocab GraphSamples.sizes.Embed

                and! mlp =
                    stack GraphSamples.sizes.Layers (GraphSamples.feedForward GraphSamples.sizes >=> dropout "mlp")

                return fun ids -> tokens.Lookup ids |> mlp |> tokens.Unembed
            }
        )

    let call = Specialise.call model (request Purpose.Train 0.25 0L)
    let ids = random 5 16 |> List.map (fun v -> floor ((v + 1.0) * 5.0))
    let parameters = Compile.declaredBy model

    let values shift = [
        "tokens", ids
        "labels", List.rev ids
        "seed", [ 3.0 ]
        for i, p in List.indexed parameters do
            let start, along = random (i + 11) (elements p.Node), random (i + 31) (elements p.Node)
            p.Parameter.Path, List.map2 (fun v d -> v + shift * d) start along
    ]

    let loss = call.Outputs |> List.find (fst >> (=) "loss") |> snd
    let at shift = (evaluate (values shift) loss).Head
    let slope = (at 1e-5 - at -1e-5) / 2e-5
    let gradients = evaluateWith [] (values 0.0) (List.map snd call.Gradients)

    let along =
        List.zip call.Gradients gradients
        |> List.sumBy (fun ((p, _), gradient) ->
            let i = parameters |> List.findIndex (fun declared -> declared.Parameter = p)
            List.map2 (*) gradient (random (i + 31) gradient.Length) |> List.sum)

    Assert.That(along, Is.EqualTo(slope).Within(1e-7 * max 1.0 (abs slope)))
