/// Walks a plan's steps as they run and proves that every read finds what was written there.
module Legato.Tests.PassPlanWalk

open System.Collections.Generic
open Legato.Compiler
open Legato.Runtime.Plans

/// What a step does with a buffer.
type Touch =
    | Reads
    | Writes

/// Whether a kernel's operand is read before this kernel has written it.
let private readsWhatWasThere (kernel: Kernel) operand =
    let mutable first: bool option = None

    Collapse.visit
        (fun o isStore _ ->
            if o = operand && first.IsNone then
                first <- Some isStore)
        ignore
        kernel.Body

    first = Some false

let private ofKernel (kernel: Kernel) (views: BufferView seq) (operands: int seq) = [
    for i, view in Seq.zip operands views do
        if kernel.Operands[i].Access <> Access.Write && readsWhatWasThere kernel i then
            Reads, view

        if kernel.Operands[i].Access <> Access.Read then
            Writes, view
]

let private given (views: BufferView seq) = views |> Seq.filter (isNull >> not) |> List.ofSeq
let private reads views = given views |> List.map (fun view -> Reads, view)
let private writes views = given views |> List.map (fun view -> Writes, view)

/// What a step that is no loop reads and writes.
let touches (step: Step) : (Touch * BufferView) list =
    match step with
    | :? Step.Fused as s -> ofKernel s.Kernel s.Operands (Seq.initInfinite id)
    | :? Step.MatrixProduct as s ->
        reads [ s.Left.View; s.Right.View ]
        @ (if isNull s.Epilogue then
               []
           else
               ofKernel s.Epilogue s.EpilogueOperands (Seq.initInfinite ((+) 1)))
        @ (if s.Accumulate then reads [ s.Output.View ] else [])
        @ writes [ s.Output.View ]
    | :? Step.Attention as s ->
        reads [ s.Query.View; s.Key.View; s.Value.View; s.Past ]
        @ reads s.Extra
        @ writes [ s.Output.View; s.LogSumExp ]
    | :? Step.AttentionGradient as s ->
        reads [ s.Query.View; s.Key.View; s.Value.View; s.Output.View; s.LogSumExp; s.OutputGradient.View ]
        @ reads s.Extra
        @ writes [ s.QueryGradient.View; s.KeyGradient.View; s.ValueGradient.View; s.RowDot ]
    | :? Step.TopK as s -> reads [ s.Input ] @ writes [ s.Values; s.Indices ]
    | :? Step.Dispatch as s -> reads [ s.Index ] @ writes [ s.Rows.Offsets; s.Rows.Order ]
    | :? Step.GroupedProduct as s ->
        reads [ s.Rows.Offsets; s.Rows.Order; s.Left.View; s.Right.View ]
        @ (if isNull s.Epilogue then
               []
           else
               ofKernel s.Epilogue s.EpilogueOperands (Seq.initInfinite ((+) 1)))
        @ writes [ s.Output.View ]
    | :? Step.GroupedGradient as s ->
        reads [ s.Rows.Offsets; s.Rows.Order; s.Left.View; s.Right.View ] @ writes [ s.Output.View ]
    | other -> failwith $"{other.Name} is no known step"

