/// Composites' decompositions against direct computations, element by element.
module Legato.Tests.GraphCompositeTests

open System
open Legato.Dsl
open Legato.Compiler
open Legato.Tests.GraphValues
open NUnit.Framework

[<NoComparison; NoEquality>]
type private Case = {
    Batch: int
    Sequence: int
    Context: int
    Heads: int
    KeyHeads: int
    Past: int list
    Mask: Scalar option
    Score: Scalar option
    /// What mask and score mean, spelled again.
    Sees: int -> int -> int -> int -> bool
    Modified: int -> int -> int -> int -> float -> float
}

let private feature, value, scale = 3, 2, 0.7

let private plain = {
    Batch = 2
    Sequence = 3
    Context = 5
    Heads = 4
    KeyHeads = 2
    Past = [ 0; 2 ]
    Mask = Some(Bin(LessOrEqual, Var "k", Var "q"))
    Score = None
    Sees = fun _ _ q k -> k <= q
    Modified = fun _ _ _ _ s -> s
}

let private attend case =
    let keyHeads = if case.Heads = case.KeyHeads then "Heads" else "KvHeads"
    let batch = dim "Batch" case.Batch
    let q = floats "q" [ batch; dim "Seq" case.Sequence; dim "Heads" case.Heads; dim "D" feature ]
    let k = floats "k" [ batch; dim "Context" case.Context; dim keyHeads case.KeyHeads; dim "D" feature ]
    let v = floats "v" [ batch; dim "Context" case.Context; dim keyHeads case.KeyHeads; dim "V" value ]

    let form = {
        Sequence = "Seq"
        Context = "Context"
        Heads = "Heads"
        KeyHeads = keyHeads
        Feature = "D"
        ValueFeature = "V"
        Scale = scale
        Mask = case.Mask
        Score = case.Score
        Sinks = false
    }

    Node.composite (Attend form) [ q; k; v; integers "past" [ batch ] ]

// softmax(scale · q kᵀ) v for one query at a time, with loops only.
let private naive case (q: float array) (k: float array) (v: float array) =
    let at (data: float array) sizes index = data[List.fold2 (fun n size i -> n * size + i) 0 sizes index]
    let share = case.Heads / case.KeyHeads

    let row b i h =
        let position = case.Past[b] + i

        let visible = [
            for c in 0 .. case.Context - 1 do
                if c < case.Past[b] + case.Sequence && case.Sees b h position c then
                    let dot =
                        List.sum [
                            for d in 0 .. feature - 1 do
                                at q [ case.Batch; case.Sequence; case.Heads; feature ] [ b; i; h; d ]
                                * at k [ case.Batch; case.Context; case.KeyHeads; feature ] [ b; c; h / share; d ]
                        ]

                    c, case.Modified b h position c (scale * dot)
        ]

        let total = visible |> List.sumBy (fun (_, s) -> exp s)

        [
            for e in 0 .. value - 1 do
                visible
                |> List.sumBy (fun (c, s) ->
                    exp s / total * at v [ case.Batch; case.Context; case.KeyHeads; value ] [ b; c; h / share; e ])
        ],
        log total

    let rows f = [
        for b in 0 .. case.Batch - 1 do
            yield! f b
    ]

    let s, h = [ 0 .. case.Sequence - 1 ], [ 0 .. case.Heads - 1 ]

    rows (fun b -> [
        for i in s do
            for j in h do
                yield! fst (row b i j)
    ]),
    rows (fun b -> [
        for j in h do
            for i in s do
                snd (row b i j)
    ])

let private agrees case =
    let node = attend case
    let valueOf (n: Node) = random n.Id (elements n)
    let q, k, v = valueOf node.Inputs[0], valueOf node.Inputs[1], valueOf node.Inputs[2]
    let values = [ "q", q; "k", k; "v", v; "past", List.map float case.Past ]
    let output, logSumExp = naive case (Array.ofList q) (Array.ofList k) (Array.ofList v)
    close 1e-12 output (evaluate values (Node.item 0 node))
    close 1e-12 logSumExp (evaluate values (Node.item 1 node))

[<Test>]
let ``attention is the softmax of visible scores times values`` () = agrees plain

[<Test>]
let ``attention with as many key heads as heads`` () = agrees { plain with KeyHeads = 4 }

[<Test>]
let ``attention with one key head`` () = agrees { plain with KeyHeads = 1 }

[<Test>]
let ``attention without a mask sees what has been written`` () =
    agrees { plain with Mask = None; Sees = fun _ _ _ _ -> true }

[<Test>]
let ``attention in a window with bias by head and a soft cap`` () =
    let mask = causal &&& window 2
    let score = alibi (axis<Heads> 4) + scoreCap 1.5

    agrees {
        plain with
            Mask = mask.Mask
            Score = score.Score
            Sees = fun _ _ q k -> k <= q && q - k < 2
            Modified = fun _ h q k s -> 1.5 * Math.Tanh((s + 2.0 ** (-8.0 * float (h + 1) / 4.0) * float (k - q)) / 1.5)
    }

[<Test>]
let ``masks know the row of the batch`` () =
    let mask = Bin(LessOrEqual, Var "k", Var "b")
    agrees { plain with Mask = Some mask; Sees = fun b _ _ k -> k <= b }

[<Test>]
let ``a query that sees nothing gives zeros`` () =
    let node = attend { plain with Mask = Some(Bin(Less, Var "k", Int 0L)) }

    let values =
        [ for n in List.take 3 node.Inputs -> nameOf n, random n.Id (elements n) ]
        @ [ "past", [ 0.0; 2.0 ] ]

    close 0.0 (List.replicate 48 0.0) (evaluate values (Node.item 0 node))
    close 0.0 (List.replicate 24 Double.NegativeInfinity) (evaluate values (Node.item 1 node))

let private turned interleaved rotary =
    let size, pairs = 6, rotary / 2
    let x = floats "x" [ dim "Seq" 2; dim "D" size ]
    let angles = floats "angle" [ dim "Seq" 2; dim "Pair" pairs ]
    let turn f = Node.map1 (fun a -> Un(f, a)) angles
    let form: RopeForm = { Feature = "D"; Rotary = int64 rotary; Interleaved = interleaved; Inverse = false }
    let node = Node.composite (Rope form) [ x; turn Cos; turn Sin ]
    let xs, phis = random 1 12, random 2 (2 * pairs)

    let expected = [
        for i in 0..1 do
            for d in 0 .. size - 1 do
                let pair, first, partner =
                    if interleaved then
                        d / 2, d % 2 = 0, d ^^^ 1
                    else
                        d % pairs, d < pairs, (d + pairs) % rotary

                if d >= rotary then
                    xs[i * size + d]
                else
                    let phi, here, there = phis[i * pairs + pair], xs[i * size + d], xs[i * size + partner]

                    if first then
                        here * cos phi - there * sin phi
                    else
                        here * cos phi + there * sin phi
    ]

    close 1e-14 expected (evaluate [ "x", xs; "angle", phis ] node)

[<TestCase(false, 6)>]
[<TestCase(true, 6)>]
[<TestCase(false, 4)>]
[<TestCase(true, 4)>]
let ``rope turns pairs and leaves the rest`` (interleaved: bool) (rotary: int) = turned interleaved rotary
