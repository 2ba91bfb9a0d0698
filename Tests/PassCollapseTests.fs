/// Kernels whose loops were joined compute what they did before.
module Legato.Tests.PassCollapseTests

open FsCheck
open FsCheck.FSharp
open Legato.Compiler
open Legato.Runtime.Plans
open Legato.Tests.GraphValues
open Legato.Tests.PassExecution
open NUnit.Framework

let private integer (n: int64) : Expr = Expr.Integer n
let private variable name : Expr = Expr.Variable name
let private apply operation (operands: Expr list) : Expr = Expr.Apply(operation, List.toArray operands)

let private index (terms: (Expr * int64) list) =
    Index [| for value, stride in terms -> IndexTerm(value, Extent.Of stride) |]

let private loop kind name size (body: Statement list) : Statement =
    Statement.Loop(kind, name, integer 0L, integer size, List.toArray body)

let private elementsOf = 4096
let private input = random 29 elementsOf |> List.map (float32 >> float)

/// What a kernel of one input and one output, both of 4096 elements, writes.
let private written (kernel: Kernel) =
    let axes = [| PlanAxis("N", Extent.Of(int64 elementsOf)) |]
    let buffer id name kind offset = PlanBuffer(id, name, kind, ScalarType.F32, axes, offset, 0, 1)
    let bytes = int64 elementsOf * 4L
    let buffers = [| buffer 0 "in" BufferClass.Input 0L; buffer 1 "out" BufferClass.Output bytes |]
    let step = Step.Fused("kernel", Cost.Zero, kernel, [| BufferView.Whole 0; BufferView.Whole 1 |])
    let plan = Plan("kernel", Purpose.Forward, "fp32", [||], buffers, [||], [||], [| step |], 2L * bytes)
    use device = interpreter ()
    use persistent = new Persistent(device)
    use running = new Running(device, plan, persistent)
    running.Write [ "in", input ]
    running.Run()
    running.Output "out"

let private kernelOf body =
    let operands = [|
        KernelOperand("in", ScalarType.F32, Access.Read)
        KernelOperand("out", ScalarType.F32, Access.Write)
    |]

    Kernel("kernel", operands, [||], List.toArray body)

let rec private loops (body: Statement seq) =
    body
    |> Seq.sumBy (fun s ->
        match s with
        | :? Statement.Loop as l -> 1 + loops l.Body
        | _ -> 0)

/// The loops of a kernel that are left, after a check that it means the same.
let private joined body =
    let before = kernelOf body
    let after = Collapse.kernel before
    Assert.That((written after = written before), $"{before}\n{after}")
    loops after.Body

let private copy from into : Statement =
    Statement.Store(1, into, apply Operation.Multiply [ Expr.Load(0, from); Expr.Number 3.0 ])

let private i, j = variable "i", variable "j"

[<Test>]
let ``loops that walk memory as one become one`` () =
    let at = index [ i, 8L; j, 1L ]
    let nest inner outer = [ loop outer "i" 5L [ loop inner "j" 8L [ copy at at ] ] ]
    Assert.That(joined (nest LoopKind.Vector LoopKind.Serial), Is.EqualTo 1)
    Assert.That(joined (nest LoopKind.Grid LoopKind.Grid), Is.EqualTo 1)
    Assert.That(joined (nest LoopKind.Serial LoopKind.Serial), Is.EqualTo 1)

[<Test>]
let ``a worker's loop and a vector's stay apart`` () =
    let at = index [ i, 8L; j, 1L ]
    Assert.That(joined [ loop LoopKind.Grid "i" 5L [ loop LoopKind.Vector "j" 8L [ copy at at ] ] ], Is.EqualTo 2)

[<Test>]
let ``loops over rows with gaps, a transposed operand or an index as a value stay apart`` () =
    let packed, gapped, turned = index [ i, 8L; j, 1L ], index [ i, 9L; j, 1L ], index [ j, 5L; i, 1L ]
    let nest body = joined [ loop LoopKind.Serial "i" 5L [ loop LoopKind.Vector "j" 8L [ body ] ] ]
    Assert.That(nest (copy gapped packed), Is.EqualTo 2)
    Assert.That(nest (copy packed turned), Is.EqualTo 2)
    Assert.That(nest (Statement.Store(1, packed, apply Operation.ToFloat [ i ])), Is.EqualTo 2)

[<Test>]
let ``loops that don't start at zero stay apart`` () =
    let at = index [ i, 8L; j, 1L ]
    let inner = Statement.Loop(LoopKind.Vector, "j", integer 2L, integer 8L, [| copy at at |]) :> Statement
    Assert.That(joined [ loop LoopKind.Serial "i" 5L [ inner ] ], Is.EqualTo 2)

[<Test>]
let ``a number taken apart and put together again is itself`` () =
    let quotient, remainder =
        apply Operation.Divide [ i; integer 8L ], apply Operation.Remainder [ i; integer 8L ]

    let rejoined = Collapse.rejoin (index [ quotient, 16L; remainder, 2L ])
    Assert.That(rejoined, Is.EqualTo(index [ i, 2L ]))
    let turned = index [ quotient, 1L; remainder, 5L ]
    Assert.That(Collapse.rejoin turned, Is.EqualTo turned)

    joined [ loop LoopKind.Vector "i" 40L [ copy (index [ quotient, 16L; remainder, 2L ]) turned ] ]
    |> ignore

/// Strides of axes that lie in memory in this order, with gaps behind each innermost element.
let private strides (sizes: int64 list) (order: int list) gap =
    ((Map.empty, 1L + gap), List.rev order)
    ||> List.fold (fun (found: Map<int, int64>, step) axis -> found.Add(axis, step), step * sizes[axis])
    |> fst

let private nests =
    gen {
        let! sizes = Gen.listOfLength 3 (Gen.choose (1, 6) |> Gen.map int64)
        let! from = Gen.shuffle [| 0; 1; 2 |]
        let! into = Gen.frequency [ 2, Gen.constant [| 0; 1; 2 |]; 1, Gen.shuffle [| 0; 1; 2 |] ]
        let! gap = Gen.elements [ 0L; 0L; 1L ]
        let! grids = Gen.choose (0, 2)
        let! missing = Gen.elements [ None; None; Some 0; Some 1; Some 2 ]
        return sizes, List.ofArray from, List.ofArray into, gap, grids, missing
    }

[<Test>]
let ``random nests mean the same`` () =
    let property (sizes: int64 list, from, into, gap, grids, missing) =
        let names = [ "i"; "j"; "k" ]

        let at order gap skipped =
            let steps = strides sizes order gap

            index [
                for axis, name in List.indexed names do
                    if Some axis <> skipped then
                        variable name, steps[axis]
            ]

        let kind axis =
            if axis < grids then LoopKind.Grid
            elif axis = 2 then LoopKind.Vector
            else LoopKind.Serial

        // What is read may lack an axis; what is written has all of them.
        let innermost = [ copy (at from gap missing) (at into 0L None) ]

        List.foldBack (fun axis body -> [ loop (kind axis) names[axis] sizes[axis] body ]) [ 0..2 ] innermost
        |> joined
        |> ignore

        true

    Check.One(Config.QuickThrowOnFailure.WithMaxTest(200), Prop.forAll (Arb.fromGen nests) property)
