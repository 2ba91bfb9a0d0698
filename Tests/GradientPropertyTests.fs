/// Gradients of random graphs: any kind of node on top of any other.
module Legato.Tests.GradientPropertyTests

open FsCheck
open FsCheck.FSharp
open Legato.Dsl
open Legato.Tests.GraphValues
open NUnit.Framework

let private sizes = [ "A", 2; "B", 3; "C", 2 ]
let dimOf name = sizes |> List.find (fst >> (=) name) ||> dim

let variables = [
    floats "x" [ dimOf "A"; dimOf "B" ]
    floats "y" [ dimOf "C"; dimOf "B" ]
    floats "z" [ dimOf "A" ]
    floats "s" []
]

// Keeps values and higher derivatives small, so that differences are exact to many digits.
let bounded x = Node.map1 (fun v -> Un(Tanh, v)) x

let smooth n =
    let functions = [
        (fun v -> Un(Sin, v))
        (fun v -> Un(Exp, Un(Tanh, v)))
        (fun v -> Un(Rsqrt, Num 1.0 + v * v))
        (fun v -> Un(Erf, v))
        (fun v -> Un(Log, Num 1.0 + v * v))
        (fun v -> v / (Num 2.0 + Un(Cos, v)))
    ]

    Node.map1 functions[n % functions.Length]

let axisOf n (x: Node) = x.Axes[n % x.Axes.Length]

/// Indices along an axis, one for each of its coordinates, some of them the same.
let private indices n axis =
    let size = sizes |> List.find (fst >> (=) axis) |> snd |> int64
    Node.map (Bin(Rem, Arg 0 * Int 2L + Int(int64 n), Int size)) [ Node.iota (dimOf axis) ]

let private largest n (x: Node) =
    let axis = axisOf n x
    let top = Node.make (Op.TopK(axis, dim "Rank" 2)) [ x ]
    let weight = Node.map (Num 0.3 + Un(ToFloat, Arg 0)) [ Node.iota (dim "Rank" 2) ]
    Node.reduce Sum [ "Rank" ] (Node.mul (Node.item 0 top) weight)

let private without axis (x: Node) = if Node.hasAxis axis x then Node.reduce Sum [ axis ] x else x

/// A loop over one of x's axes: a carry from y, slices of x, a capture of z.
let private loop n (x: Node) (y: Node) (z: Node) =
    let axis = axisOf n x
    let start, captured = without axis y, without axis z
    let row = x.Dims |> List.filter (fun d -> d.Name <> axis)
    let dims = Infer.union "test" [ row; start.Dims; captured.Dims ]
    let carry, slice = Node.placeholder "carry" dims Float, Node.placeholder "slice" row Float
    let next = bounded (Node.map (Arg 0 * Arg 1 + Arg 2 * Num 0.7) [ carry; captured; slice ])

    let whole =
        Node.scan (dimOf axis) (n % 2 = 1) [ carry, Node.broadcast dims start ] [ slice, x ] [
            Node.broadcast dims next
        ] [ Node.mul next slice ]

    if n % 3 = 0 then
        Node.item 0 whole
    else
        Node.mul (Node.item 0 whole) (Node.item 1 whole)

/// One more node on top of those in the pool.
let grow (pool: Node list) (kind: int, i: int, j: int) =
    let x, y = pool[i % pool.Length], pool[j % pool.Length]

    match kind % 14 with
    | 0 -> smooth j x
    | 1 -> Node.add x y
    | 2 -> bounded (Node.mul x y)
    | 3 -> Node.map (Arg 0 / (Num 1.5 + Un(Tanh, Arg 1))) [ x; y ]
    | 4 -> Node.map (If(Bin(Less, Arg 0, Arg 1), Arg 0 * Arg 1, Bin(Max, Arg 1, Num -0.1))) [ x; y ]
    | _ when x.Axes.IsEmpty -> Node.add x y
    | 5 -> Node.reduce Sum [ axisOf j x ] x
    | 6 -> Node.reduce Maximum [ axisOf j x ] x
    | 7 -> bounded (Node.contract (x.Axes |> List.filter (fun a -> Node.hasAxis a y) |> List.truncate 1) x y)
    | 8 when x.Axes.Length > 1 ->
        let outer, inner = x.Dims[0], List.last x.Dims
        Node.merge outer.Name inner.Name "M" x |> smooth j |> Node.split "M" outer inner
    | 9 ->
        let axis = axisOf j x
        let size = Node.size axis x
        Node.slice axis (int64 j % 2L) (size - 1L) x |> smooth i |> Node.pad axis (int64 i % 2L) size
    | 10 -> Node.gather (axisOf j x) x (indices i (axisOf j x))
    | 11 ->
        let axis = axisOf j x
        let index = indices i axis
        let rows = Node.gather axis x index
        Node.make (Op.ScatterAdd axis) [ smooth i x; index; Node.mul rows rows ]
    | 12 -> largest j x
    | 13 -> loop j x y pool[(i + j) % pool.Length]
    | _ -> Node.broadcast (List.rev x.Dims) x |> smooth j

let build (steps: (int * int * int) list) = (variables, steps) ||> List.fold (fun pool step -> grow pool step :: pool)

let programs =
    Gen.listOfLength 7 (Gen.zip3 (Gen.choose (0, 13)) (Gen.choose (0, 30)) (Gen.choose (0, 30)))

// A fixed seed: at a kink of a maximum or a choice, differences would tell another slope once in thousands of graphs.
let private config = Config.QuickThrowOnFailure.WithMaxTest(120).WithReplay(20240607UL, 42571UL)

[<Test>]
let ``gradients of random graphs are their slopes`` () =
    let property steps =
        let pool = build steps
        GradientChecks.check [] (GradientChecks.lossOf (List.truncate 2 pool))
        true

    Check.One(config, Prop.forAll (Arb.fromGen programs) property)
