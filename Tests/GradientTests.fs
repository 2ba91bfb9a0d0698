/// The gradient of every kind of node and of every composite.
module Legato.Tests.GradientTests

open System
open Legato.Dsl
open Legato.Compiler
open Legato.Runtime.Plans
open Legato.Tests.GraphValues
open Legato.Tests.GradientChecks
open NUnit.Framework

let private a, b, c, s = dim "A" 2, dim "B" 4, dim "C" 3, dim "S" 3
let private x, y = floats "x" [ a; b ], floats "y" [ b; c ]
let private index = integers "index" [ s ]
let private passes node = check [ "index", [ 2.0; 0.0; 2.0 ] ] (lossOf [ node ])
let private positive x = Node.map1 (fun v -> Num 1.5 + Un(Tanh, v)) x

let private scalars: (string * (Scalar -> Scalar)) list =
    let plain = fun v -> v
    let above = fun v -> Num 1.5 + v

    [
        for name, op, domain in
            [
                "negative", Neg, plain
                "absolute value", Abs, plain
                "exponential", Exp, plain
                "logarithm", Log, above
                "square root", Sqrt, above
                "reciprocal root", Rsqrt, above
                "hyperbolic tangent", Tanh, plain
                "sine", Sin, plain
                "cosine", Cos, plain
                "error function", Erf, plain
            ] -> name, (fun v -> Un(op, domain v))
    ]
    @ [
        "quotient", (fun v -> v / (Num 2.0 + v))
        "minimum", (fun v -> Bin(Min, v, Num 0.2))
        "maximum", (fun v -> Bin(Max, v * v, Num 0.2))
        "choice", (fun v -> If(Bin(And, Bin(Less, v, Num 0.3), Bin(LessOrEqual, Num -0.3, v)), v * v, Un(Exp, v)))
        "finite or zero", (fun v -> If(Un(IsFinite, Un(Log, v)), v, Num 0.0))
    ]

let private names = scalars |> List.map fst

[<TestCaseSource(nameof names)>]
let ``scalar functions`` (name: string) = passes (Node.map1 (snd (List.find (fst >> (=) name) scalars)) x)

[<Test>]
let ``maps of operands with other axes`` () =
    passes (Node.map (Arg 0 * Arg 1 / Arg 2 + Arg 0) [ x; y; positive (floats "z" [ c; a ]) ])
    passes (Node.mul x x)

[<Test>]
let ``what is detached has no gradient`` () =
    let gradients =
        Differentiate.gradient Rematerialisation.None (lossOf [ Node.map1 (fun v -> Un(Detach, v)) x ]) [ x ]

    close 0.0 (List.replicate 8 0.0) (evaluateWith [] [] gradients.Of).Head

[<Test>]
let ``a variable that the loss lacks has gradient zero, in its axes`` () =
    let gradients = Differentiate.gradient Rematerialisation.Block (lossOf [ x ]) [ y ]
    Assert.That((gradients.Of.Head.Dims = y.Dims))
    close 0.0 (List.replicate 12 0.0) (evaluateWith [] [] gradients.Of).Head

[<Test>]
let ``reductions`` () =
    passes (Node.reduce Sum [ "A" ] (Node.mul x x))
    passes (Node.reduce Sum [ "A"; "B" ] x)
    passes (Node.reduce Maximum [ "B" ] x)
    passes (Node.reduce Maximum [ "A"; "B" ] x)

[<Test>]
let ``a maximum that several elements reach shares its gradient`` () =
    let loss = Node.reduce Maximum [ "A" ] (floats "t" [ a ])
    let gradients = Differentiate.gradient Rematerialisation.None loss [ floats "t" [ a ] ]
    close 0.0 [ 0.5; 0.5 ] (evaluateWith [] [ "t", [ 3.0; 3.0 ] ] gradients.Of).Head

[<Test>]
let ``products over one axis, over two, with an axis aligned, of a node with itself`` () =
    passes (Node.contract [ "B" ] x y)
    passes (Node.contract [ "A"; "B" ] x (floats "z" [ b; c; a ]))
    passes (Node.contract [ "B" ] (floats "z" [ c; a; b ]) y)
    passes (Node.contract [] x y)
    passes (Node.contract [ "B" ] x x)

[<Test>]
let ``views`` () =
    passes (Node.rename [ "A", "D" ] (Node.mul x x))
    passes (Node.split "B" (dim "D" 2) (dim "E" 2) x)
    passes (Node.merge "A" "B" "D" x)
    passes (Node.merge "B" "A" "D" x)
    passes (Node.slice "B" 1L 2L x)
    passes (Node.pad "B" 1L 7L x)
    passes (Node.broadcast [ c; b; a ] x)

[<Test>]
let ``gathers and scattered sums`` () =
    passes (Node.gather "C" y index)
    passes (Node.gather "B" (floats "z" [ s; b; a ]) index)
    let updates = floats "u" [ s; b ]
    passes (Node.make (Op.ScatterAdd "C") [ y; index; updates ])
    passes (Node.mul y (Node.make (Op.ScatterAdd "C") [ Node.mul y y; index; Node.mul updates updates ]))

