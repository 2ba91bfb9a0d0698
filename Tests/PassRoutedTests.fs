/// A mixture of experts, declared here: it trains, and its gradient is its slope.
module Legato.Tests.PassRoutedTests

open Legato.Compiler
open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Tests.GraphValues
open Legato.Tests.PassExecution
open NUnit.Framework

let private vocab, context, embed = axis<Vocab> 13, axis<Context> 16, axis<Embed> 8
let private heads, headDim, mlp = axis<Heads> 2, axis<HeadDim> 4, axis<Mlp> 12
let private experts, layers = axis<Expert> 4, axis<Layers> 2

let private attention =
    layer "attn" {
        let! wq = weight "q" embed (heads ^* headDim)
        and! wk = weight "k" embed (heads ^* headDim)
        and! wv = weight "v" embed (heads ^* headDim)
        and! wo = weight "o" (heads ^* headDim) embed
        and! kv = cache "kv" context heads headDim

        return
            fun x ->
                let k, v = kv.Append(x *@ wk, x *@ wv)
                attend causal (x *@ wq) k v *@ wo
    }

let private expert =
    layer "expert" {
        let! up = weight "up" embed mlp
        and! down = weight "down" mlp embed
        return fun x -> geluTanh (x *@ up) *@ down
    }

let private block =
    layer "block" {
        let! attn = attention
        and! ffn = layer "ffn" { let! f = routed experts 2 expert in return f }
        and! before = rmsNorm "before" embed
        and! between = rmsNorm "between" embed
        return fun x -> let h = x + attn (before x) in h + ffn (between h)
    }

let private model =
    layer "model" {
        let! tokens = embedding "tokens" vocab embed
        and! blocks = stack layers block
        return fun ids -> tokens.Lookup ids |> blocks |> tokens.Unembed
    }
    |> ModelDef.create "experts" vocab context

let private parameters = [
    for i, p in List.indexed (Compile.declaredBy model) do
        let gain = p.Parameter.Initializer = Ones

        p.Parameter.Path,
        random (i + 41) (elements p.Node)
        |> List.map (fun v -> float (float32 (if gain then 1.0 else 0.4 * v)))
]

// The next token is the present one and three more.
let private tokens = [ for i in 0..31 -> float ((i / 8 * 5 + i % 8 * 3) % 13) ]
let private labels = tokens |> List.map (fun t -> float ((int t + 3) % 13))
let private request purpose = PlanRequest(purpose, 4L, 8L, 8L)

[<Test>]
let ``the loss falls in thirty steps`` () =
    use device = cpu ()
    use persistent = new Persistent(device)
    use training = new Running(device, Compile.plan model (request Purpose.Train), persistent)
    training.Write(parameters @ [ "tokens", tokens; "labels", labels; "rate", [ 0.01 ] ])

    let losses = [
        for step in 1..30 do
            let correction beta = [ 1.0 - System.Math.Pow(beta, float step) ]
            training.Write [ "correction1", correction 0.9; "correction2", correction 0.95 ]
            training.Run()
            List.exactlyOne (training.Output "loss")
    ]

    TestContext.Out.WriteLine $"loss {losses.Head:F3} to {List.last losses:F3}"
    Assert.That(List.last losses, Is.LessThan(0.5 * losses.Head))

/// A parameter's gradient as the training plan computes it: with β₁ = 0 the first moment is the clipped gradient.
let private gradients () =
    let settings = OptimizerSettings(0.0, 0.95, 1e-8, 0.0, 0.0)

    let plan = Compile.plan model (PlanRequest(Purpose.Train, 4L, 8L, 8L, Optimizer = settings))

    use device = cpu ()

    execute device plan [
        yield! parameters
        "tokens", tokens
        "labels", labels
        "rate", [ 0.0 ]
        "correction1", [ 1.0 ]
        "correction2", [ 1.0 ]
    ]
    |> Map.ofList

[<Test>]
let ``the plan's gradient is the loss's slope in float64`` () =
    let found = gradients ()

    let loss = (Specialise.call model (request Purpose.Evaluate)).Outputs |> List.exactlyOne |> snd

    let given = Map.ofList (parameters @ [ "tokens", tokens; "labels", labels ])
    let step = 1e-5

    let lossAt path i shift =
        let moved = List.mapi (fun j v -> if i = j then v + shift else v) given[path]
        evaluate (Map.toList (given.Add(path, moved))) loss |> List.exactlyOne

    for path, values in parameters do
        // A few elements of each parameter, the same in every run.
        for i in [ 0; values.Length / 3; values.Length - 1 ] do
            let slope = (lossAt path i step - lossAt path i -step) / (2.0 * step)
            let gradient = found[$"optimizer.m.{path}"][i]

            if abs (gradient - slope) > 2e-5 * max 1.0 (abs slope) then
                Assert.Fail $"element {i} of {path}'s gradient is {gradient}, not {slope}"
