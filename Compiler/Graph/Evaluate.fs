namespace Legato.Compiler

open System
open System.Collections.Generic
open Legato.Dsl

/// The meaning of a graph, in float64, one element at a time: slow, and what every pass and device is held to.
/// Integers are held exactly as floats; false and true as 0 and 1.
[<RequireQualifiedAccess>]
module Evaluate =
    /// A tensor: its axes' names and sizes, outermost first, and its elements in that order.
    type private Value = {
        Axes: string array
        Sizes: int array
        Data: float array
    } with

        member this.Size axis = this.Sizes[Array.IndexOf(this.Axes, axis)]

        /// How far apart in Data neighbours along `axis` lie; 0 without the axis.
        member this.Stride axis =
            match Array.IndexOf(this.Axes, axis) with
            | -1 -> 0
            | i -> (1, this.Sizes[i + 1 ..]) ||> Array.fold (*)

    let private emptyOf (sizeOf: Size -> int) (dims: Dim list) =
        let sizes = [| for d in dims -> sizeOf d.Size |]

        {
            Axes = [| for d in dims -> d.Name |]
            Sizes = sizes
            Data = Array.zeroCreate ((1, sizes) ||> Array.fold (*))
        }

    /// Visits every point of a loop nest with the offsets that it has in the operands.
    let private walk (sizes: int array) (strides: int array array) (visit: int array -> unit) =
        let index = Array.zeroCreate<int> sizes.Length
        let offsets = Array.zeroCreate<int> strides.Length

        let shift axis steps =
            index[axis] <- index[axis] + steps

            for o in 0 .. offsets.Length - 1 do
                offsets[o] <- offsets[o] + steps * strides[o][axis]

        // Steps the innermost axis; one that is through starts again and steps the axis around it.
        let rec advance axis =
            if axis < 0 then
                false
            else
                shift axis 1

                if index[axis] < sizes[axis] then
                    true
                else
                    shift axis -sizes[axis]
                    advance (axis - 1)

        let mutable inside = Array.forall (fun n -> n > 0) sizes

        while inside do
            visit offsets
            inside <- advance (sizes.Length - 1)

    let private walkOver (loop: Value) (operands: Value list) visit =
        walk loop.Sizes [| for x in operands -> Array.map x.Stride loop.Axes |] visit

    /// erf by its series of positive terms (Abramowitz and Stegun 1964, 7.1.6).
    let private erf x =
        let rec sum term n total =
            if term < 1e-17 * total then
                total
            else
                let next = term * 2.0 * x * x / float (2 * n + 1) in sum next (n + 1) (total + next)

        if abs x > 6.0 then float (sign x)
        elif x = 0.0 then 0.0
        else Math.CopySign(2.0 / sqrt Math.PI * exp (-x * x) * sum (abs x) 1 (abs x), x)

    let private truth condition = if condition then 1.0 else 0.0

    let private unary op : float -> float =
        match op with
        | Neg -> (~-)
        | Abs -> abs
        | Exp -> exp
        | Log -> log
        | Sqrt -> sqrt
        | Rsqrt -> fun x -> 1.0 / sqrt x
        | Tanh -> Math.Tanh
        | Sin -> sin
        | Cos -> cos
        | Erf -> fun x -> if Double.IsNaN x then x else erf x
        | Not -> fun x -> 1.0 - x
        | ToFloat
        | Detach -> id
        | IsFinite -> fun x -> truth (Double.IsFinite x)

    let private binary op kind : float -> float -> float =
        match op with
        | Add
        | Sub
        | Mul ->
            (match op with
             | Add -> (+)
             | Sub -> (-)
             | _ -> (*))
        | Div -> if kind = Integer then (fun x y -> truncate (x / y)) else (/)
        | Rem -> (%)
        | Min -> fun x y -> Math.Min(x, y)
        | Max -> fun x y -> Math.Max(x, y)
        | Less -> fun x y -> truth (x < y)
        | LessOrEqual -> fun x y -> truth (x <= y)
        | Equal -> fun x y -> truth (x = y)
        | And -> (*)
        | Or -> fun x y -> Math.Max(x, y)
        | UniformAt -> fun key counter -> float (Legato.Runtime.Plans.Philox.Uniform(int64 key, int64 counter))

    let rec private compile (kinds: ElementType list) scalar : (int -> float) -> float =
        match scalar with
        | Arg i -> fun arg -> arg i
        | Num x -> fun _ -> x
        | Int i -> fun _ -> float i
        | Var name ->
            raise (ModelError($"the variable {name} has no value", "Map", "variables belong in masks and scores"))
        | Un(op, x) ->
            let f, x = unary op, compile kinds x
            fun arg -> f (x arg)
        | Bin(op, x, y) ->
            let f = binary op (Infer.typeOf kinds x)
            let x, y = compile kinds x, compile kinds y
            fun arg -> f (x arg) (y arg)
        | If(c, x, y) ->
            let c, x, y = compile kinds c, compile kinds x, compile kinds y
            fun arg -> if c arg <> 0.0 then x arg else y arg

    let private map kinds scalar (inputs: Value list) (out: Value) =
        let f = compile kinds scalar
        let data = [| for x in inputs -> x.Data |]
        walkOver out (out :: inputs) (fun at -> out.Data[at[0]] <- f (fun i -> data[i][at[i + 1]]))

    let private reduce reduction (x: Value) (out: Value) =
        let join =
            match reduction with
            | Sum -> (+)
            | Maximum ->
                Array.fill out.Data 0 out.Data.Length Double.NegativeInfinity
                fun (a: float) b -> Math.Max(a, b)

        walkOver x [ x; out ] (fun at -> out.Data[at[1]] <- join out.Data[at[1]] x.Data[at[0]])

    let private contract axes (a: Value) (b: Value) (out: Value) =
        let loop = {
            out with
                Axes = Array.append out.Axes (List.toArray axes)
                Sizes = Array.append out.Sizes [| for axis in axes -> a.Size axis |]
        }

        walkOver loop [ a; b; out ] (fun at -> out.Data[at[2]] <- out.Data[at[2]] + a.Data[at[0]] * b.Data[at[1]])

    let private merge outer inner name (x: Value) (out: Value) =
        let stride axis =
            if axis = outer then out.Stride name * x.Size inner
            elif axis = inner then out.Stride name
            else out.Stride axis

        walk x.Sizes [| Array.map x.Stride x.Axes; Array.map stride x.Axes |] (fun at ->
            out.Data[at[1]] <- x.Data[at[0]])

    /// Copies the part of `x` from `start` on along an axis to `out` from `target` on.
    let private copyPart axis start target length (x: Value) (out: Value) =
        let loop = {
            out with
                Sizes = Array.map2 (fun a n -> if a = axis then length else n) out.Axes out.Sizes
        }

        let from, into = start * x.Stride axis, target * out.Stride axis
        walkOver loop [ x; out ] (fun at -> out.Data[into + at[1]] <- x.Data[from + at[0]])

    let private position axis (index: float) size =
        if index < 0.0 || index >= float size then
            raise (
                ModelError(
                    $"the index {index} lies outside of {axis}:{size}",
                    "Gather or ScatterAdd",
                    "use indices from 0 to the size less one"
                )
            )

        int index

    /// Visits every element of `elements` with its offset and that of the element of `table` that `index` picks.
    let private picked axis (table: Value) (index: Value) (elements: Value) visit =
        let strideOf (x: Value) = Array.map x.Stride elements.Axes
        // An axis of the elements that is the table's gathered one comes from the index.
        let inTable = elements.Axes |> Array.map (fun a -> if a = axis then 0 else table.Stride a)

        walk elements.Sizes [| strideOf elements; inTable; strideOf index |] (fun at ->
            visit at[0] (at[1] + table.Stride axis * position axis index.Data[at[2]] (table.Size axis)))

    /// Descending; of equal elements, the one with the lower index first.
    let private topK axis (rank: Dim) (x: Value) (values: Value) (indices: Value) =
        let sizes = Array.map2 (fun a n -> if a = rank.Name then 1 else n) values.Axes values.Sizes
        let row = { values with Sizes = sizes }
        let step, outStep = x.Stride axis, values.Stride rank.Name

        walkOver row [ x; values ] (fun at ->
            let from, into = at[0], at[1]

            [| 0 .. x.Size axis - 1 |]
            |> Array.sortBy (fun i -> -x.Data[from + i * step], i)
            |> Array.take (values.Size rank.Name)
            |> Array.iteri (fun r i ->
                values.Data[into + r * outStep] <- x.Data[from + i * step]
                indices.Data[into + r * outStep] <- float i))

    let private append context sequence (state: Value) (value: Value) (past: Value) (out: Value) =
        Array.blit state.Data 0 out.Data 0 state.Data.Length
        let inOut = value.Axes |> Array.map (fun a -> if a = sequence then out.Stride context else out.Stride a)

        walk value.Sizes [| Array.map value.Stride value.Axes; inOut; Array.map past.Stride value.Axes |] (fun at ->
            let offset = at[1] + int past.Data[at[2]] * out.Stride context

            if int past.Data[at[2]] + value.Size sequence > out.Size context then
                raise (
                    ModelError(
                        $"a sequence of {value.Size sequence} after {past.Data[at[2]]} positions",
                        $"{context}:{out.Size context}",
                        "give the cache more positions"
                    )
                )

            out.Data[offset] <- value.Data[at[0]])

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
                machine.Run(values, scan.CarryResults @ scan.StackResults)
                carries <- scan.CarryResults |> List.map (fun r -> values[r.Id][0])

                scan.StackResults
                |> List.iteri (fun j result ->
                    let slice, stack = values[result.Id][0], out[scan.CarryResults.Length + j]
                    Array.blit slice.Data 0 stack.Data (i * slice.Data.Length) slice.Data.Length)

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
