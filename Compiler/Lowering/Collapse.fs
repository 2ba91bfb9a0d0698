/// Joins loops of a kernel that walk memory as one: longer vectors, fewer counters.
///
/// Takes a kernel and gives one with the same meaning. Two loops, the inner one all of the outer one's body, become one
/// where every index moves by (extent of the inner) × (its stride) for a step of the outer, or by neither.
module Legato.Compiler.Collapse

open System.Collections.Generic
open Legato.Runtime.Plans

// floor(x / divisor) mod modulus, times stride.
type private Digit = { Of: Expr; Divisor: Extent; Modulus: Extent option; Stride: Extent }

let private sizeOf (e: Expr) =
    match e with
    | :? Expr.Integer as i -> Some(Extent.Of i.Value)
    | :? Expr.Size as s -> Some s.Extent
    | _ -> None

let rec private digit (value: Expr) stride =
    match value with
    | :? Expr.Apply as a when a.Operation = Operation.Divide && (sizeOf a.Operands[1]).IsSome -> {
        Of = a.Operands[0]
        Divisor = (sizeOf a.Operands[1]).Value
        Modulus = None
        Stride = stride
      }
    | :? Expr.Apply as a when a.Operation = Operation.Remainder && (sizeOf a.Operands[1]).IsSome -> {
        digit a.Operands[0] stride with
            Modulus = sizeOf a.Operands[1]
      }
    | _ -> { Of = value; Divisor = Extent.One; Modulus = None; Stride = stride }

let private undigit d =
    let apply op x (y: Extent) : Expr =
        Expr.Apply(op, [| x; (if y.IsConstant then Expr.Integer y.Constant :> Expr else Expr.Size y) |])

    let q =
        if d.Divisor.Equals Extent.One then
            d.Of
        else
            apply Operation.Divide d.Of d.Divisor

    IndexTerm(
        (match d.Modulus with
         | Some m -> apply Operation.Remainder q m
         | None -> q),
        d.Stride
    )

/// Puts the digits of a number that an index takes apart and adds up again back together.
let rejoin (index: Index) : Index =
    let rec go (digits: Digit list) =
        let joined =
            Seq.allPairs digits digits
            |> Seq.tryPick (fun (high, low) ->
                match low.Modulus with
                | Some m when
                    high <> low
                    && high.Of = low.Of
                    && high.Divisor.Equals(low.Divisor * m)
                    && high.Stride.Equals(m * low.Stride)
                    ->
                    let whole = { low with Modulus = high.Modulus |> Option.map (fun h -> h * m) }
                    Some(whole :: (digits |> List.filter (fun d -> d <> high && d <> low)))
                | _ -> None)

        match joined with
        | Some fewer -> go fewer
        | None -> digits

    let digits = index.Terms |> Array.toList |> List.map (fun t -> digit t.Value t.Stride)
    Index(go digits |> List.map undigit |> Array.ofList)

let rec mapExpr (f: Index -> Index) (e: Expr) : Expr =
    match e with
    | :? Expr.Load as l ->
        Expr.Load(l.Operand, f (Index(l.At.Terms |> Array.map (fun t -> IndexTerm(mapExpr f t.Value, t.Stride)))))
    | :? Expr.Apply as a -> Expr.Apply(a.Operation, a.Operands |> Array.map (mapExpr f))
    | _ -> e

let rec private mapStatement (f: Index -> Index) (s: Statement) : Statement =
    match s with
    | :? Statement.Loop as l ->
        Statement.Loop(l.Kind, l.Variable, l.From, l.To, [| for b in l.Body -> mapStatement f b |])
    | :? Statement.Let as l -> Statement.Let(l.Name, mapExpr f l.Value)
    | :? Statement.Accumulate as a -> Statement.Accumulate(a.Name, mapExpr f a.Value)
    | :? Statement.Store as s ->
        Statement.Store(
            s.Operand,
            f (Index(s.At.Terms |> Array.map (fun t -> IndexTerm(mapExpr f t.Value, t.Stride)))),
            mapExpr f s.Value
        )
    | _ -> s

let rejoinStatement s = mapStatement rejoin s

