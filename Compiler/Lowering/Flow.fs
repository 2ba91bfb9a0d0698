/// Who makes and who reads a region's values.
module Legato.Compiler.Flow

open System.Collections.Generic
open Legato.Dsl
open Legato.Compiler.Place

/// A value that a region leaves behind: where it should be, and which placed node lives there until then.
type Result = { Node: Node; Target: Place; Resident: Node option }

/// The node that computes a value: outputs of a node with several are its items.
let maker (node: Node) =
    match node.Op with
    | Op.Item _ -> node.Inputs.Head
    | _ -> node

type Flow(fuse: Fuse.Region, results: Result list) =
    let units = Array.ofList fuse.Units
    let made = Dictionary<int, int>()
    let read = Dictionary<int, List<int>>()

    do
        units
        |> Array.iteri (fun i (unit, reads) ->
            match unit with
            | Units.Kernel cluster ->
                for m in cluster.Members do
                    made[m.Id] <- i
            | Units.Anchor(node, last) ->
                made[node.Id] <- i
                made[last.Id] <- i

            for r in reads do
                match read.TryGetValue r.Id with
                | true, list -> list.Add i
                | _ -> read[r.Id] <- List [ i ])

    let readersOf (node: Node) =
        match read.TryGetValue node.Id with
        | true, list -> List.ofSeq list
        | _ -> []

    let madeBy (node: Node) =
        match made.TryGetValue (maker node).Id with
        | true, unit -> Some unit
        | _ -> None

    let readers =
        lazy
            (let readers = Array.init units.Length (fun _ -> HashSet<int>())

             units
             |> Array.iteri (fun i (_, reads) ->
                 for unit in List.choose madeBy reads do
                     readers[unit].Add i |> ignore)

             readers)

    let isResult (node: Node) = results |> List.exists (fun r -> r.Node.Id = node.Id)

    member _.Units = units

    /// The unit that makes a value in this region.
    member _.Made(node: Node) = madeBy node

    /// The units that read what a unit makes.
    member _.ReadersOf(unit: int) : int list = readers.Value[unit] |> List.ofSeq

    /// The values that a unit makes.
    member _.MadeBy(unit: int) : Node list =
        match fst units[unit] with
        | Units.Kernel cluster -> List.ofSeq cluster.Members
        | Units.Anchor(node, last) -> List.distinct [ node; last ]

    member _.IsResult(node: Node) = isResult node

    /// The last unit that reads a value; -1 for none.
    member _.LastRead(node: Node) = List.fold max -1 (readersOf node)

    /// Whether anything but one unit wants a value in memory.
    member _.IsWantedOutside(unit: int, node: Node) =
        fuse.Stored.Contains node.Id || isResult node || readersOf node |> List.exists ((<>) unit)

    /// Whether exactly one unit reads a value, and nobody else wants it.
    member _.HasOneReader(node: Node) = not (isResult node) && (readersOf node).Length = 1
