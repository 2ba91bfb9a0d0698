/// The gradient's rule of each operation: the cotangents of its inputs from those of its outputs.
module internal Legato.Compiler.PullBack

open System.Collections.Generic
open Legato.Dsl

/// A cotangent brought to a node's axes: summed over those that the node lacks, constant along those it lacks itself.
let private fit (target: Node) (cotangent: Node) =
    let extra = cotangent.Axes |> List.filter (fun a -> not (Node.hasAxis a target))
    Node.broadcast target.Dims (Node.reduce Sum extra cotangent)

/// Cotangents of single nodes and of the outputs of nodes that have several.
type Tape() =
    let cotangents = Dictionary<struct (int * int), Node>()

    member _.Add(node: Node, cotangent: Node) =
        if node.Type = Float then
            let key =
                match node.Op with
                | Op.Item i -> struct (node.Inputs.Head.Id, i)
                | _ -> struct (node.Id, 0)

            let fitted = fit node cotangent

            cotangents[key] <-
                match cotangents.TryGetValue key with
                | true, before -> Node.add before fitted
                | _ -> fitted

    member _.Find(node: Node, output) =
        match cotangents.TryGetValue(struct (node.Id, output)) with
        | true, cotangent -> Some cotangent
        | _ -> None

    member this.Of(node: Node) =
        match node.Op with
        | Op.Item i -> this.Find(node.Inputs.Head, i)
        | _ -> this.Find(node, 0)

let private onlyIn (a: Node) (b: Node) = a.Axes |> List.filter (fun axis -> not (Node.hasAxis axis b))

let private withoutGradient (node: Node) =
    let name = node.Op.GetType().Name

    raise (
        ModelError(
            $"{name} has no gradient",
            $"node {node} over {Infer.show node.Dims}",
            "train a model without caches; keep this node out of the loss"
        )
    )

/// Cotangents of a node's inputs, from that of its one output.
let private ofOneOutput (node: Node) (g: Node) : (Node * Node) list =
    match node.Op, node.Inputs with
    | Op.Map scalar, inputs -> [
        for i, input in List.indexed inputs do
            if input.Type = Float then
                match Scalar.derivative (fun leaf -> leaf = Arg i) scalar with
                | Num 0.0 -> ()
                | slope -> input, Node.map (Arg inputs.Length * slope) (inputs @ [ g ])
      ]
    | Op.Reduce(Sum, _), [ x ] -> [ x, g ]
    | Op.Reduce(Maximum, axes), [ x ] ->
        let reaches value = If(Bin(Equal, Arg 0, Arg 1), value, Num 0.0)
        let count = Node.reduce Sum axes (Node.map (reaches (Num 1.0)) [ x; node ])
        [ x, Node.map (reaches (Arg 2 / Arg 3)) [ x; node; g; count ] ]
    | Op.Contract axes, [ a; b ] ->
        let free (x: Node) y = onlyIn x y |> List.filter (fun axis -> not (List.contains axis axes))
        [ a, Node.contract (free b a) g b; b, Node.contract (free a b) g a ]
    | Op.Rename names, [ x ] -> [ x, Node.rename (names |> List.map (fun (a, b) -> b, a)) g ]
    | Op.Split(axis, outer, inner), [ x ] -> [ x, Node.merge outer.Name inner.Name axis g ]
    | Op.Merge(outer, inner, name), [ x ] -> [ x, Node.split name (Node.dim outer x) (Node.dim inner x) g ]
    | Op.Slice(axis, start, _), [ x ] -> [ x, Node.pad axis start (Node.size axis x) g ]
    | Op.Pad(axis, before, _), [ x ] -> [ x, Node.slice axis before (Node.size axis x) g ]
    | Op.Gather axis, [ table; index ] -> [ table, Node.make (Op.ScatterAdd axis) [ Node.zerosLike table; index; g ] ]
    | Op.ScatterAdd axis, [ start; index; updates ] -> [ start, g; updates, Node.gather axis g index ]
    | Op.Broadcast _, [ x ] -> [ x, g ]
    | Op.Composite(Rope form), [ x; cos; sin ] ->
        // Positions have no gradient.
        [ x, Node.composite (Rope { form with Inverse = not form.Inverse }) [ g; cos; sin ] ]
    | Op.Composite(GroupedProduct form), [ x; table; index ] ->
        let free = table.Axes |> List.except (form.Group :: form.Summed)

        [
            x, Node.composite (GroupedProduct { form with Summed = free }) [ g; table; index ]
            table, Node.composite (GroupedGradient table.Dims) [ g; x; index ]
        ]
    | _ -> withoutGradient node

/// A sink takes its share of every query, and its value is nothing: the softmax's slope with a product of zero.
let private sinkGradient (form: AttendForm) sinks output sum (g: Node) =
    let mean = Node.reduce Sum [ form.ValueFeature ] (Node.mul g output)
    Node.map (-(Un(Exp, Arg 0 - Arg 1) * Arg 2)) [ sinks; sum; mean ]

/// Cotangents of the inputs of a node with several outputs.
let ofNode (tape: Tape) (node: Node) : (Node * Node) list =
    match node.Op, node.Inputs with
    | Op.TopK(axis, rank), [ x ] ->
        match tape.Find(node, 0) with
        | Some g ->
            let chosen = If(Bin(Equal, Arg 1, Arg 2), Arg 0, Num 0.0)

            [
                x, Node.reduce Sum [ rank.Name ] (Node.map chosen [ g; Node.item 1 node; Node.iota (Node.dim axis x) ])
            ]
        | None -> []
    | Op.Composite(Attend form), q :: k :: v :: rest ->
        match tape.Find(node, 0), form.Split rest with
        | Some g, (sinks, None, extras) ->
            let output, sum = Node.item 0 node, Node.item 1 node
            let inputs = [ q; k; v; output; sum; g ] @ extras
            let gradient = Node.composite (AttendGradient { form with Sinks = false }) inputs

            [ q, Node.item 0 gradient; k, Node.item 1 gradient; v, Node.item 2 gradient ]
            @ (sinks |> Option.map (fun sinks -> sinks, sinkGradient form sinks output sum g) |> Option.toList)
        | _ -> withoutGradient node
    | _ ->
        match tape.Find(node, 0) with
        | Some g -> ofOneOutput node g
        | None -> withoutGradient node
