/// Selecting positions moves before the work on the positions that are not selected: through nodes, and into the last iteration
/// of the loop that ends in them.
module Legato.Compiler.PickRows

open System.Collections.Generic
open Legato.Dsl

// Picked before a node's work, unless all its rows are wanted.
let private pickBefore (whole: HashSet<int>) axis (node: Node) (index: Node) : Node =
    let known = Dictionary<int, Node>()

    let rec pick (node: Node) =
        match known.TryGetValue node.Id with
        | true, picked -> picked
        | _ ->
            let picked = if whole.Contains node.Id then Node.gather axis node index else inside node
            known[node.Id] <- picked
            picked

    and inside node =
        let pickIfThere (x: Node) = if Node.hasAxis axis x then pick x else x

        match node.Op, node.Inputs with
        | Op.Map scalar, inputs -> Node.map scalar (List.map pickIfThere inputs)
        | Op.Reduce(reduction, axes), [ x ] when not (List.contains axis axes) -> Node.reduce reduction axes (pick x)
        | Op.Contract axes, [ a; b ] when not (Node.hasAxis axis b) -> Node.contract axes (pick a) b
        | _ -> Node.gather axis node index

    pick node

/// The rows that `index` picks along an axis, picked as early as may be.
let early axis (node: Node) (index: Node) : Node = pickBefore (HashSet()) axis node index

let private isStack (scan: Scan) (item: Node) =
    match item.Op with
    | Op.Item j -> j >= scan.Carries.Length
    | _ -> false

// A loop's carry that is read at picked rows alone, beside which none is read.
let private pickedCarry (roots: Node list) =
    let order = Node.topological roots

    let readers (node: Node) = order |> List.filter (fun reader -> List.contains node reader.Inputs)

    order
    |> List.tryPick (fun gather ->
        match gather.Op, gather.Inputs with
        | Op.Gather axis, [ carry; index ] ->
            match carry.Op, carry.Inputs with
            | Op.Item i, [ loop ] ->
                match loop.Op with
                | Op.Scan scan when
                    i < scan.Carries.Length
                    && not scan.Reversed
                    && scan.LastResults.IsEmpty
                    && not (List.contains carry roots)
                    && not (Node.topological [ index ] |> List.contains loop)
                    && readers carry = [ gather ]
                    && readers loop |> List.forall (fun item -> item = carry || isStack scan item)
                    ->
                    Some(gather, axis, i, loop, scan)
                | _ -> None
            | _ -> None
        | _ -> None)

/// Rows that are picked of what a loop ends in are picked in its last iteration, which computes no others of what follows there.
let inLoops (roots: Node list) : Node list =
    match pickedCarry roots with
    | None -> roots
    | Some(gather, axis, i, loop, scan) ->
        let index = gather.Inputs[1]
        let within = Node.placeholder "picked" index.Dims index.Type
        // What caches need of all rows is there to pick from.
        let whole = Node.topological scan.StackResults |> List.map (fun n -> n.Id) |> HashSet
        let picked = pickBefore whole axis scan.CarryResults[i] within |> Node.broadcast gather.Dims

        let picking = { scan with Captures = scan.Captures @ [ within ]; LastResults = [ picked ] }

        roots
        |> Node.rewrite (fun node inputs ->
            if node = loop then
                Some(Node.make (Op.Scan picking) (inputs @ [ index ]))
            elif node = gather then
                Some(Node.item (scan.Carries.Length + scan.StackResults.Length) inputs.Head.Inputs.Head)
            else
                None)