/// The steps in the order of a launch, with their numbers in the flattened order. Two rounds of a loop stand for all:
/// what a round leaves to the next is seen in the second.
let rec private executed (at: int) (steps: Step seq) : (int * Step) list =
    let folder (at, done') (step: Step) =
        match step with
        | :? Step.Loop as loop ->
            let inside = executed (at + 1) loop.Body
            let rounds = if loop.Count > 1L then inside @ inside else inside
            at + length step, done' @ rounds
        | _ -> at + 1, done' @ [ at, step ]

    steps |> Seq.fold folder (at, []) |> snd

and private length (step: Step) : int =
    match step with
    | :? Step.Loop as loop -> 1 + Seq.sumBy length loop.Body
    | _ -> 1

/// A kernel may write a buffer over another that it reads for the last time: the same bytes, at the same index, read first.
let private isInPlace (step: Step) (read: BufferView) (written: BufferView) =
    match step with
    | :? Step.Fused as s ->
        let operand view = Seq.findIndex ((=) view) s.Operands
        let i, j = operand read, operand written

        let indices operand =
            let found = HashSet<Index>()

            Collapse.visit
                (fun o _ index ->
                    if o = operand then
                        found.Add index |> ignore)
                ignore
                s.Kernel.Body

            found

        let isSame = read.Offset.Equals written.Offset && Seq.isEmpty read.Loops && Seq.isEmpty written.Loops
        let reads, stores = indices i, indices j
        isSame && reads.Count = 1 && reads.SetEquals stores && Collapse.readsBefore s.Kernel i j
    | _ -> false

/// The first thing that is wrong with a plan's memory, if anything is.
let mistake (plan: Plan) : string option =
    let buffers = plan.Buffers |> Seq.map (fun b -> b.Id, b) |> dict
    let bytes (b: PlanBuffer) = plan.Maximum b.Bytes
    let inArena (b: PlanBuffer) = not b.IsPersistent && b.Offset >= 0L
    let owner: int array = Array.create (int (plan.ArenaBytes / 2L) + 1) -1

    let range (b: PlanBuffer) = int (b.Offset / 2L), int ((b.Offset + bytes b) / 2L) - 1

    let owns (b: PlanBuffer) =
        let from, upto = range b
        let mutable ok = true

        for i in from..upto do
            ok <- ok && owner[i] = b.Id

        ok

    let take (b: PlanBuffer) =
        let from, upto = range b
        Array.fill owner from (upto - from + 1) b.Id

    let overlap (a: PlanBuffer) (b: PlanBuffer) = a.Offset < b.Offset + bytes b && b.Offset < a.Offset + bytes a

    let check (at, step: Step) =
        let touched = touches step |> List.map (fun (touch, view) -> touch, view, buffers[view.Buffer])

        let local = touched |> List.filter (fun (_, _, b) -> inArena b)
        let named (b: PlanBuffer) = $"step {at}, {step.Name}: buffer {b.Id}, {b.Name},"

        let unwritten =
            local
            |> List.tryPick (fun (touch, _, b) ->
                if touch = Reads && not (owns b) then
                    Some $"{named b} is read, but holds something else"
                else
                    None)

        let outlived =
            local
            |> List.tryPick (fun (_, _, b) ->
                if at < b.FirstStep || at > b.LastStep then
                    Some $"{named b} lives from {b.FirstStep} to {b.LastStep}"
                else
                    None)

        let clashing =
            List.allPairs local local
            |> List.tryPick (fun ((t, v, a), (u, w, b)) ->
                if a.Id <> b.Id && u = Writes && overlap a b && not (t = Reads && isInPlace step v w) then
                    Some $"{named b} overwrites buffer {a.Id}, {a.Name}, in the same step"
                else
                    None)

        for touch, _, b in local do
            if touch = Writes then
                take b

        [ unwritten; outlived; clashing ] |> List.tryPick id

    let outside =
        plan.Buffers
        |> Seq.tryPick (fun b ->
            if not b.IsPersistent && (b.Offset < 0L || b.Offset + bytes b > plan.ArenaBytes) then
                Some $"buffer {b.Id}, {b.Name}, lies outside of the arena"
            else
                None)

    let ofClass kind = plan.Buffers |> Seq.filter (fun b -> b.Class = kind)

    match outside with
    | Some _ -> outside
    | None ->
        Seq.iter take (ofClass BufferClass.Input)
        let steps = executed 0 plan.Steps

        steps
        |> List.tryPick check
        |> Option.orElse (
            Seq.append (ofClass BufferClass.Input) (ofClass BufferClass.Output)
            |> Seq.tryPick (fun b -> if owns b then None else Some $"{b.Name} doesn't last to the end")
        )

/// The first view that reaches outside of its buffer at the dimensions' maxima, if one does.
let strayingView (plan: Plan) : string option =
    let buffers = plan.Buffers |> Seq.map (fun b -> b.Id, b) |> dict
    let max (e: Extent) = plan.Maximum e

    let rec visit (loops: Map<string, int64>) (steps: Step seq) : string option =
        steps
        |> Seq.tryPick (fun step ->
            match step with
            | :? Step.Loop as loop -> visit (loops.Add(loop.Variable, loop.Count)) loop.Body
            | _ -> stray loops step)

    and stray loops (step: Step) =
        let reaches (view: BufferView) (extents: (Extent * Extent) list) =
            let fromLoops = view.Loops |> Seq.sumBy (fun l -> (loops[l.Variable] - 1L) * max l.Stride)
            let last = max view.Offset + fromLoops + List.sumBy (fun (n, s) -> (max n - 1L) * max s) extents
            let size = max buffers[view.Buffer].Elements

            if last < size then
                None
            else
                Some $"{step.Name}: element {last} of {buffers[view.Buffer].Name}, which has {size}"

        match step with
        | :? Step.MatrixProduct as s ->
            let batch pick = s.Batch |> Seq.map (fun b -> b.Count, pick b) |> List.ofSeq

            let matrix (m: Matrix) rows columns outer =
                reaches m.View ((rows, m.RowStride) :: (columns, m.ColumnStride) :: outer)

            [
                matrix s.Left s.M s.K (batch _.LeftStride)
                matrix s.Right s.K s.N (batch _.RightStride)
                matrix s.Output s.M s.N (batch _.OutputStride)
            ]
            |> List.tryPick id
        | :? Step.Attention as s ->
            let shape = s.Shape

            let heads (t: HeadTensor) positions count size =
                reaches t.View [
                    shape.Batch, t.BatchStride
                    positions, t.PositionStride
                    count, t.HeadStride
                    size, Extent.One
                ]

            [
                heads s.Query shape.QueryLength shape.Heads shape.HeadSize
                heads s.Key shape.KeyLength shape.KeyHeads shape.HeadSize
                heads s.Value shape.KeyLength shape.KeyHeads shape.ValueSize
                heads s.Output shape.QueryLength shape.Heads shape.ValueSize
            ]
            |> List.tryPick id
        | _ -> touches step |> List.tryPick (fun (_, view) -> reaches view [])

    visit Map.empty plan.Steps
