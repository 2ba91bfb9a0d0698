namespace Legato.Compiler

open System.Collections.Generic
open Legato.Dsl
open Legato.Compiler.EvaluateTensor

/// The meaning of a graph, in float64: slow, and what every pass and device is held to. Integers are held exactly as floats.
[<RequireQualifiedAccess>]
module Evaluate =
    /// Values of nodes: one for each output.
    type private Values = Dictionary<int, Value array>

    type private Machine(bindings: Node -> float array, sizeOf: Size -> int) =
        let bound (node: Node) =
            let value = emptyOf sizeOf node.Dims
            let data = bindings node

            if data.Length <> value.Data.Length then
                raise (
                    ModelError(
                        $"{data.Length} elements were given for {Infer.show node.Dims}",
                        string node.Op,
                        $"give {value.Data.Length}"
                    )
                )

            [| { value with Data = data } |]

        let one (values: Values) (node: Node) = values[node.Id][0]

        member machine.Run(values: Values, roots: Node list) =
            for node in Node.topological roots do
                if not (values.ContainsKey node.Id) then
                    values[node.Id] <- machine.Node(values, node)

        member private machine.Node(values: Values, node: Node) =
            let inputs = node.Inputs |> List.map (fun i -> values[i.Id][0])
            let outputs () = [| for dims, _ in node.Outputs -> emptyOf sizeOf dims |]

            let filled fill =
                let out = outputs ()
                fill out[0]
                out

            // The same elements under other axes.
            let relabelled (x: Value) = [| { (outputs ())[0] with Data = x.Data } |]

            match node.Op, inputs with
            | Op.Input _, _
            | Op.Param _, _
            | Op.State _, _ -> bound node
            | Op.Const x, _ -> filled (fun out -> out.Data[0] <- x)
            | Op.ConstVector(xs, _), _ -> filled (fun out -> Array.blit (List.toArray xs) 0 out.Data 0 out.Data.Length)
            | Op.Iota _, _ -> filled (fun out -> Array.iteri (fun i _ -> out.Data[i] <- float i) out.Data)
            | Op.Map scalar, _ -> filled (map (node.Inputs |> List.map (fun i -> i.Type)) scalar inputs)
            | Op.Reduce(reduction, _), [ x ] -> filled (reduce reduction x)
            | Op.Contract axes, [ a; b ] -> filled (contract axes a b)
            | Op.Rename _, [ x ]
            | Op.Split _, [ x ] -> relabelled x
            | Op.Merge(outer, inner, name), [ x ] -> filled (merge outer inner name x)
            | Op.Slice(axis, start, length), [ x ] -> filled (copyPart axis (int start) 0 (int length) x)
            | Op.Pad(axis, before, _), [ x ] -> filled (copyPart axis 0 (int before) (x.Size axis) x)
            | Op.Broadcast _, [ x ] ->
                filled (fun out -> walkOver out [ out; x ] (fun at -> out.Data[at[0]] <- x.Data[at[1]]))
            | Op.Gather axis, [ table; index ] ->
                filled (fun out -> picked axis table index out (fun at from -> out.Data[at] <- table.Data[from]))
            | Op.ScatterAdd axis, [ table; index; updates ] ->
                filled (fun out ->
                    Array.blit table.Data 0 out.Data 0 table.Data.Length
                    picked axis out index updates (fun at into -> out.Data[into] <- out.Data[into] + updates.Data[at]))
            | Op.TopK(axis, rank), [ x ] ->
                let out = outputs ()
                topK axis rank x out[0] out[1]
                out
            | Op.Append(context, sequence), [ state; value; past ] -> filled (append context sequence state value past)
            | Op.Scan scan, _ -> machine.Scan(scan, inputs, outputs ())
            | Op.Composite composite, _ ->
                let parts = Composites.decompose composite node.Inputs
                machine.Run(values, parts)
                [| for part in parts -> one values part |]
            | Op.Item i, _ -> [| values[node.Inputs.Head.Id][i] |]
            | _ ->
                raise (
                    ModelError(
                        $"{inputs.Length} inputs don't fit",
                        string node.Op,
                        "give the node the inputs that GRAPH.md lists"
                    )
                )

        member private machine.Scan(scan: Scan, inputs: Value list, out: Value array) =
            let starts, rest = List.splitAt scan.Carries.Length inputs
            let stacks, captures = List.splitAt scan.Slices.Length rest
            let axis, count = scan.Dim.Name, sizeOf scan.Dim.Size

            let sliceOf i (placeholder: Node) (stack: Value) =
                let slice = emptyOf sizeOf placeholder.Dims
                let from = i * stack.Stride axis
                walkOver slice [ slice; stack ] (fun at -> slice.Data[at[0]] <- stack.Data[from + at[1]])
                slice

            let mutable carries = starts

            for step in 0 .. count - 1 do
                let i = if scan.Reversed then count - 1 - step else step
                let values = Values()
                let give (placeholder: Node) value = values[placeholder.Id] <- [| value |]
                List.iter2 give scan.Carries carries
                List.iter2 give scan.Captures captures
                List.iter2 (fun p stack -> give p (sliceOf i p stack)) scan.Slices stacks
                let results = if step = count - 1 then scan.Results else scan.CarryResults @ scan.StackResults
                machine.Run(values, results)
                carries <- scan.CarryResults |> List.map (fun r -> values[r.Id][0])

                scan.StackResults
                |> List.iteri (fun j result ->
                    let slice, stack = values[result.Id][0], out[scan.CarryResults.Length + j]
                    Array.blit slice.Data 0 stack.Data (i * slice.Data.Length) slice.Data.Length)

                if step = count - 1 then
                    scan.LastResults
                    |> List.iteri (fun j result ->
                        out[scan.CarryResults.Length + scan.StackResults.Length + j] <- values[result.Id][0])

            Array.append (List.toArray carries) (Array.skip carries.Length out)

    /// The elements of each root (of its first output, where it has several), in the order of its axes.
    /// `bindings` gives the elements of inputs, parameters and states, `dims` the sizes that are known at launch only.
    /// <exception cref="ModelError">A binding of the wrong length, an index out of range, a cache that overflows.</exception>
    let run (bindings: Node -> float array) (dims: string -> int64) (roots: Node list) : float array list =
        let sizeOf size =
            match size with
            | Fixed n -> int n
            | Dynamic name -> int (dims name)

        let values = Values()
        Machine(bindings, sizeOf).Run(values, roots)
        roots |> List.map (fun r -> (Array.head values[r.Id]).Data)
