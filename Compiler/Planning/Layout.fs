/// Gives every buffer an address.
///
/// Takes buffers and steps; gives lifetimes over the flattened order of steps and offsets in one arena, such that no two
/// buffers that are alive at once overlap, except a kernel's output over an input that it reads for the last time,
/// element by element: an update in place, proven by last use. What is small may have memory to itself throughout.
module Legato.Compiler.Layout

open System.Collections.Generic
open Legato.Dsl
open Legato.Runtime
open Legato.Runtime.Plans
open Legato.Compiler.Place

let private alignment = 64L

let private viewsOf (step: Step) : BufferView seq =
    match step with
    | :? Step.Fused as s -> s.Operands :> seq<_>
    | :? Step.MatrixProduct as s -> Seq.append [ s.Left.View; s.Right.View; s.Output.View ] s.EpilogueOperands
    | :? Step.Attention as s ->
        seq {
            yield! [ s.Query.View; s.Key.View; s.Value.View; s.Output.View ]
            yield! [ s.LogSumExp; s.Past ] |> List.filter (isNull >> not)
            yield! s.Extra
        }
    | :? Step.AttentionGradient as s ->
        seq {
            yield! [ s.Query.View; s.Key.View; s.Value.View; s.Output.View; s.LogSumExp; s.OutputGradient.View ]
            yield! [ s.QueryGradient.View; s.KeyGradient.View; s.ValueGradient.View; s.RowDot ]
            yield! s.Extra
        }
    | :? Step.TopK as s -> [ s.Input; s.Values; s.Indices ]
    | :? Step.Dispatch as s -> [ s.Index; s.Rows.Offsets; s.Rows.Order ]
    | :? Step.GroupedProduct as s ->
        Seq.append [ s.Rows.Offsets; s.Rows.Order; s.Left.View; s.Right.View; s.Output.View ] s.EpilogueOperands
    | :? Step.GroupedGradient as s -> [ s.Rows.Offsets; s.Rows.Order; s.Left.View; s.Right.View; s.Output.View ]
    | _ -> []

type private Use = { At: int; Loops: (int * int) list; Buffer: int }

/// Every use of a buffer, with the ranges of the loops around it, and the number of steps.
let private uses (steps: Step seq) : Use list * (int * Step.Fused) list * int =
    let found = List<Use>()
    let kernels = List<int * Step.Fused>()

    let rec length (step: Step) =
        match step with
        | :? Step.Loop as l -> 1 + (l.Body |> Seq.sumBy length)
        | _ -> 1

    let rec walk at loops (steps: Step seq) =
        (at, steps)
        ||> Seq.fold (fun at step ->
            match step with
            | :? Step.Loop as l ->
                let range = at, at + length step - 1
                walk (at + 1) (range :: loops) l.Body
            | _ ->
                for view in viewsOf step do
                    found.Add { At = at; Loops = loops; Buffer = view.Buffer }

                match step with
                | :? Step.Fused as k -> kernels.Add((at, k))
                | _ -> ()

                at + 1)

    let count = walk 0 [] steps
    List.ofSeq found, List.ofSeq kernels, count

/// First and last step of a buffer's life: a loop that doesn't hold all of its uses holds it throughout.
let private lifetime (uses: Use list) =
    let first, last = (uses |> List.minBy (fun u -> u.At)).At, (uses |> List.maxBy (fun u -> u.At)).At

    ((first, last), uses)
    ||> List.fold (fun range u ->
        (range, u.Loops)
        ||> List.fold (fun (a, b) (from, upto) ->
            let outside = first < from || last > upto
            if outside then min a from, max b upto else a, b))

/// Bytes of the largest memory that x64 and arm64 address, by 52 bits.
let private addresses = 1L <<< 52

let private bytesOf (maximum: Extent -> int64) (d: Draft) =
    let bytes = maximum (elements d.Dims * Extent.Of(int64 (d.Type.Size())))

    if bytes > addresses then
        let what = $"the buffer {d.Name} would take {bytes} bytes; a machine addresses up to {addresses}"
        raise (LegatoException(what, "the plan's sizes", "choose smaller sizes"))

    bytes

