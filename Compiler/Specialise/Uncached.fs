/// Calls without a cache: the context is the call itself.
module Legato.Compiler.Uncached

open Legato.Dsl
open Legato.Runtime.Plans

let private zero = Node.map (Int 0L) []

let private rowsOf (request: PlanRequest) = [
    { Name = "Batch"; Size = Fixed request.Batch }
    { Name = "Seq"; Size = Fixed request.Sequence }
]

let private flat (packed: Dim list option) (roots: Node list) =
    let attend (form: AttendForm) operands extras =
        match packed with
        | Some rows when form.Sequence = "Seq" -> Pack.attend rows form operands extras
        | _ -> Node.composite (Attend form) (operands @ extras)

    roots
    |> Simplify.rewriteDeep (fun node inputs ->
        match node.Op, inputs with
        | Op.Append(context, sequence), [ _; value; _ ] -> Some(Node.rename [ sequence, context ] value)
        | Op.Input("past", _, _), _ -> packed |> Option.map Pack.past |> Option.defaultValue zero |> Some
        | Op.Iota dim, _ when packed.IsSome && dim.Name = "Context" ->
            let remedy = "train it on rows that are no packed documents"
            raise (ModelError("the model counts its context's positions by itself", "Context", remedy))
        | Op.Composite(Attend form), q :: k :: v :: rest ->
            let sinks, _, extras = form.Split rest
            Some(attend form ([ q; k; v ] @ Option.toList sinks) extras)
        | _ -> None)

/// Without a cache the context is the call itself: appended keys and values are all there are, and positions start at 0.
let withoutCache (roots: Node list) = flat None roots

/// The number of a call's first row among the rows of its step.
let firstRow = Node.input Dropout.firstRow [] Integer

/// The same, but that positions start where a packed row's documents do, and that a call of all rows starts at the first.
let rows (request: PlanRequest) roots =
    flat (if request.IsPacked then Some(rowsOf request) else None) roots
    |> Linear.chunked (Linear.cutOf ((Precision.ofRequest request).Activations.Size()))
    |> if request.Accumulate = 1L then Node.substitute [ firstRow, zero ] else id