[<Test>]
let ``the largest`` () =
    let top = Node.make (Op.TopK("B", dim "R" 2)) [ x ]
    passes (Node.item 0 top)
    passes (Node.map (Arg 0 * Un(ToFloat, Arg 1)) [ Node.item 0 top; Node.item 1 top ])

[<TestCase(false)>]
[<TestCase(true)>]
let ``rotary positions`` (interleaved: bool) =
    // Angles come from positions: integers, as here, have no gradient.
    let angle =
        Node.map (Num 0.4 * Un(ToFloat, Arg 0) + Num 0.1) [ integers "angle" [ dim "Seq" 3; dim "Pair" 2 ] ]

    let turn f = Node.map1 (fun v -> Un(f, v)) angle
    let form: RopeForm = { Feature = "D"; Rotary = 4L; Interleaved = interleaved; Inverse = false }

    let node =
        Node.composite (Rope form) [ floats "q" [ dim "Seq" 3; dim "Heads" 2; dim "D" 6 ]; turn Cos; turn Sin ]

    check [ "angle", [ 0.0; 1.0; 2.0; 3.0; 4.0; 5.0 ] ] (lossOf [ node ])

let private attend mask score heads keyHeads context =
    let keys = if heads = keyHeads then "Heads" else "KvHeads"
    let batch = dim "Batch" 2
    let q = floats "q" [ batch; dim "Seq" 3; dim "Heads" heads; dim "D" 3 ]
    let k = floats "k" [ batch; dim "Context" context; dim keys keyHeads; dim "D" 3 ]
    let v = floats "v" [ batch; dim "Context" context; dim keys keyHeads; dim "V" 2 ]

    let form = {
        Sequence = "Seq"
        Context = "Context"
        Heads = "Heads"
        KeyHeads = keys
        Feature = "D"
        ValueFeature = "V"
        Scale = 0.7
        Mask = mask
        Score = score
        Sinks = false
    }

    Node.composite (Attend form) [ q; k; v ]

let private attentions: (string * (unit -> Node)) list =
    let capped = scoreCap 1.5
    let biased = alibi (axis<Heads> 4) + scoreCap 1.5
    let windowed = causal &&& window 2
    let sees = Some(Bin(LessOrEqual, Var "k", Var "b"))
    let nothing = Some(Bin(Less, Var "q", Var "k"))

    [
        "causal", (fun () -> attend causal.Mask None 4 2 3)
        "everything", (fun () -> attend None None 4 4 3)
        "one key head", (fun () -> attend causal.Mask None 4 1 3)
        "context longer than what is written", (fun () -> attend causal.Mask None 2 2 5)
        "window", (fun () -> attend windowed.Mask None 4 2 3)
        "window or prefix", (fun () -> attend (windowed ||| prefix 1).Mask None 4 2 3)
        "soft cap", (fun () -> attend causal.Mask capped.Score 4 2 3)
        "bias by head, then soft cap", (fun () -> attend causal.Mask biased.Score 4 2 3)
        "mask by row", (fun () -> attend sees None 4 2 3)
        "queries that see nothing", (fun () -> attend nothing None 4 2 3)
    ]

let private attentionOf name = (snd (List.find (fst >> (=) name) attentions)) ()
let private attentionNames = attentions |> List.map fst

[<TestCaseSource(nameof attentionNames)>]
let ``attention`` (name: string) = check [] (lossOf [ Node.item 0 (attentionOf name) ])

[<TestCaseSource(nameof attentionNames)>]
let ``attention by its decomposition's gradient`` (name: string) =
    let node = attentionOf name

    match node.Op with
    | Op.Composite composite -> check [] (lossOf [ (Composites.decompose composite node.Inputs).Head ])
    | _ -> ()

[<Test>]
let ``what has no gradient says so`` () =
    let node = attend None None 4 2 3

    let refused loss =
        message (fun () -> Differentiate.gradient Rematerialisation.None loss [ node.Inputs.Head ] |> ignore)

    let past =
        Node.composite
            (match node.Op with
             | Op.Composite c -> c
             | _ -> failwith "no attention")
            (node.Inputs @ [ integers "past" [] ])

    Assert.That(refused (lossOf [ Node.item 0 past ]), Does.Contain "has no gradient")

[<TestCaseSource(nameof attentionNames)>]
let ``attention's log-sum-exp`` (name: string) =
    // Of nothing it is −∞.
    if name <> "queries that see nothing" then
        let node = attentionOf name
        check [] (lossOf [ Node.item 0 node; Node.item 1 node ])

[<Test>]
let ``a float operand of attention's scores`` () =
    let bias = floats "bias" [ dim "Heads" 4; dim "Seq" 3; dim "Context" 3 ]
    let node = attend causal.Mask (Some(Var "score" + Arg 0)) 4 2 3

    match node.Op with
    | Op.Composite attention -> check [] (lossOf [ Node.item 0 (Node.composite attention (node.Inputs @ [ bias ])) ])
    | _ -> Assert.Fail "no attention"
