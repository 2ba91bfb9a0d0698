/// The evaluator against values by hand: every kind of node.
module Legato.Tests.GraphEvaluateTests

open Legato.Dsl
open Legato.Compiler
open Legato.Tests.GraphValues
open NUnit.Framework

let private a, b = dim "A" 2, dim "B" 3
let private x = floats "x" [ a; b ]
let private xs = [ 1.0; 2.0; 3.0; 4.0; 5.0; 6.0 ]
let private gives expected node = close 1e-12 expected (evaluate [ "x", xs ] node)

[<Test>]
let ``a map aligns its operands by axis name`` () =
    let y = floats "y" [ b ]
    let z = floats "z" [ b; a ]
    close 0.0 [ 11.0; 22.0; 33.0; 14.0; 25.0; 36.0 ] (evaluate [ "x", xs; "y", [ 10.0; 20.0; 30.0 ] ] (Node.add x y))

    close
        0.0
        [ 2.0; 5.0; 8.0; 6.0; 9.0; 12.0 ]
        (evaluate [ "x", xs; "z", [ 1.0; 2.0; 3.0; 4.0; 5.0; 6.0 ] ] (Node.add x z))

[<Test>]
let ``scalar functions have their values`` () =
    let at value f = evaluate [ "s", [ value ] ] (Node.map1 f (floats "s" [])) |> List.exactlyOne
    let is expected actual = close 1e-15 [ expected ] [ actual ]
    // erf from Abramowitz and Stegun 1964, table 7.1, carried on by its series in more digits.
    is 0.5204998778130465 (at 0.5 (fun s -> Un(Erf, s)))
    is -0.9953222650189527 (at -2.0 (fun s -> Un(Erf, s)))
    is 0.9999999999999777 (at 5.4 (fun s -> Un(Erf, s)))
    is 1.0 (at 7.0 (fun s -> Un(Erf, s)))
    is 0.0 (at 0.0 (fun s -> Un(Erf, s)))
    is 0.5 (at 4.0 (fun s -> Un(Rsqrt, s)))
    is 3.0 (at 4.0 (fun s -> If(Bin(Less, s, Num 5.0), Num 3.0, s)))
    is 0.0 (at nan (fun s -> Un(ToFloat, Un(IsFinite, s))))

[<Test>]
let ``integers divide towards zero`` () =
    let n = integers "n" []
    let at op = evaluate [ "n", [ -7.0 ] ] (Node.map (Bin(op, Arg 0, Int 2L)) [ n ])
    close 0.0 [ -3.0 ] (at Div)
    close 0.0 [ -1.0 ] (at Rem)

[<Test>]
let ``reductions and products sum over the axes they name`` () =
    gives [ 6.0; 15.0 ] (Node.reduce Sum [ "B" ] x)
    gives [ 4.0; 5.0; 6.0 ] (Node.reduce Maximum [ "A" ] x)
    gives [ 21.0 ] (Node.reduce Sum [ "A"; "B" ] x)
    gives [ 14.0; 32.0; 32.0; 77.0 ] (Node.contract [ "B" ] x (Node.rename [ "A", "C" ] x))
    gives [ 14.0; 77.0 ] (Node.contract [ "B" ] x x)

[<Test>]
let ``views move elements without changing them`` () =
    gives xs (Node.split "B" (dim "C" 3) (dim "D" 1) x)
    gives xs (Node.merge "A" "B" "C" x)
    gives [ 1.0; 4.0; 2.0; 5.0; 3.0; 6.0 ] (Node.merge "B" "A" "C" x)
    gives [ 2.0; 3.0; 5.0; 6.0 ] (Node.slice "B" 1L 2L x)
    gives [ 0.0; 1.0; 2.0; 3.0; 0.0; 0.0; 4.0; 5.0; 6.0; 0.0 ] (Node.pad "B" 1L 5L x)
    gives [ 1.0; 1.0; 4.0; 4.0; 2.0; 2.0; 5.0; 5.0; 3.0; 3.0; 6.0; 6.0 ] (Node.broadcast [ b; a; dim "C" 2 ] x)

