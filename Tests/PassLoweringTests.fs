/// What is fused, laid out and executed means what the graph means: fused = unfused, on the interpreter and the processor.
module Legato.Tests.PassLoweringTests

open FsCheck
open FsCheck.FSharp
open Legato.Compiler
open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Tests.GraphValues
open Legato.Tests.PassExecution
open Legato.Tests.PassModels
open NUnit.Framework

let private a, b, c, s = dim "A" 3, dim "B" 4, dim "C" 5, dim "S" 6
let private x, y = floats "x" [ a; b ], floats "y" [ b; c ]

// A fixed seed: where values tie up to rounding, a choice between them may fall otherwise once in thousands of graphs.
let private config = Config.QuickThrowOnFailure.WithMaxTest(100).WithReplay(61803398UL, 27182819UL)

[<Test>]
let ``random graphs, with inputs among the results`` () =
    let property steps =
        let pool = PassGraphs.build steps
        lowers (List.truncate 3 pool @ [ pool[pool.Length / 2]; List.last pool ])
        true

    Check.One(config, Prop.forAll PassGraphs.programs property)

[<Test>]
let ``gradients of random graphs`` () =
    // A maximum's gradient goes to the elements that equal it; computed again they may round otherwise.
    let withoutMaxima = List.map (fun (kind, i, j) -> (if kind = 6 then 5 else kind), i, j)

    let property steps =
        let pool = PassGraphs.build (withoutMaxima steps)
        let loss = GradientChecks.lossOf (List.truncate 2 pool)

        let variables =
            Node.topological [ loss ]
            |> List.filter (fun n ->
                match n.Op with
                | Op.Input(name, _, Float) -> not (name.StartsWith "weights")
                | _ -> false)

        let gradients = Differentiate.gradient Rematerialisation.Block loss variables
        let roots = Simplify.graph (gradients.Loss :: gradients.Of)
        lowers roots
        true

    Check.One(config.WithMaxTest 40, Prop.forAll PassGraphs.programs property)

[<Test>]
let ``every kind of node`` () =
    let outputs = GraphSamples.everyKind () |> List.filter (fun (name, _) -> name <> "keys")
    agrees processor.Value [ "index", [ 3.0; 0.0; 3.0 ] ] (callOf outputs [])

[<Test>]
let ``loops in loops`` () = agrees processor.Value [] (callOf (GraphSamples.nestedLoops ()) [])

[<Test>]
let ``reductions of rows, of columns and of everything, from one value`` () =
    lowers [
        Node.reduce Sum [ "A" ] (curved x)
        Node.reduce Sum [ "B" ] (curved x)
        Node.reduce Sum [ "A"; "B" ] (curved x)
        Node.reduce Maximum [ "A" ] x
        Node.reduce Maximum [ "A"; "B" ] (square x)
    ]

[<Test>]
let ``reductions over axes that lie apart`` () =
    let z = floats "z" [ a; b; c ]

    lowers [
        Node.reduce Sum [ "A"; "C" ] z
        Node.reduce Maximum [ "A"; "C" ] (curved z)
        Node.reduce Sum [ "B" ] z
    ]

[<Test>]
let ``a maximum of negative numbers over columns`` () =
    let below = Node.map1 (fun v -> v - Num 5.0) x
    lowers [ Node.reduce Maximum [ "A" ] below; Node.reduce Maximum [ "A"; "B" ] below ]

[<Test>]
let ``products in awkward orders`` () =
    let z = floats "z" [ c; a; b ]

    lowers [
        Node.contract [ "B" ] x y
        Node.contract [ "A"; "B" ] x (floats "w" [ b; c; a ])
        Node.contract [ "B" ] z y
        Node.contract [ "A" ] (floats "v" [ a; s; b ]) (floats "u" [ c; b; a ])
        Node.contract [] x y
        Node.contract [ "B" ] x x
        Node.contract [ "A"; "B" ] x x
    ]

