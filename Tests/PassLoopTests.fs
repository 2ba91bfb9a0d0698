/// Loops: lowered, they mean what the graph means.
module Legato.Tests.PassLoopTests

open Legato.Compiler
open Legato.Dsl
open Legato.Tests.GraphValues
open Legato.Tests.PassExecution
open Legato.Tests.PassModels
open NUnit.Framework

let private a, b, c = dim "A" 3, dim "B" 4, dim "C" 5
let private y = floats "y" [ b; c ]
let private layers = dim "Layers" 4
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

    lowers [ for i in 0..2 -> Node.item i loop ]

[<Test>]
let ``a loop without carries, and one whose result nobody else reads`` () =
    let slice, carry = placeholder "slice" [ a ], placeholder "carry" [ a ]
    let mapped = Node.scan layers false [] [ slice, stack ] [] [ curved (Node.mul slice start) ]

    let summed =
        Node.scan layers false [ carry, square start ] [ slice, mapped ] [ Node.add carry slice ] []

    lowers [ summed ]

[<Test>]
let ``carries that change places`` () =
    let p, q, r = placeholder "p" [ a ], placeholder "q" [ a ], placeholder "r" [ a ]
    let two = Node.scan layers false [ p, start; q, square start ] [] [ curved q; Node.mul p q ] []
    let bare = Node.scan (dim "Steps" 3) false [ p, start; q, square start ] [] [ q; p ] []

    let three =
        Node.scan layers true [ p, start; q, curved start; r, square start ] [] [ q; r; p ] [ Node.add p q ]

    lowers [
        for loop in [ two; bare; three ] do
            for i in 0 .. loop.Outputs.Length - 1 -> Node.item i loop
    ]

[<Test>]
let ``a carry that stays as it is, and starts that are one value`` () =
    let p, q, r = placeholder "p" [ a ], placeholder "q" [ a ], placeholder "r" [ a ]
    let shared = curved start

    let loop =
        Node.scan layers false [ p, shared; q, shared; r, start ] [] [ p; Node.mul q p; Node.add r q ] [ p; q ]

    lowers [ yield! [ for i in 0..4 -> Node.item i loop ]; shared ]

[<Test>]
let ``results that are a carry, a slice or a capture`` () =
    let carry, slice, capture = placeholder "carry" [ a ], placeholder "slice" [ a ], floats "capture" [ a ]

    let loop =
        Node.scan layers false [ carry, start ] [ slice, stack ] [ slice ] [ carry; slice; square capture; capture ]

    lowers [ for i in 0..4 -> Node.item i loop ]

[<Test>]
let ``one value as two carries' and two stacks' result`` () =
    let p, q = placeholder "p" [ a ], placeholder "q" [ a ]
    let next = curved (Node.add p q)

    let loop =
        Node.scan layers false [ p, start; q, square start ] [] [ next; next ] [ next; next; Node.mul next q ]

    lowers [ for i in 0..4 -> Node.item i loop ]

[<Test>]
let ``products that add to a carry`` () =
    let carry, slice = placeholder "carry" [ a; c ], placeholder "slice" [ a; b ]
    let weights = floats "weights" [ layers; a; b ]
    let zeros = Node.broadcast [ a; c ] (Node.number 0.0)

    let loop =
        Node.scan layers true [ carry, zeros ] [ slice, weights ] [ Node.add carry (Node.contract [ "B" ] slice y) ] []

    lowers [ loop ]

[<Test>]
let ``the loop's axis inside of what it slices`` () =
    let carry, slice = placeholder "carry" [ a ], placeholder "slice" [ b; a ]
    let inner = floats "inner" [ b; layers; a ]
    let flat = Node.merge "B" "A" "M" slice
    let weighted = Node.contract [ "M" ] flat (floats "w" [ a; dim "M" 12 ] |> Node.rename [ "A", "O" ])
    let next = curved (Node.add carry (Node.rename [ "O", "A" ] weighted))
    lowers [ Node.scan layers true [ carry, start ] [ slice, inner ] [ next ] [] ]

[<Test>]
let ``a capture that is only a part of memory`` () =
    let carry = placeholder "carry" [ dim "M" 6 ]
    let part = Node.slice "B" 1L 2L (floats "wide" [ a; b ])
    let flat = Node.merge "A" "B" "M" part
    let start = floats "start of M" [ dim "M" 6 ]
    let whole = Node.scan layers false [ carry, start ] [] [ curved (Node.add carry flat) ] []
    let capture = Node.placeholder "part" part.Dims Float
    let weight = floats "v" [ dim "M" 6; dim "M'" 6 ]

    let body: Scan = {
        Dim = layers
        Reversed = false
        Carries = [ carry ]
        Slices = []
        Captures = [ capture; weight ]
        CarryResults = [
            Node.contract [ "M" ] (Node.merge "A" "B" "M" capture) weight
            |> Node.rename [ "M'", "M" ]
            |> Node.add carry
            |> curved
        ]
        StackResults = []
        LastResults = []
    }

    lowers [ whole; Node.make (Op.Scan body) [ start; part; weight ] ]

/// The mean over the rows of what is carried is stacked, so that all rows are wanted up to there; a product follows.
[<TestCase 1; TestCase 3>]
let ``rows of a loop's end are picked in its last iteration`` (count: int) =
    let steps, square = dim "Steps" count, [ dim "C'" 5; c ]
    let carry, weight = placeholder "carry" [ a; c ], placeholder "weight" square
    let stacked = Node.map1 (fun v -> Un(Tanh, v) * Num 0.5) carry
    let product = Node.contract [ "C" ] stacked weight |> Node.rename [ "C'", "C" ]
    let next = Node.add carry (curved product)
    let mean = Node.reduce Sum [ "A" ] stacked
    let start, weights = floats "first" [ a; c ], floats "weights" (steps :: square)
    let loop = Node.scan steps false [ carry, start ] [ weight, weights ] [ next ] [ mean ]
    let rows = integers "rows" [ dim "Row" 2 ]
    let roots = [ Node.gather "A" (Node.item 0 loop) rows; Node.item 1 loop ]
    let picked = PickRows.inLoops roots |> Simplify.graph
    Verify.graph picked

    let lasts =
        Node.topological picked
        |> List.sumBy (fun node ->
            match node.Op with
            | Op.Scan scan -> scan.LastResults.Length
            | _ -> 0)

    Assert.That(lasts, Is.EqualTo 1)
    let given = [ "rows", [ 2.0; 0.0 ] ]
    let values = valuesOf given (callOf (named roots) [])
    let evaluated nodes = expected (callOf (named nodes) []) values
    compare 1e-12 "picked early" (evaluated roots) (evaluated picked)
    lowersWith given picked

[<Test>]
let ``integers in carries, slices and results`` () =
    let count, carry = Node.placeholder "count" [] Integer, placeholder "carry" [ a ]
    let place = Node.placeholder "place" [] Integer
    let row = Node.gather "Row" (floats "table" [ dim "Row" 5; a ]) place
    let factor = Node.map (Un(ToFloat, Arg 0) * Num 0.3 + Num 0.5) [ count ]
    let next = curved (Node.add (Node.mul carry factor) row)
    let counted = Node.map (Arg 0 + Int 1L) [ count ]
    let places = integers "places" [ layers ]

    let loop =
        Node.scan layers false [ count, Node.map (Int 2L) []; carry, start ] [ place, places ] [ counted; next ] [
            count
            next
        ]

    lowersWith [ "places", [ 3.0; 0.0; 3.0; 1.0 ] ] [ for i in 0..3 -> Node.item i loop ]