/// Calls `onIndex` for every index and `onVariable` for every variable outside plain index terms.
let visit (onIndex: int -> bool -> Index -> unit) (onVariable: string -> unit) (body: Statement seq) =
    let rec expr (e: Expr) =
        match e with
        | :? Expr.Variable as v -> onVariable v.Name
        | :? Expr.Load as l -> index l.Operand false l.At
        | :? Expr.Apply as a -> Array.iter expr a.Operands
        | _ -> ()

    and index operand isStore (i: Index) =
        onIndex operand isStore i

        for t in i.Terms do
            match t.Value with
            | :? Expr.Variable -> ()
            | v -> expr v

    let rec statement (s: Statement) =
        match s with
        | :? Statement.Loop as l ->
            expr l.From
            expr l.To
            Seq.iter statement l.Body
        | :? Statement.Let as l -> expr l.Value
        | :? Statement.Accumulate as a -> expr a.Value
        | :? Statement.Store as s ->
            expr s.Value
            index s.Operand true s.At
        | _ -> ()

    Seq.iter statement body

let private strideOf name (index: Index) =
    index.Terms
    |> Array.fold
        (fun sum t ->
            match t.Value with
            | :? Expr.Variable as v when v.Name = name -> sum + t.Stride
            | _ -> sum)
        Extent.Zero

let private joinable (outer: Statement.Loop) (inner: Statement.Loop) (innerExtent: Extent) =
    let mutable ok = true

    visit
        (fun _ _ index ->
            if not ((strideOf outer.Variable index).Equals(innerExtent * strideOf inner.Variable index)) then
                ok <- false)
        (fun name ->
            if name = outer.Variable || name = inner.Variable then
                ok <- false)
        inner.Body

    ok

let private kindOfJoined outer inner =
    match outer, inner with
    | LoopKind.Grid, LoopKind.Grid -> Some LoopKind.Grid
    | LoopKind.Serial, LoopKind.Serial -> Some LoopKind.Serial
    | LoopKind.Serial, LoopKind.Vector -> Some LoopKind.Vector
    | _ -> None

let private isZero (e: Expr) =
    match e with
    | :? Expr.Integer as i -> i.Value = 0L
    | _ -> false

let private sizeExpr (e: Extent) : Expr = if e.IsConstant then Expr.Integer e.Constant else Expr.Size e

let rec private collapse (s: Statement) : Statement =
    match s with
    | :? Statement.Loop as outer ->
        let body = [| for b in outer.Body -> collapse b |]
        let outer = Statement.Loop(outer.Kind, outer.Variable, outer.From, outer.To, body)

        match body with
        | [| :? Statement.Loop as inner |] ->
            match kindOfJoined outer.Kind inner.Kind, sizeOf outer.To, sizeOf inner.To with
            | Some kind, Some m, Some n when isZero outer.From && isZero inner.From && joinable outer inner n ->
                let drop (index: Index) =
                    Index(
                        index.Terms
                        |> Array.filter (fun t ->
                            match t.Value with
                            | :? Expr.Variable as v -> v.Name <> outer.Variable
                            | _ -> true)
                    )

                Statement.Loop(
                    kind,
                    inner.Variable,
                    inner.From,
                    sizeExpr (m * n),
                    [| for b in inner.Body -> mapStatement drop b |]
                )
            | _ -> outer
        | _ -> outer
    | _ -> s

/// The kernel with its loops joined.
let kernel (k: Kernel) : Kernel =
    Kernel(k.Name, k.Operands, k.Arguments, [| for s in k.Body -> collapse (rejoinStatement s) |])

/// Whether a kernel may write an operand over what it reads there: every index into it is the same, and what reads it
/// comes no later than what writes it.
let isElementwise (k: Kernel) (operand: int) =
    let mutable seen: Index option = None
    let mutable written = false
    let mutable ok = true

    visit
        (fun o isStore index ->
            if o = operand then
                match seen with
                | None -> seen <- Some index
                | Some other ->
                    if not (other.Equals index) then
                        ok <- false

                if isStore then
                    written <- true
                elif written then
                    ok <- false)
        ignore
        k.Body

    ok

/// Whether a kernel has read an operand for the last time when it first writes another: the reads stand before the
/// writes, in the text and so in every row.
let readsBefore (k: Kernel) (read: int) (written: int) =
    let mutable hasWritten = false
    let mutable ok = true

    visit
        (fun o isStore _ ->
            if o = written && isStore then
                hasWritten <- true
            elif o = read && hasWritten then
                ok <- false)
        ignore
        k.Body

    ok