[<Test>]
let ``gather picks rows, and slices where table and index share an axis`` () =
    let index = integers "i" [ dim "S" 3 ]
    let rows = Node.gather "A" x index
    close 0.0 [ 4.0; 5.0; 6.0; 1.0; 2.0; 3.0; 4.0; 5.0; 6.0 ] (evaluate [ "x", xs; "i", [ 1.0; 0.0; 1.0 ] ] rows)
    let own = Node.gather "B" x (integers "i" [ a ])
    close 0.0 [ 3.0; 4.0 ] (evaluate [ "x", xs; "i", [ 2.0; 0.0 ] ] own)

    Assert.That(
        message (fun () -> evaluate [ "x", xs; "i", [ 3.0; 0.0 ] ] own |> ignore),
        Is.EqualTo "the index 3 lies outside of B:3"
    )

[<Test>]
let ``scatter-add adds every update at its index`` () =
    let index, updates = integers "i" [ dim "S" 3 ], floats "u" [ dim "S" 3; b ]
    let sum = Node.make (Op.ScatterAdd "A") [ x; index; updates ]
    let values = [ "x", xs; "i", [ 1.0; 0.0; 1.0 ]; "u", [ 1.0; 2.0; 3.0; 4.0; 5.0; 6.0; 7.0; 8.0; 9.0 ] ]
    close 0.0 [ 5.0; 7.0; 9.0; 12.0; 15.0; 18.0 ] (evaluate values sum)

[<Test>]
let ``top-k is descending, and of equals the first comes first`` () =
    let top = Node.make (Op.TopK("B", dim "R" 2)) [ floats "y" [ a; b ] ]
    let values = [ "y", [ 1.0; 3.0; 3.0; 9.0; 7.0; 8.0 ] ]
    close 0.0 [ 3.0; 3.0; 9.0; 8.0 ] (evaluate values (Node.item 0 top))
    close 0.0 [ 1.0; 2.0; 0.0; 2.0 ] (evaluate values (Node.item 1 top))

[<Test>]
let ``append writes each row of the batch after its own past`` () =
    let state = Node.make (Op.State("s", [ dim "Batch" 2; dim "Context" 3 ])) []
    let value, past = floats "v" [ dim "Batch" 2; dim "Seq" 2 ], integers "past" [ dim "Batch" 2 ]
    let appended = Node.make (Op.Append("Context", "Seq")) [ state; value; past ]
    let values p = [ "s", [ 1.0; 2.0; 3.0; 4.0; 5.0; 6.0 ]; "v", [ 10.0; 20.0; 30.0; 40.0 ]; "past", p ]
    close 0.0 [ 10.0; 20.0; 3.0; 4.0; 30.0; 40.0 ] (evaluate (values [ 0.0; 1.0 ]) appended)

    Assert.That(
        message (fun () -> evaluate (values [ 0.0; 2.0 ]) appended |> ignore),
        Is.EqualTo "a sequence of 2 after 2 positions"
    )

[<Test>]
let ``a scan hands its carry on, reads slices, stacks results, and runs both ways`` () =
    let body reversed =
        let carry, slice = Node.placeholder "carry" [ b ] Float, Node.placeholder "slice" [ b ] Float
        let gain = floats "g" []
        let next = Node.add (Node.mul carry gain) slice
        Node.scan a reversed [ carry, floats "c" [ b ] ] [ slice, x ] [ next ] [ Node.add next slice ]

    let values = [ "x", xs; "c", [ 1.0; 1.0; 1.0 ]; "g", [ 2.0 ] ]
    let ends reversed = evaluate values (Node.item 0 (body reversed))
    close 0.0 [ 10.0; 13.0; 16.0 ] (ends false)
    close 0.0 [ 13.0; 16.0; 19.0 ] (ends true)
    close 0.0 [ 4.0; 6.0; 8.0; 14.0; 18.0; 22.0 ] (evaluate values (Node.item 1 (body false)))

[<Test>]
let ``dynamic axes have the size of the call`` () =
    let d = { Name = "Seq"; Size = Dynamic "sequence" }
    let x = Node.add (Node.input "past" [] Integer) (Node.iota d)
    close 0.0 [ 5.0; 6.0; 7.0; 8.0 ] (evaluateWith [ "sequence", 4L ] [ "past", [ 5.0 ] ] [ x ]).Head

[<Test>]
let ``a binding of the wrong length is refused`` () =
    Assert.That(
        message (fun () -> evaluate [ "x", [ 1.0 ] ] x |> ignore),
        Is.EqualTo "1 elements were given for [A:2, B:3]"
    )
