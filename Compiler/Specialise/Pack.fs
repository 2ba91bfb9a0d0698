/// Several documents in a row that don't see each other (Raffel et al. 2020, section 2.4, with their attention kept apart).
///
/// Takes what positions and attention are in a call without caches; gives what they are where the input `starts` tells for
/// each position where in the row its document starts: positions count from there, and a query sees the keys of its own
/// document alone. The loss of such a row is that of its documents by themselves.
module Legato.Compiler.Pack

open Legato.Dsl

let private isPair x y =
    match x, y with
    | Var("q" | "k"), Var("q" | "k") -> true
    | _ -> false

/// A mask or score whose positions count from the document's start. Within a document q and k compare and differ as they do
/// within the row.
let rec private restarted (first: int) (expression: Scalar) =
    match expression with
    | Bin((Sub | Less | LessOrEqual | Equal), x, y) when isPair x y -> expression
    | Var "q" -> Var "q" - Arg first
    | Var "k" -> Var "k" - Arg(first + 1)
    | Un(op, x) -> Un(op, restarted first x)
    | Bin(op, x, y) -> Bin(op, restarted first x, restarted first y)
    | If(c, x, y) -> If(restarted first c, restarted first x, restarted first y)
    | Arg _
    | Var _
    | Num _
    | Int _ -> expression

let rec private isCausal mask =
    match mask with
    | Bin(And, x, y) -> isCausal x || isCausal y
    | Bin(LessOrEqual, Var "k", Var "q") -> true
    | _ -> false

/// The start of every position's document.
let starts (dims: Dim list) = Node.input "starts" dims Integer

/// What is added to a coordinate along the row to make it a position.
let past (rows: Dim list) = Node.map1 (fun start -> -start) (starts rows)

let private apart first mask =
    // Of keys at or before the query, those from its document's start on are its document's.
    if isCausal mask then
        Bin(LessOrEqual, Arg first, Var "k")
    else
        Bin(Equal, Arg first, Arg(first + 1))

/// Attention within each document; the operands are those before the extras.
let attend (rows: Dim list) (form: AttendForm) operands (extras: Node list) =
    let first = form.Extras
    let mask = form.Mask |> Option.map (restarted first)
    let apart = apart first (Option.defaultValue (Int 1L) form.Mask)

    let packed = {
        form with
            Mask = Some(mask |> Option.fold (fun within mask -> Bin(And, mask, within)) apart)
            Score = form.Score |> Option.map (restarted first)
    }

    let queries = starts rows
    let keys = Node.rename [ form.Sequence, form.Context ] queries
    Node.composite (Attend packed) (operands @ extras @ List.take (packed.Extras - first) [ queries; keys ])
