/// The verifier: sound graphs pass, and each kind of damage is told.
module Legato.Tests.GraphVerifyTests

open Legato.Dsl
open Legato.Compiler
open Legato.Tests.GraphValues
open NUnit.Framework

let private accepts graph = Verify.graph (graph |> List.map snd)

[<Test>]
let ``sound graphs pass`` () =
    accepts (GraphSamples.everyKind ())
    accepts (GraphSamples.nestedLoops ())
    accepts (GraphSamples.smallDecoder ())

let private a, b = dim "A" 2, dim "B" 4
let private x, index = floats "x" [ a; b ], integers "index" [ dim "S" 3 ]
let mutable private lastId = 1_000_000_000

/// A node as a faulty pass would make it: nothing inferred.
let private forge op inputs outputs =
    lastId <- lastId + 1
    Node(lastId, op, inputs, outputs)

let private forged op inputs dims = forge op inputs [ dims, Float ]
let private told node = message (fun () -> Verify.graph [ node ])
let private tells (expected: string) node = Assert.That(told node, Is.EqualTo expected)

[<Test>]
let ``stated axes and types must be the inferred ones`` () =
    forged (Op.Reduce(Sum, [ "B" ])) [ x ] [ b ]
    |> tells "it states [Float [B:4]], but gives [Float [A:2]]"

    forge (Op.Iota a) [] [ [ a ], Float ] |> tells "it states [Float [A:2]], but gives [Integer [A:2]]"
    forged (Op.Rename [ "A", "B" ]) [ x ] [ b; b ] |> tells "the axis B would occur twice in [B:2, B:4]"
    forged (Op.Broadcast [ b; a; b ]) [ x ] [ b; a; b ] |> tells "the axis B occurs twice"
    forged (Op.Reduce(Sum, [ "C" ])) [ x ] [ a; b ] |> tells "there is no axis C in [A:2, B:4]"

[<Test>]
let ``operands must fit in number and type`` () =
    forged (Op.Reduce(Sum, [ "B" ])) [ x; x ] [ a ] |> tells "2 inputs, not 1"
    forged (Op.Map(Arg 0 + Arg 2)) [ x; x ] [ a; b ] |> tells "the expression uses the operands [0; 2]"
    forged (Op.Map(Arg 0)) [ x; x ] [ a; b ] |> tells "2 inputs, not 1"
    forged (Op.Map(Arg 0 + Int 1L)) [ x ] [ a; b ] |> tells "1i in Add($0, 1i) is Integer, not Float"
    forged (Op.Map(Un(Exp, Arg 0))) [ index ] index.Dims |> tells "$0 in Exp($0) is Integer, not Float"

    forged (Op.Map(If(Arg 0, Num 0.0, Arg 0))) [ x ] [ a; b ]
    |> tells "$0 in If($0, 0, $0) is Float, not Boolean"

    forged (Op.Map(Arg 0 * Un(ToFloat, Var "q"))) [ x ] [ a; b ]
    |> tells "the variable q has no meaning here"

    forged (Op.Map(Bin(And, Arg 0, Arg 0))) [ x ] [ a; b ]
    |> tells "$0 in And($0, $0) is Float, not Boolean"

    let top = Node.make (Op.TopK("B", dim "R" 2)) [ x ]
    forged (Op.Map(Un(Neg, Arg 0))) [ top ] top.Dims |> tells $"{top} has 2 outputs"
    forge (Op.Item 2) [ top ] [ top.Outputs[0] ] |> tells $"{top} has no output 2"
    let counts = Node.map (Un(Neg, Arg 0)) [ index ]

    forged (Op.Contract [ "S" ]) [ counts; counts ] []
    |> tells $"the operand {counts} is Integer, not Float"

    forged (Op.Gather "A") [ x; floats "f" [ dim "S" 3 ] ] [ dim "S" 3; b ]
    |> tells $"""the operand {floats "f" [ dim "S" 3 ]} is Float, not Integer"""

[<Test>]
let ``parts must lie within their axis`` () =
    forged (Op.Slice("B", 2L, 3L)) [ x ] [ a; dim "B" 3 ]
    |> tells "the elements 2 to 5 don't lie within B:4"

    forged (Op.Pad("B", 2L, 5L)) [ x ] [ a; dim "B" 5 ]
    |> tells "the elements 2 to 6 don't lie within B:5"

    let rank = dim "R" 5

    forge (Op.TopK("B", rank)) [ x ] [ [ a; rank ], Float; [ a; rank ], Integer ]
    |> tells "the elements 0 to 5 don't lie within B:4"

    forged (Op.ConstVector([ 1.0 ], b)) [] [ b ] |> tells "1 values for B:4"

    forged (Op.Broadcast [ a; dim "B" 5 ]) [ x ] [ a; dim "B" 5 ]
    |> tells "the axis B:4 is not in [A:2, B:5]"

