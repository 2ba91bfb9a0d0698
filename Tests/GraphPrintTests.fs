/// The printed form of graphs, held.
module Legato.Tests.GraphPrintTests

open Legato.Dsl
open Legato.Compiler
open Legato.Tests
open NUnit.Framework

[<Test>]
let ``every kind of node prints itself`` () =
    Golden.hold "graph/every-kind.txt" (Print.graph (GraphSamples.everyKind ()))

[<Test>]
let ``loops print their bodies`` () = Golden.hold "graph/nested-loops.txt" (Print.graph (GraphSamples.nestedLoops ()))

[<Test>]
let ``a decoder prints itself`` () = Golden.hold "graph/small-decoder.txt" (Print.graph (GraphSamples.smallDecoder ()))

[<Test>]
let ``the same graph built again prints the same`` () =
    let text = Print.graph (GraphSamples.smallDecoder ())
    GraphSamples.everyKind () |> ignore
    Assert.That(Print.graph (GraphSamples.smallDecoder ()), Is.EqualTo text)

[<Test>]
let ``composites print what they decompose into`` () =
    let decomposed (root: Node) =
        Node.rewrite
            (fun node inputs ->
                match node.Op with
                | Op.Composite c when node.Outputs.Length = 1 -> Some(List.exactlyOne (Composites.decompose c inputs))
                | Op.Item i ->
                    match inputs.Head.Op with
                    | Op.Composite c -> Some(List.item i (Composites.decompose c inputs.Head.Inputs))
                    | _ -> None
                | _ -> None)
            [ root ]
        |> List.exactlyOne

    let dims = GraphValues.dim
    let q = GraphValues.floats "q" [ dims "Batch" 2; dims "Seq" 3; dims "Heads" 4; dims "D" 4 ]
    let k = GraphValues.floats "k" [ dims "Batch" 2; dims "Context" 5; dims "KvHeads" 2; dims "D" 4 ]
    let v = GraphValues.floats "v" [ dims "Batch" 2; dims "Context" 5; dims "KvHeads" 2; dims "V" 6 ]
    let score = alibi (axis<Heads> 4) + scoreCap 30.0

    let form = {
        Sequence = "Seq"
        Context = "Context"
        Heads = "Heads"
        KeyHeads = "KvHeads"
        Feature = "D"
        ValueFeature = "V"
        Scale = 0.5
        Mask = causal.Mask
        Score = score.Score
        Sinks = false
    }

    let attended past =
        let node = Node.composite (Attend form) ([ q; k; v ] @ past)
        Node.item 0 node, Node.item 1 node

    let output, logSumExp = attended [ GraphValues.integers "past" [ dims "Batch" 2 ] ]
    Golden.hold "graph/attend.txt" (Print.graph [ "output", decomposed output; "log-sum-exp", decomposed logSumExp ])
    let output, logSumExp = attended []

    let gradient =
        Node.composite (AttendGradient form) [ q; k; v; output; logSumExp; GraphValues.floats "d" output.Dims ]

    Golden.hold
        "graph/attend-gradient.txt"
        (Print.graph [ for i, name in List.indexed [ "dq"; "dk"; "dv" ] -> name, decomposed (Node.item i gradient) ])
