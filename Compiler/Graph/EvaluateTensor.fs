/// The meaning of operations on whole tensors in float64, one element at a time.
module Legato.Compiler.EvaluateTensor

open System
open Legato.Dsl

/// A tensor: its axes' names and sizes, outermost first, and its elements in that order.
type Value = {
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

/// A tensor of zeros.
let emptyOf (sizeOf: Size -> int) (dims: Dim list) =
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

/// The same over the axes of a tensor.
let walkOver (loop: Value) (operands: Value list) visit =
    walk loop.Sizes [| for x in operands -> Array.map x.Stride loop.Axes |] visit

let map kinds scalar (inputs: Value list) (out: Value) =
    let f = EvaluateScalar.compile kinds scalar
    let data = [| for x in inputs -> x.Data |]
    walkOver out (out :: inputs) (fun at -> out.Data[at[0]] <- f (fun i -> data[i][at[i + 1]]))

let reduce reduction (x: Value) (out: Value) =
    let join =
        match reduction with
        | Sum -> (+)
        | Maximum ->
            Array.fill out.Data 0 out.Data.Length Double.NegativeInfinity
            fun (a: float) b -> Math.Max(a, b)

    walkOver x [ x; out ] (fun at -> out.Data[at[1]] <- join out.Data[at[1]] x.Data[at[0]])

let contract axes (a: Value) (b: Value) (out: Value) =
    let loop = {
        out with
            Axes = Array.append out.Axes (List.toArray axes)
            Sizes = Array.append out.Sizes [| for axis in axes -> a.Size axis |]
    }

    walkOver loop [ a; b; out ] (fun at -> out.Data[at[2]] <- out.Data[at[2]] + a.Data[at[0]] * b.Data[at[1]])

let merge outer inner name (x: Value) (out: Value) =
    let stride axis =
        if axis = outer then out.Stride name * x.Size inner
        elif axis = inner then out.Stride name
        else out.Stride axis

    walk x.Sizes [| Array.map x.Stride x.Axes; Array.map stride x.Axes |] (fun at -> out.Data[at[1]] <- x.Data[at[0]])

/// Copies the part of `x` from `start` on along an axis to `out` from `target` on.
let copyPart axis start target length (x: Value) (out: Value) =
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
let picked axis (table: Value) (index: Value) (elements: Value) visit =
    let strideOf (x: Value) = Array.map x.Stride elements.Axes
    // An axis of the elements that is the table's gathered one comes from the index.
    let inTable = elements.Axes |> Array.map (fun a -> if a = axis then 0 else table.Stride a)

    walk elements.Sizes [| strideOf elements; inTable; strideOf index |] (fun at ->
        visit at[0] (at[1] + table.Stride axis * position axis index.Data[at[2]] (table.Size axis)))

/// Descending; of equal elements, the one with the lower index first.
let topK axis (rank: Dim) (x: Value) (values: Value) (indices: Value) =
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

let append context sequence (state: Value) (value: Value) (past: Value) (out: Value) =
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