/// Buffers with addresses and lifetimes, and the arena's size in bytes. Dynamic dimensions count at their maxima. Buffers of
/// at most `apart` bytes lie over no other: steps that share no memory may run side by side.
let assign (apart: int64) (maximum: Extent -> int64) (drafts: Draft list) (steps: Step list) : PlanBuffer list * int64 =
    let all, kernels, count = uses steps
    let byBuffer = all |> List.groupBy (fun u -> u.Buffer) |> Map.ofList

    let isPersistent (d: Draft) =
        match d.Class with
        | BufferClass.Parameter
        | BufferClass.Optimizer
        | BufferClass.Cache
        | BufferClass.Constant -> true
        | _ -> false

    let life (d: Draft) =
        match d.Class, Map.tryFind d.Id byBuffer with
        | (BufferClass.Input | BufferClass.Output), _ -> 0, count
        | _, Some uses -> lifetime uses
        | _, None -> 0, 0

    let bytes = drafts |> List.map (fun d -> d.Id, bytesOf maximum d) |> dict
    let bytes (d: Draft) = bytes[d.Id]
    let isUsed (d: Draft) = byBuffer.ContainsKey d.Id || d.Class = BufferClass.Input || d.Class = BufferClass.Output
    let arena = drafts |> List.filter (fun d -> not (isPersistent d) && isUsed d)
    let byId = arena |> List.map (fun d -> d.Id, d) |> dict
    let lives = Dictionary<int, int * int>()

    for d in arena do
        lives[d.Id] <- life d

    // An output over an input of the same kernel: the input's last use, the output's first, element by element.
    let over = Dictionary<int, int>()
    let taken = HashSet<int>()

    for at, step in kernels do
        let operands = List.ofSeq step.Operands
        let access i = step.Kernel.Operands[i].Access

        let indicesOf i =
            let found = HashSet<Index>()

            Collapse.visit
                (fun o _ index ->
                    if o = i then
                        found.Add index |> ignore)
                ignore
                step.Kernel.Body

            found

        for i, out in List.indexed operands do
            if
                access i = Access.Write
                && byId.ContainsKey out.Buffer
                && not (over.ContainsKey out.Buffer)
                && byId[out.Buffer].Class <> BufferClass.Output
            then
                let isFirstUse = fst lives[out.Buffer] = at

                let candidate =
                    operands
                    |> List.indexed
                    |> List.tryFind (fun (j, input) ->
                        access j = Access.Read
                        && byId.ContainsKey input.Buffer
                        && input.Buffer <> out.Buffer
                        && not (taken.Contains input.Buffer)
                        && byId[input.Buffer].Class <> BufferClass.Input
                        && isFirstUse
                        && snd lives[input.Buffer] = at
                        && byId[input.Buffer].Type = byId[out.Buffer].Type
                        && bytes byId[input.Buffer] = bytes byId[out.Buffer]
                        && (operands |> List.filter (fun v -> v.Buffer = input.Buffer || v.Buffer = out.Buffer)).Length =
                            2
                        && input.Offset.Equals out.Offset
                        && input.Loops.Count = 0
                        && out.Loops.Count = 0
                        && (let reads, writes = indicesOf j, indicesOf i in reads.Count = 1 && writes.SetEquals reads)
                        && Collapse.readsBefore step.Kernel j i)

                match candidate with
                | Some(_, input) ->
                    over[out.Buffer] <- input.Buffer
                    taken.Add input.Buffer |> ignore
                | None -> ()

    // Buffers that share one address, as one life.
    let rec owner id =
        match over.TryGetValue id with
        | true, other -> owner other
        | _ -> id

    let blocks =
        arena
        |> List.groupBy (fun d -> owner d.Id)
        |> List.map (fun (id, group) ->
            let from = group |> List.map (fun d -> fst lives[d.Id]) |> List.min
            let upto = group |> List.map (fun d -> snd lives[d.Id]) |> List.max
            let size = group |> List.map bytes |> List.max
            id, (if size <= apart then 0, count else from, upto), size)

    // Largest first, each at the lowest address that is free for its whole life.
    let offsets = Dictionary<int, int64>()
    let laid = List<(int * int) * int64 * int64>()

    for id, (from, upto), size in blocks |> List.sortBy (fun (id, (from, _), size) -> -size, from, id) do
        let size = (size + alignment - 1L) / alignment * alignment

        let conflicts =
            laid
            |> Seq.filter (fun ((f, u), _, _) -> f <= upto && from <= u)
            |> Seq.map (fun (_, o, s) -> o, s)
            |> Seq.sort
            |> List.ofSeq

        let candidates = 0L :: (conflicts |> List.map (fun (o, s) -> o + s)) |> List.sort
        let fits at = conflicts |> List.forall (fun (o, s) -> at + size <= o || o + s <= at)
        let offset = candidates |> List.find fits
        offsets[id] <- offset
        laid.Add(((from, upto), offset, size))

    let total = (0L, laid) ||> Seq.fold (fun top (_, o, s) -> max top (o + s))

    let buffers =
        drafts
        |> List.map (fun d ->
            let axes = [| for dim in d.Dims -> PlanAxis(dim.Name, extent dim.Size) |]

            let from, upto =
                match lives.TryGetValue d.Id with
                | true, l -> l
                | _ -> 0, count

            let offset = if isPersistent d || not (isUsed d) then -1L else offsets[owner d.Id]
            PlanBuffer(d.Id, d.Name, d.Class, d.Type, axes, offset, from, upto))

    buffers, total
