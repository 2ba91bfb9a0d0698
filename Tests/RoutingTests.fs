/// Routing and grouped products: what they mean, their gradients and their kernels, wherever the tokens go.
module Legato.Tests.RoutingTests

open Legato.Compiler
open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Tests.GraphValues
open Legato.Tests.PassExecution
open NUnit.Framework

let private sequence, rank, group = dim "Seq" 5, dim "Rank" 2, dim "Expert" 3
let private table = floats "table" [ group; dim "Out" 6; dim "In" 4 ]
let private index = integers "index" [ sequence; rank ]
let private form = { Group = "Expert"; Summed = [ "In" ] }

let private routings = [
    TestCaseData([ 0.0; 2.0; 1.0; 0.0; 2.0; 1.0; 0.0; 1.0; 1.0; 2.0 ]).SetArgDisplayNames "mixed"
    TestCaseData(List.replicate 10 1.0).SetArgDisplayNames "all to one"
    TestCaseData([ for i in 0..9 -> float (i % 2 * 2) ]).SetArgDisplayNames "one empty"
]

let private operands = [
    "rows shared by the ranks", floats "x" [ sequence; dim "In" 4 ]
    "rows of each rank", floats "x" [ sequence; rank; dim "In" 4 ]
    "rows in another order", floats "x" [ dim "In" 4; rank; sequence ]
]

[<TestCaseSource(nameof routings)>]
let ``a grouped product and its gradients are what they decompose into`` (routing: float list) =
    use device = cpu ()

    for _, x in operands do
        let node = Node.composite (GroupedProduct form) [ x; table; index ]
        let loss = GradientChecks.lossOf [ Node.map1 (fun y -> y * y) node ]
        Verify.graph [ node ]
        GradientChecks.check [ "index", routing ] loss
        let gradients = Differentiate.gradient Rematerialisation.None loss [ x; table ]
        let outputs = [ "y", node; "dx", gradients.Of[0]; "dtable", gradients.Of[1] ]
        agrees device [ "index", routing ] (callOf outputs [])

[<Test>]
let ``what follows a grouped product is its epilogue`` () =
    let bias = Node.gather "Expert" (floats "bias" [ group; dim "Out" 6 ]) index
    let node = Node.composite (GroupedProduct form) [ snd operands.Head; table; index ]
    let y = Node.map2 (fun y b -> Un(Tanh, y + b)) node bias
    let call = callOf [ "y", y ] []

    let epilogues =
        (planOf call).Steps
        |> Seq.choose (fun step ->
            match step with
            | :? Step.GroupedProduct as p -> Option.ofObj p.Epilogue
            | _ -> None)

    Assert.That(Seq.length epilogues, Is.EqualTo 1)
    use device = cpu ()
    agrees device [ "index", [ 0.0; 2.0; 1.0; 0.0; 2.0; 1.0; 0.0; 1.0; 1.0; 2.0 ] ] call

let private vocab, context, embed = axis<Vocab> 7, axis<Context> 8, axis<Embed> 4
let private mlp, experts = axis<Mlp> 6, axis<Expert> 4

let private modelOf router =
    layer "model" {
        let! tokens = embedding "tokens" vocab embed

        and! experts =
            routedBy
                router
                experts
                (layer "expert" {
                    let! up = weight "up" embed mlp
                    and! shift = bias "shift" mlp
                    and! down = weight "down" mlp embed
                    return fun x -> relu (x *@ up + shift) *@ down
                })

        return fun ids -> tokens.Lookup ids |> experts |> tokens.Unembed
    }
    |> ModelDef.create "experts" vocab context

let private sizes = {
    Batch = Fixed 2L
    Sequence = Fixed 4L
    Context = Fixed 4L
    Source = None
    Dropout = 0.0
    IsCached = false
}

let private tokens = [ 0.0; 3.0; 6.0; 1.0; 2.0; 2.0; 5.0; 4.0 ]

/// Every expert over every token, those not chosen times nothing.
let private dense (call: Elaborated) =
    let parameter path = (call.Parameters |> List.find (fun p -> p.Parameter.Path = $"model.{path}")).Node
    let x = Node.gather "Vocab" (parameter "tokens") call.Tokens
    let e = Node.contract [ "Embed" ] x (parameter "router.weight") |> Node.map1 (fun z -> Un(Exp, z))
    let top = Node.make (Op.TopK("Expert", rank)) [ e ]
    let least = Node.reduce Sum [ "Rank" ] (Node.slice "Rank" 1L 1L (Node.item 0 top))
    let kept = Node.map2 (fun score least -> If(Bin(Less, score, least), Num 0.0, score)) e least
    let gates = Node.map2 (/) kept (Node.reduce Sum [ "Expert" ] kept)
    let h = Node.add (Node.contract [ "Embed" ] x (parameter "expert.up")) (parameter "expert.shift")
    let y = Node.contract [ "Mlp" ] (Node.map1 (fun h -> Bin(Max, h, Num 0.0)) h) (parameter "expert.down")
    let mixed = Node.contract [ "Expert" ] gates y
    Node.contract [ "Embed" ] mixed (parameter "tokens")

[<Test>]
let ``a routed layer is the weighted sum of all experts, those not chosen weighing nothing`` () =
    let call = ModelDef.elaborate sizes (modelOf (Router.best 2))
    Verify.graph [ call.Logits ]

    let values =
        ("tokens", tokens)
        :: [ for i, p in List.indexed call.Parameters -> p.Parameter.Path, random (i + 3) (elements p.Node) ]

    close 1e-12 (evaluate values (dense call)) (evaluate values call.Logits)

[<Test>]
let ``a correction moves towards the experts that get less than their share`` () =
    let router = {
        Router.best 2 with
            Scoring = Sigmoid
            Correction = Some 0.25
            ZLoss = 0.1
            Balance = 0.1
    }

    let model = modelOf router
    use device = cpu ()

    let found =
        execute device (Compile.plan model (PlanRequest(Purpose.Train, 2L, 4L, 4L))) [
            for i, p in List.indexed (Compile.declaredBy model) do
                let isCorrection = p.Parameter.Path.EndsWith "correction"
                p.Parameter.Path, (if isCorrection then List.replicate 4 0.0 else random (i + 3) (elements p.Node))
            "tokens", tokens
            "labels", tokens
            "rate", [ 0.1 ]
            "correction1", [ 1.0 ]
            "correction2", [ 1.0 ]
        ]
        |> Map.ofList

    let shares = found["model.router.load"]
    Assert.That(List.sum shares, Is.EqualTo(1.0).Within 1e-6)
    close 1e-6 (shares |> List.map (fun share -> 0.25 * float (sign (0.25 - share)))) found["model.router.correction"]
    Assert.That(found.ContainsKey "optimizer.m.model.router.correction", Is.False)

[<TestCase(3, 2, 1, 2)>]
[<TestCase(2, 1, 2, 3)>]
[<TestCase(2, 3, 1, 2)>]
let ``groups that can't be are refused`` (count: int) (chosen: int) (best: int) (experts: int) =
    let router = { Router.best experts with Groups = Some { Count = count; Chosen = chosen; Best = best } }
    let said = message (fun () -> ModelDef.elaborate sizes (modelOf router) |> ignore)
    Assert.That(said, Does.Contain "groups")
