/// Where a region's results are written: at once where they are wanted, over what they replace where that is safe, else by
/// copies at the end.
module Legato.Compiler.Results

open System.Collections.Generic
open Legato.Dsl
open Legato.Compiler.Place
open Legato.Compiler.Region
open Legato.Compiler.Flow

let private isScan (node: Node) =
    match node.Op with
    | Op.Scan _ -> true
    | _ -> false

let isAppend (node: Node) =
    match node.Op with
    | Op.Append _ -> true
    | _ -> false

type Results(region: Region, flow: Flow, results: Result list) =
    // Results written over what their own unit reads, if that proves to be safe.
    let overwriting = Dictionary<int, Result list>()
    // Results that are copied to their places at the end.
    let late = List<Result>()

    // What stays in place is moved from there at the end, unless it stays where it is.
    let isMovedAtTheEnd (resident: Node) = results |> List.exists (fun r -> r.Resident.IsSome && r.Node = resident)

    let overwrittenBy unit =
        match overwriting.TryGetValue unit with
        | true, results -> results
        | _ -> []

    let place (r: Result) =
        match flow.Made r.Node with
        // A placed value that is wanted elsewhere too is copied before anything overwrites it.
        | None when Units.isPlaced r.Node && r.Resident.IsNone -> copyTo region "keep" r.Node r.Target
        | None -> late.Add r
        | Some _ when region.Has r.Node || isAppend r.Node || isScan (maker r.Node) -> late.Add r
        // Views of it rely on the order of its axes.
        | Some _ when not (isPacked r.Target r.Node.Dims) -> late.Add r
        | Some unit ->
            let lastRead =
                match r.Resident with
                | Some resident when isMovedAtTheEnd resident -> System.Int32.MaxValue
                | Some resident -> flow.LastRead resident
                | None -> -1

            if lastRead > unit then
                late.Add r
            else
                region.Assign(r.Node, r.Target)

                if lastRead = unit then
                    overwriting[unit] <- r :: overwrittenBy unit

    /// The results that a unit writes over what it reads itself.
    member _.Overwriting(unit: int) = overwrittenBy unit

    /// Decides where each is written, before the region's units are lowered.
    member _.Place() = List.iter place results

    /// Takes one back that isn't safe where it is: it goes there by a copy.
    member _.Retreat(r: Result) =
        region.Assign(r.Node, region.Temporary r.Node)
        late.Add r

    /// Values that are wanted elsewhere than where they are: all read before any is overwritten.
    member _.MoveLate() =
        let moves =
            late
            |> Seq.filter (fun r -> not (region.Has r.Node && region.PlaceOf(r.Node).View = r.Target.View))
            |> List.ofSeq

        let isOverwritten (r: Result) = moves |> List.exists (fun other -> other.Resident = Some r.Node && other <> r)

        let staged =
            moves
            |> List.map (fun r ->
                if isOverwritten r then
                    let stand = Node.placeholder "staged" r.Node.Dims r.Node.Type
                    let place = region.Temporary r.Node
                    copyTo region "copy" r.Node place
                    region.Assign(stand, place)
                    { r with Node = stand }
                else
                    r)

        for r in staged do
            copyTo region "copy" r.Node r.Target
