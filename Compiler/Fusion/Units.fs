/// What is computed together, and what part a node takes in it: anchors with epilogues, clusters over a domain, views that
/// are read where their base lies.
module Legato.Compiler.Units

open System.Collections.Generic
open Legato.Dsl

/// One kernel over a domain: rows outside, inner axes inside.
[<AllowNullLiteral>]
type Cluster(domain: Dim list) =
    member val Members = List<Node>()
    member _.Domain = domain
    /// The inner axes, once a reduction has fixed them.
    member val Inner: string list option = None with get, set

    member this.Rows =
        match this.Inner with
        | Some inner -> domain |> List.filter (fun d -> not (List.contains d.Name inner))
        | None -> []

[<NoComparison; ReferenceEquality>]
type Unit =
    /// An anchor, and the last node of the elementwise chain that its epilogue computes (the anchor itself where none).
    | Anchor of Node * result: Node
    | Kernel of Cluster

type Role =
    /// A value for each element of the domain.
    | Full
    /// A value for each row.
    | Row
    /// A reduction of each row.
    | RowReduction
    /// A reduction over all rows.
    | ColumnReduction

let isAnchor (node: Node) =
    match node.Op with
    | Op.Contract _
    | Op.Composite _
    | Op.TopK _
    | Op.Scan _
    | Op.ScatterAdd _
    | Op.Append _ -> true
    | _ -> false

let isPlaced (node: Node) =
    match node.Op with
    | Op.Input _
    | Op.Param _
    | Op.State _ -> true
    | _ -> false

/// Whether a reduction is over a few elements of axes that don't lie innermost: it is computed where it is read, term by term.
let isUnrolled (node: Node) =
    match node.Op, node.Inputs with
    | Op.Reduce(_, axes), [ x ] ->
        let reduced, kept = x.Dims |> List.partition (fun d -> List.contains d.Name axes)

        let count =
            (Some 1L, reduced)
            ||> List.fold (fun count d ->
                match count, d.Size with
                | Some n, Fixed size -> Some(n * size)
                | _ -> None)

        let innermost = x.Dims |> List.skip kept.Length
        innermost <> reduced && count |> Option.exists (fun n -> n <= 16L)
    | _ -> false

let isReduce (node: Node) =
    match node.Op with
    | Op.Reduce _ -> not (isUnrolled node)
    | _ -> false

let private adjacent outer inner (node: Node) = node.Axes |> List.pairwise |> List.contains (outer, inner)

/// The node whose memory a view shows: renamed, split, merged or sliced axes cost nothing where strides express them.
let rec viewBase (node: Node) : Node =
    match node.Op, node.Inputs with
    | Op.Rename _, [ x ]
    | Op.Split _, [ x ]
    | Op.Slice _, [ x ] -> viewBase x
    | Op.Merge(outer, inner, _), [ x ] when adjacent outer inner x && not (slicesBelow x) -> viewBase x
    | _ -> node

and private slicesBelow (node: Node) =
    match node.Op, node.Inputs with
    | Op.Slice _, _ -> true
    | Op.Rename _, [ x ]
    | Op.Split _, [ x ]
    | Op.Merge _, [ x ] -> slicesBelow x
    | _ -> false

/// The anchor's operands that must lie in memory; the others are computed where they are read.
let inMemory (anchor: Node) : Node list =
    match anchor.Op, anchor.Inputs with
    | Op.Append _, _ -> []
    | Op.ScatterAdd _, start :: _ -> [ start ]
    | Op.Composite(Rope _), _ :: tables -> tables
    | _, inputs -> inputs

let private sameAxes (a: Dim list) (b: Dim list) = Set.ofList a = Set.ofList b

/// What a node would be in a cluster of that domain and those inner axes, if it fits.
let roleIn (domain: Dim list) (inner: string list option) (node: Node) : (Role * string list option) option =
    let names = domain |> List.map (fun d -> d.Name)
    let rest axes = names |> List.filter (fun a -> not (List.contains a axes))

    match node.Op with
    | Op.Reduce(_, axes) when not (isUnrolled node) && sameAxes node.Inputs.Head.Dims domain ->
        let set = Set.ofList axes

        match inner with
        | Some i when Set.ofList i = set -> Some(RowReduction, inner)
        | Some i when Set.ofList (rest i) = set && not i.IsEmpty -> Some(ColumnReduction, inner)
        | Some _ -> None
        | None ->
            let suffix = names |> List.skip (names.Length - axes.Length)

            if Set.ofList suffix = set then
                Some(RowReduction, Some suffix)
            else
                Some(ColumnReduction, Some(rest axes))
    | Op.Reduce _ when not (isUnrolled node) -> None
    | _ when sameAxes node.Dims domain -> Some(Full, inner)
    | _ ->
        match inner with
        | Some i when node.Dims.Length > 0 && Set.ofList node.Axes = Set.ofList (rest i) -> Some(Row, inner)
        | _ -> None

/// The members that are reductions over all rows.
let columnReductions (cluster: Cluster) : Node list =
    cluster.Members
    |> Seq.filter (fun m -> roleIn cluster.Domain cluster.Inner m |> Option.map fst = Some ColumnReduction)
    |> List.ofSeq
