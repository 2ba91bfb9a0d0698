/// Random graphs for the passes: any kind of node on top of any other, in shapes that fusion and products find awkward.
module Legato.Tests.PassGraphs

open FsCheck.FSharp
open Legato.Dsl
open Legato.Tests.GraphValues
open Legato.Tests.GradientPropertyTests


let private softmax axis (x: Node) =
    let peak = Node.reduce Maximum [ axis ] x
    let e = Node.map2 (fun v m -> Un(Exp, v - Un(Detach, m))) x peak
    Node.map2 (fun v total -> v / total) e (Node.reduce Sum [ axis ] e)

let private normed axis (x: Node) =
    let share = Num(1.0 / float (Node.size axis x))
    let mean = Node.map1 (fun s -> s * share) (Node.reduce Sum [ axis ] x)
    let centred = Node.map2 (-) x mean
    let variance = Node.map1 (fun s -> s * share) (Node.reduce Sum [ axis ] (Node.mul centred centred))
    Node.map2 (fun v s -> v * Un(Rsqrt, s + Num 0.1)) centred variance

/// Batched, with one operand's axes in reverse: what strides can't express is copied.
let private batchedProduct n (x: Node) (y: Node) =
    let shared = x.Axes |> List.filter (fun a -> Node.hasAxis a y)
    let summed = if shared.IsEmpty then [] else [ shared[n % shared.Length] ]
    let turned = if n % 2 = 0 then Node.broadcast (List.rev y.Dims) y else y
    bounded (Node.contract summed (Node.map1 (fun v -> v * Num 0.5) x) turned)

/// Each row with each: a product of two renamed views of one value, behind an epilogue.
let private gram n (x: Node) =
    let axis = axisOf n x

    let other = Node.rename (x.Axes |> List.filter ((<>) axis) |> List.map (fun a -> a, a + "'")) x

    let product = Node.contract [ axis ] x other
    let fresh = product.Axes |> List.filter (fun a -> a.EndsWith '\'')
    Node.reduce Sum fresh (Node.map1 (fun v -> Un(Tanh, v + Num 0.5)) product)

let private mergedTheOtherWay n (x: Node) =
    let first, last = x.Dims[0], List.last x.Dims
    Node.merge last.Name first.Name "M" x |> smooth n |> Node.split "M" last first

/// Carries that change places, one that stays as it is, and stacked results: a carry, a slice, a capture, something new.
let private busyLoop n (x: Node) (y: Node) =
    let axis = axisOf n x
    let row = x.Dims |> List.filter (fun d -> d.Name <> axis)
    let without (v: Node) = if Node.hasAxis axis v then Node.reduce Sum [ axis ] v else v
    let dims = Infer.union "test" [ row; (without y).Dims ]
    let p, q, r = placeholder "p" dims, placeholder "q" dims, placeholder "r" dims
    let slice = placeholder "slice" row
    let start = Node.broadcast dims (bounded (without y))
    let mixed = bounded (Node.map (Arg 0 + Arg 1 * Arg 2) [ p; q; slice ])
    let capture = smooth n start

    let loop =
        Node.scan (dimOf axis) (n % 2 = 0) [ p, start; q, capture; r, start ] [ slice, x ] [ q; mixed; r ] [
            p
            slice
            capture
            Node.mul mixed slice
        ]

    [ 0..6 ]
    |> List.filter (fun i -> i % 2 = n % 2 || i = n % 7)
    |> List.map (fun i -> Node.item i loop)
    |> List.reduce Node.add

/// The largest by their places: the same values as top-k gives.
let private byPlaces n (x: Node) =
    let axis = axisOf n x
    let top = Node.make (Op.TopK(axis, dim "Rank" 2)) [ x ]
    let picked = Node.gather axis x (Node.item 1 top)
    Node.reduce Sum [ "Rank" ] (Node.map (Arg 0 + Num 0.5 * Arg 1) [ picked; Node.item 0 top ])

let private growMore (pool: Node list) (kind: int, i: int, j: int) =
    let x, y = pool[i % pool.Length], pool[j % pool.Length]

    match kind % 10 with
    | _ when x.Axes.IsEmpty -> smooth j x
    | 0 -> softmax (axisOf j x) x
    | 1 -> normed (axisOf j x) x
    | 2 -> batchedProduct j x y
    | 3 -> bounded (gram j x)
    | 4 when x.Axes.Length > 1 -> mergedTheOtherWay j x
    | 5 -> busyLoop j x y
    | 6 -> byPlaces j x
    | 7 -> Node.map2 (fun v total -> v * Un(Tanh, total)) x (Node.reduce Sum x.Axes x)
    | 8 -> Node.map2 (fun v total -> v * Un(Tanh, total)) x (Node.reduce Sum [ axisOf j x ] x)
    | _ -> Node.broadcast (List.rev x.Dims) x |> normed (axisOf (j + 1) x)

/// Values of a program of steps on the variables, the last first.
let build (steps: (int * int * int) list) =
    (variables, steps)
    ||> List.fold (fun pool (kind, i, j) ->
        (if kind < 14 then grow pool (kind, i, j) else growMore pool (kind - 14, i, j)) :: pool)

/// Programs of seven steps; one that fails is tried again without some of them.
let programs =
    let step = Gen.zip3 (Gen.choose (0, 23)) (Gen.choose (0, 30)) (Gen.choose (0, 30))

    let shorter (steps: (int * int * int) list) = Seq.init steps.Length (fun i -> List.removeAt i steps)

    Arb.fromGenShrink (Gen.listOfLength 7 step, shorter)
