/// Loops as steps: inside, carries and captures are where they are outside, stacked values one slice of it.
module Legato.Compiler.Loops

open System.Collections.Generic
open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Compiler.Place
open Legato.Compiler.Region
open Legato.Compiler.Flow

/// `carried` are the places of the carries, and whether each starts there already; `lowerBody` lowers a region, given what
/// lies where and what it is to leave behind, and tells what the steps are called that make its values.
let lower
    (region: Region)
    (node: Node)
    (scan: Scan)
    (carried: (Place * bool) list)
    (lowerBody: Dictionary<int, Place> -> Result list -> Step list * (Node -> string option))
    =
    let state = region.State
    let wholes, captured = node.Inputs |> List.skip scan.Carries.Length |> List.splitAt scan.Slices.Length
    let variable = state.EnterLoop scan.Dim

    List.zip node.Inputs[.. scan.Carries.Length - 1] carried
    |> List.iter (fun (start, (place, isThere)) ->
        if not isThere then
            copyTo region "start" start place)

    // Views inside rely on the order of axes: what lies otherwise in memory comes in through a copy.
    let packed (outer: Node) dims =
        let place = region.View outer
        if isPacked place dims then place else permuted region outer dims

    let stacked = List.map2 (fun (p: Node) outer -> packed outer (scan.Dim :: p.Dims)) scan.Slices wholes
    let shared = List.map2 (fun (p: Node) (outer: Node) -> packed outer p.Dims) scan.Captures captured
    List.iter2 (fun inner outer -> state.Relabel(inner, outer)) (scan.Slices @ scan.Captures) (wholes @ captured)

    /// What lies where in an iteration.
    let entered slice =
        let inside = Dictionary<int, Place>()
        List.iter2 (fun (p: Node) (place, _) -> inside[p.Id] <- place) scan.Carries carried
        List.iter2 (fun (p: Node) place -> inside[p.Id] <- slice place) scan.Slices stacked
        List.iter2 (fun (p: Node) place -> inside[p.Id] <- place) scan.Captures shared
        inside

    // An appended slice of a state stays in the state.
    let stateOf (r: Node) =
        if Results.isAppend r then
            List.tryFindIndex ((=) r.Inputs.Head) scan.Slices
        else
            None

    let stackPlace (r: Node) =
        match stateOf r with
        | Some i -> region.View wholes[i]
        | None -> state.Buffers.Add("stack", BufferClass.Activation, state.Storage r, scan.Dim :: r.Dims)

    let stacks = scan.StackResults |> List.map stackPlace
    scan.Results |> List.iteri (fun i inner -> state.RelabelResult(inner, Node.item i node))

    let carriedOn =
        List.zip3 scan.CarryResults scan.Carries carried
        |> List.map (fun (r, p, (place, _)) -> { Node = r; Target = place; Resident = Some p })

    let left slice =
        List.map2 (fun r place -> { Node = r; Target = slice place; Resident = None }) scan.StackResults stacks

    let count =
        match scan.Dim.Size with
        | Fixed n -> n
        | Dynamic _ -> invalidOp "a loop's length is fixed"

    let lasts =
        scan.LastResults
        |> List.map (fun r -> state.Buffers.Add("last", BufferClass.Activation, state.Storage r, r.Dims))

    // An iteration of whose carries nobody reads the results stands apart, after the loop.
    let times = if lasts.IsEmpty then count else count - 1L

    let nameStacks nameOf =
        for r, place in List.zip scan.StackResults stacks do
            if (stateOf r).IsNone then
                nameOf r |> Option.iter (fun name -> state.Buffers.Rename(place, name))

    if times > 0L then
        let slice = sliceOf scan.Dim variable
        let body, nameOf = lowerBody (entered slice) (carriedOn @ left slice)
        let cost = body |> List.fold (fun (sum: Cost) step -> sum + step.Cost) Cost.Zero
        let name = Emit.axisVariable scan.Dim.Name
        region.Steps.Add(Step.Loop(name, Extent.Of times * cost, variable, times, scan.Reversed, List.toArray body))
        nameStacks nameOf

    state.LeaveLoop()

    if not lasts.IsEmpty then
        let slice = sliceAt scan.Dim times

        let ends =
            List.map2 (fun r place -> { Node = r; Target = place; Resident = None }) scan.LastResults lasts

        let steps, nameOf = lowerBody (entered slice) (left slice @ ends)
        region.Steps.AddRange steps
        nameStacks nameOf

    List.map fst carried @ stacks @ lasts
    |> List.iteri (fun i place -> region.Assign(Node.item i node, place))
