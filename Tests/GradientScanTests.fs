/// Gradients through loops, under both policies of what is kept.
module Legato.Tests.GradientScanTests

open Legato.Dsl
open Legato.Compiler
open Legato.Runtime.Plans
open Legato.Tests.GraphValues
open Legato.Tests.GradientChecks
open NUnit.Framework

let private a, b, layers = dim "A" 2, dim "B" 3, dim "Layers" 4
let private start, stack = floats "start" [ a ], floats "stack" [ layers; a ]

[<TestCase(false)>]
[<TestCase(true)>]
let ``carries, slices, captures and stacked results`` (reversed: bool) =
    let carry, slice, gain = placeholder "carry" [ a ], placeholder "slice" [ a ], floats "gain" [ a; b ]
    let mixed = Node.reduce Sum [ "B" ] (curved (Node.mul gain carry))
    let next = Node.add mixed (Node.mul slice carry)

    let loop =
        Node.scan layers reversed [ carry, start ] [ slice, stack ] [ next ] [
            square mixed
            Node.reduce Sum [ "A" ] next
        ]

    check [] (lossOf [ Node.item 0 loop; Node.item 1 loop; Node.item 2 loop ])
    check [] (lossOf [ Node.item 0 loop ])
    check [] (lossOf [ Node.item 2 loop ])

[<Test>]
let ``a loop without carries`` () =
    let slice = placeholder "slice" [ a ]
    check [] (lossOf [ Node.scan layers false [] [ slice, stack ] [] [ curved (Node.mul slice start) ] ])

[<Test>]
let ``two carries that change places`` () =
    let p, q = placeholder "p" [ a ], placeholder "q" [ a ]
    let loop = Node.scan layers false [ p, start; q, square start ] [] [ curved q; Node.mul p q ] []
    check [] (lossOf [ Node.item 0 loop; Node.item 1 loop ])

[<Test>]
let ``results that are a carry, a slice or a capture`` () =
    let carry, slice, capture = placeholder "carry" [ a ], placeholder "slice" [ a ], floats "capture" [ a ]

    let loop =
        Node.scan layers false [ carry, start ] [ slice, stack ] [ slice ] [ carry; slice; square capture; capture ]

    check [] (lossOf [ for i in 0..4 -> Node.item i loop ])

[<Test>]
let ``integers in carries, slices and results`` () =
    let count, carry = Node.placeholder "count" [] Integer, placeholder "carry" [ a ]
    let place = Node.placeholder "place" [] Integer
    let table = floats "table" [ dim "Row" 5; a ]
    let row = Node.gather "Row" table place
    let factor = Node.map (Un(ToFloat, Arg 0) * Num 0.3 + Num 0.5) [ count ]
    let next = curved (Node.add (Node.mul carry factor) row)
    let counted = Node.map (Arg 0 + Int 1L) [ count ]
    let places = integers "places" [ layers ]

    let loop =
        Node.scan layers false [ count, Node.map (Int 2L) []; carry, start ] [ place, places ] [ counted; next ] [
            count
            next
        ]

    check [ "places", [ 3.0; 0.0; 3.0; 1.0 ] ] (lossOf [ Node.item 1 loop; Node.item 3 loop ])

[<Test>]
let ``a slice that is also read outside of the loop`` () =
    let carry, slice = placeholder "carry" [ a ], placeholder "slice" [ a ]
    let used = curved stack

    let loop =
        Node.scan layers false [ carry, start ] [ slice, used ] [ Node.add (Node.mul carry slice) carry ] []

    check [] (lossOf [ Node.mul loop (Node.reduce Sum [ "Layers" ] used) ])

[<Test>]
let ``the loop's axis need not be the outermost of what it slices`` () =
    let carry, slice = placeholder "carry" [ a ], placeholder "slice" [ b; a ]
    let inner = floats "inner" [ b; layers; a ]

    let loop =
        Node.scan layers true [ carry, start ] [ slice, inner ] [
            curved (Node.add carry (Node.reduce Sum [ "B" ] slice))
        ] []

    check [] (lossOf [ loop ])

let private inOrder first second =
    let p, q = placeholder "p" [ a ], placeholder "q" [ a ]
    let one = Node.scan layers false [ p, start ] [] [ first p ] []
    Node.scan layers false [ q, square one ] [] [ second q one ] []

[<Test>]
let ``a loop after a loop`` () =
    let gain = floats "gain" [ a ]

    let last =
        inOrder (fun p -> curved (Node.mul p gain)) (fun q one -> curved (Node.add q (Node.mul one gain)))

    check [] (lossOf [ last ])

[<TestCase(Rematerialisation.None)>]
[<TestCase(Rematerialisation.Block)>]
let ``each loop runs once forward and once back`` (policy: Rematerialisation) =
    let last = inOrder (fun p -> curved (square p)) (fun q _ -> curved (square q))
    let gradients = Differentiate.gradient policy (lossOf [ last ]) [ start ]

    let loops =
        Node.topological (gradients.Loss :: gradients.Of)
        |> List.filter (fun node ->
            match node.Op with
            | Op.Scan _ -> true
            | _ -> false)

    Assert.That(loops.Length, Is.EqualTo 4)

[<TestCase(false)>]
[<TestCase(true)>]
let ``a loop in a loop`` (reversed: bool) =
    let steps = dim "Steps" 3
    let outer, weight = placeholder "outer" [ a ], placeholder "weight" [ a ]
    let inner, factor = placeholder "inner" [ a ], placeholder "factor" [ a ]
    let gain = floats "gain" [ steps; a ]
    let shared = curved (Node.mul outer weight)
    let next = curved (Node.add (Node.mul inner factor) (Node.mul shared weight))
    let loop = Node.scan steps reversed [ inner, outer ] [ factor, gain ] [ next ] [ square next ]
    let result = Node.add (Node.item 0 loop) (Node.mul outer (Node.number 0.5))

    let whole =
        Node.scan layers (not reversed) [ outer, start ] [ weight, stack ] [ result ] [ Node.item 1 loop; shared ]

    check [] (lossOf [ for i in 0..2 -> Node.item i whole ])

[<Test>]
let ``what the loss doesn't need stays out of the gradient's loop`` () =
    let carry, idle = placeholder "carry" [ a ], placeholder "idle" [ a ]

    let loop =
        Node.scan layers false [ carry, start; idle, start ] [] [ curved carry; Node.mul idle idle ] [ square idle ]

    check [] (lossOf [ Node.item 0 loop ])

[<Test>]
let ``a decoder with attention, experts and a tied head`` () =
    let request = PlanRequest(Purpose.Evaluate, 2L, 3L, 3L)
    let model = GraphSamples.model (GraphSamples.decoder GraphSamples.sizes)
    let loss = (Specialise.call model request).Outputs |> List.find (fun (name, _) -> name = "loss") |> snd
    check [ "tokens", [ 1.0; 7.0; 3.0; 1.0; 10.0; 0.0 ]; "labels", [ 7.0; 3.0; 2.0; 9.0; 0.0; 1.0 ] ] loss