[<Test>]
let ``updates must have the axes of what they update`` () =
    let updates = floats "u" [ dim "S" 3; a ]

    forged (Op.ScatterAdd "A") [ x; index; updates ] x.Dims
    |> tells "the update has the axes [S:3, A:2], not [S:3, B:4]"

    let batch = dim "Batch" 2
    let state = Node.make (Op.State("s", [ batch; dim "Context" 8; a ])) []
    let value, past = floats "v" [ batch; dim "Seq" 3; b ], integers "past" [ batch ]

    forged (Op.Append("Context", "Seq")) [ state; value; past ] state.Dims
    |> tells "what is appended, but for the sequence, has the axes [Batch:2, B:4], not [Batch:2, A:2]"

let private scan change =
    let carry, slice, capture =
        Node.placeholder "carry" [ b ] Float, Node.placeholder "slice" [ b ] Float, Node.placeholder "capture" [] Float

    let body = {
        Dim = a
        Reversed = false
        Carries = [ carry ]
        Slices = [ slice ]
        Captures = [ capture ]
        CarryResults = [ Node.add (Node.mul carry capture) slice ]
        StackResults = [ Node.add carry slice ]
        LastResults = []
    }

    let start, gain = floats "start" [ b ], floats "gain" []
    let body, inputs = change body [ start; x; gain ]
    Node.make (Op.Scan body) inputs

[<Test>]
let ``bodies of loops must be closed and fit their loop`` () =
    scan (fun body inputs -> body, inputs) |> fun node -> Verify.graph [ Node.item 0 node ]
    let node change = Node.item 0 (scan change)
    let start, gain = floats "start" [ b ], floats "gain" []

    node (fun body inputs -> { body with CarryResults = [ Node.mul start body.CarryResults.Head ] }, inputs)
    |> tells $"the body uses {Print.node start}"

    node (fun body inputs -> body, List.take 2 inputs) |> tells "2 inputs, not 3"
    node (fun body _ -> body, [ start; start; gain ]) |> tells "the axis A:2 is not in [B:4]"

    node (fun body _ -> body, [ gain; x; gain ])
    |> tells "the start of a carry is Float [], its placeholder Float [B:4]"

    node (fun body _ -> body, [ start; x; start ])
    |> tells "the capture is Float [B:4], its placeholder Float []"

    node (fun body inputs -> { body with CarryResults = [ Node.reduce Sum [ "B" ] body.Slices.Head ] }, inputs)
    |> tells "the result of a carry is Float [], its placeholder Float [B:4]"

[<Test>]
let ``a placeholder stands for one input of a loop, inside it`` () =
    let loop = scan (fun body inputs -> body, inputs)

    let carry =
        match loop.Op with
        | Op.Scan body -> body.Carries.Head
        | _ -> null

    tells "a scan's placeholder is used outside of its body" (Node.add (Node.item 0 loop) carry)
    let twice = scan (fun body inputs -> { body with Slices = [ body.Carries.Head ] }, inputs)

    let p =
        match twice.Op with
        | Op.Scan body -> body.Carries.Head
        | _ -> null

    tells $"the placeholder {p} stands for two inputs" (Node.item 0 twice)

[<Test>]
let ``attentions must have sound masks and axes`` () =
    let batch, heads = dim "Batch" 2, dim "Heads" 4
    let q = floats "q" [ batch; dim "Seq" 3; heads; dim "D" 4 ]
    let k = floats "k" [ batch; dim "Context" 5; dim "KvHeads" 2; dim "D" 4 ]
    let past = integers "past" [ batch ]

    let form = {
        Sequence = "Seq"
        Context = "Context"
        Heads = "Heads"
        KeyHeads = "KvHeads"
        Feature = "D"
        ValueFeature = "D"
        Scale = 0.5
        Mask = None
        Score = None
        Sinks = false
    }

    let attend form inputs = Node.item 0 (Node.composite (Attend form) inputs)
    Verify.graph [ attend form [ q; k; k; past ] ]

    attend { form with Mask = Some(Var "k") } [ q; k; k; past ]
    |> tells "the expression k is Integer, not Boolean"

    attend { form with Mask = Some(Bin(Less, Var "score", Num 0.0)) } [ q; k; k; past ]
    |> tells "the variable score has no meaning here"

    attend { form with Score = Some(Arg 0) } [ q; k; k ] |> tells "the attention has no extra operand 0"

    let three = floats "k3" [ batch; dim "Context" 5; dim "KvHeads" 3; dim "D" 4 ]
    attend form [ q; three; three; past ] |> tells "4 Heads can't share 3 KvHeads"

[<Test>]
let ``the specification names every kind and their number`` () =
    let text =
        System.IO.File.ReadAllText(System.IO.Path.Combine(Legato.Tests.Repository.root, "Compiler", "GRAPH.md"))

    let kinds = FSharp.Reflection.FSharpType.GetUnionCases typeof<Op> |> Array.map (fun c -> c.Name)
    Assert.That(text, Does.Contain $"**{kinds.Length} kinds**")
    Assert.That(kinds |> Array.filter (fun kind -> not (text.Contains $"**{kind}**")), Is.Empty)