[<Test>]
let ``products of computed and of sliced operands, with epilogues`` () =
    let product = Node.contract [ "B" ] (curved x) (Node.slice "C" 1L 3L y)
    let bias = floats "bias" [ dim "C" 3 ]
    let gain = Node.reduce Sum [ "B" ] x

    lowers [
        Node.map (Un(Tanh, Arg 0 + Arg 1) * Arg 2) [ product; bias; gain ]
        Node.add (Node.contract [ "B" ] x y) (Node.contract [ "S" ] (floats "p" [ a; s ]) (floats "q" [ c; s ]))
    ]

[<Test>]
let ``a product with an epilogue, of an operand whose sum lies between its columns`` () =
    let k = floats "k" [ b; a; c ]
    let product = Node.contract [ "A" ] (floats "z" [ a ]) k
    let other = Node.contract [ "A" ] k (floats "z2" [ a; s ])
    lowers [ curved product; curved other ]

[<Test>]
let ``gathers and scattered sums`` () =
    let index = integers "index" [ s ]
    let rows = floats "rows" [ s; b ]
    let zeros = Node.broadcast [ a; b ] (Node.number 0.0)

    lowersWith [ "index", [ 2.0; 0.0; 2.0; 1.0; 0.0; 2.0 ] ] [
        Node.gather "A" (curved x) index
        Node.make (Op.ScatterAdd "A") [ zeros; index; rows ]
        Node.make (Op.ScatterAdd "A") [ curved x; index; square rows ]
        Node.add x (Node.make (Op.ScatterAdd "A") [ x; index; rows ])
        curved x
    ]

[<Test>]
let ``slices, pads, splits and merges`` () =
    let halves = Node.split "B" (dim "H" 2) (dim "D" 2) x

    lowers [
        Node.pad "B" 2L 9L (Node.slice "B" 1L 2L (curved x))
        Node.merge "D" "H" "B'" halves
        Node.contract [ "D" ] halves (Node.slice "D" 0L 2L (floats "w" [ c; dim "D" 2 ]))
        Node.reduce Sum [ "D" ] halves
        Node.merge "A" "H" "M" halves |> square
        Node.contract [ "M" ] (Node.merge "A" "B" "M" x) (floats "v" [ c; dim "M" 12 ])
    ]

[<Test>]
let ``a merge of what is only a part of memory`` () =
    let wide = floats "wide" [ a; b; c ]
    let part = Node.slice "B" 1L 2L wide

    lowers [
        Node.merge "A" "B" "M" part
        Node.contract [ "M" ] (Node.merge "B" "C" "M" part) (floats "v" [ s; dim "M" 10 ])
    ]

[<Test>]
let ``the largest, along any axis`` () =
    let top axis = Node.make (Op.TopK(axis, dim "Rank" 2)) [ curved x ]

    lowers [
        for axis in [ "A"; "B" ] do
            for i in 0..1 -> Node.item i (top axis)
    ]

let private parameter name dims = Node.make (Op.Param({ Path = name; Initializer = Zeros; Decays = false }, dims)) []

[<Test>]
let ``updates in place, of what others still read`` () =
    let p, q, r = parameter "p" [ a; b ], parameter "q" [ a; b ], parameter "r" [ b; c ]
    let norm = Node.reduce Sum [ "A"; "B" ] (square p)
    let gradient = Node.contract [ "A" ] p (Node.contract [ "B" ] q r)

    let updates = [
        p, Node.map2 (fun v n -> v * n) q norm
        q, Node.add p x
        r, Node.map2 (fun v g -> v - Num 0.1 * g) r gradient
    ]

    agrees processor.Value [] (callOf [ "norm", norm; "sum", Node.reduce Sum [ "A" ] (Node.mul p q); "old", p ] updates)

[<Test>]
let ``parameters that change places, turn or take a reversed value`` () =
    let p, q = parameter "p" [ a; b ], parameter "q" [ a; b ]
    let k = parameter "k" [ a; dim "A'" 3 ]
    let turned = Node.rename [ "A", "A'"; "A'", "A" ] k
    agrees processor.Value [] (callOf [ "sum", Node.add p q ] [ p, q; q, p ])
    agrees processor.Value [] (callOf [] [ k, Node.broadcast k.Dims turned ])

