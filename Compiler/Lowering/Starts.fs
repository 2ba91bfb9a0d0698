/// Where loops begin to carry and additions to add: in the memory of what they start from, where nobody else reads that.
module Legato.Compiler.Starts

open System.Collections.Generic
open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Compiler.Place
open Legato.Compiler.Region
open Legato.Compiler.Flow

type Starts(region: Region, flow: Flow) =
    // Carries' places, and whether the carry starts there already.
    let carries = Dictionary<int, (Place * bool) list>()
    let copies = HashSet<int>()

    /// A value that one unit alone reads may be computed straight into that unit's memory.
    let adopt (node: Node) (place: Place) =
        let isMovable =
            match node.Op with
            | Op.Item _ -> false
            | Op.Contract _ -> true
            | _ -> not (Units.isAnchor node)

        let adopts = isMovable && not (region.Has node) && flow.HasOneReader node && (flow.Made node).IsSome

        if adopts then
            region.Assign(node, place)

        adopts

    /// What a loop has carried to its end, and one anchor alone reads, that anchor may go on with in place.
    let continuesCarry (anchor: Node) (start: Node) =
        match start.Op, carries.TryGetValue (maker start).Id with
        | Op.Item i, (true, places) when i < places.Length && flow.HasOneReader start && not (region.Has anchor) ->
            region.Assign(anchor, fst places[i])
            true
        | _ -> false

    /// Decides where an anchor starts, before the region's units are lowered.
    member _.Place(anchor: Node) =
        match anchor.Op with
        | Op.ScatterAdd _ ->
            let start = anchor.Inputs.Head

            if not (continuesCarry anchor start || adopt start (region.PlaceOf anchor)) then
                copies.Add anchor.Id |> ignore
        | Op.Scan scan ->
            let carryPlace i (carry: Node) =
                let state = region.State
                let start = anchor.Inputs[i]
                let place = state.Buffers.Add("carry", BufferClass.Activation, state.Storage carry, carry.Dims)
                let isOnce = (anchor.Inputs |> List.filter ((=) start)).Length = 1
                place, isOnce && adopt start place

            carries[anchor.Id] <- List.mapi carryPlace scan.Carries
        | _ -> ()

    /// The places of a loop's carries, and whether each starts there already.
    member _.Carries(loop: Node) = carries[loop.Id]

    /// Whether what is added to must be copied first.
    member _.IsCopied(anchor: Node) = copies.Contains anchor.Id