[<Test>]
let ``a parameter's new value, in another order of axes and read flat`` () =
    let p = parameter "p" [ a; b ]
    let value = Node.broadcast [ b; a ] (curved (Node.add p x))
    let flat = Node.merge "B" "A" "M" value
    let product = Node.contract [ "M" ] flat (floats "v" [ c; dim "M" 12 ])
    agrees processor.Value [] (callOf [ "product", product; "flat", curved flat ] [ p, value ])

[<Test>]
let ``results that are inputs, and one value under two names`` () =
    let value = curved x

    agrees
        processor.Value
        []
        (callOf [ "in", x; "again", x; "one", value; "two", value; "view", Node.rename [ "A", "Z" ] value ] [])

[<Test>]
let ``constants as results`` () =
    lowers [
        Node.number 2.5
        Node.broadcast [ a; b ] (Node.number 1.0)
        Node.map1 (fun i -> Un(ToFloat, i)) (Node.iota b)
    ]

let private attention heads keyHeads =
    let batch = dim "Batch" 2
    let keys = if heads = keyHeads then "Heads" else "KvHeads"
    let q = floats "q" [ batch; dim "Seq" 5; dim "Heads" heads; dim "D" 4 ]
    let k = floats "k" [ batch; dim "Context" 5; dim keys keyHeads; dim "D" 4 ]
    let v = floats "v" [ batch; dim "Context" 5; dim keys keyHeads; dim "V" 3 ]

    let form = {
        Sequence = "Seq"
        Context = "Context"
        Heads = "Heads"
        KeyHeads = keys
        Feature = "D"
        ValueFeature = "V"
        Scale = 0.5
        Mask = causal.Mask
        Score = None
        Sinks = false
    }

    Node.composite (Attend form) [ q; k; v ]

[<TestCase(4, 2)>]
[<TestCase(2, 2)>]
[<TestCase(4, 1)>]
let ``attention and its gradient`` (heads: int) (keyHeads: int) =
    let node = attention heads keyHeads
    let loss = GradientChecks.lossOf [ curved (Node.item 0 node) ]
    let gradients = Differentiate.gradient Rematerialisation.None loss node.Inputs
    lowers (Node.item 0 node :: Node.item 1 node :: gradients.Loss :: gradients.Of)

[<TestCase(false, 4)>]
[<TestCase(true, 4)>]
[<TestCase(false, 2)>]
[<TestCase(true, 6)>]
let ``rotary turns and their gradient`` (interleaved: bool) (rotary: int) =
    let angle = Node.map (Num 0.4 * Un(ToFloat, Arg 0)) [ Node.iota (dim "Seq" 3) ]
    let rate = Node.map (Un(ToFloat, Arg 0) + Num 1.0) [ Node.iota (dim "Pair" (rotary / 2)) ]
    let turn f = Node.map (Un(f, Arg 0 * Arg 1)) [ angle; rate ]
    let form: RopeForm = { Feature = "D"; Rotary = int64 rotary; Interleaved = interleaved; Inverse = false }
    let q = floats "q" [ dim "Seq" 3; dim "Heads" 2; dim "D" 6 ]
    let node = Node.composite (Rope form) [ q; turn Cos; turn Sin ]

    let gradients =
        Differentiate.gradient Rematerialisation.None (GradientChecks.lossOf [ curved node ]) [ q ]

    lowers (node :: gradients.Of)

[<Test>]
let ``a decoder with experts, and its gradient`` () =
    let request = PlanRequest(Purpose.Train, 2L, 4L, 4L)
    let call = Specialise.call (GraphSamples.model (GraphSamples.decoder GraphSamples.sizes)) request

    let given = [
        "tokens", [ 1.0; 7.0; 3.0; 10.0; 4.0; 0.0; 0.0; 2.0 ]
        "labels", [ 7.0; 3.0; 10.0; 1.0; 0.0; 0.0; 2.0; 5.0 ]
    ]

    // A second moment is never negative.
    let moments = [
        for target, _ in call.Updates do
            match target.Op with
            | Op.State(name, _) when name.StartsWith "optimizer.v" ->
                name, random name.Length (elements target) |> List.map (fun v -> float (float32 (v * v + 0.1)))
            | _ -> ()
    ]

    let rates = [ "rate", [ 0.125 ]; "correction1", [ 0.5 ]; "correction2", [ 0.25 ] ]
    agrees processor.Value (given @ moments @ rates) call
