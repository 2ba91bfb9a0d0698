/// A cluster's kernel: its rows outside; inside, one pass over the inner axes for each level of reductions, so that a
/// norm, a softmax or a loss with its gradient goes through memory once.
module Legato.Compiler.ClusterKernel

open System.Collections.Generic
open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Compiler.Place
open Legato.Compiler.Emit

/// Rows are summed in blocks, each with sums of its own, so that the order of summation depends on nothing but sizes.
let private partitions (rows: Dim list) =
    let count = elements rows
    if count.IsConstant then min 32L count.Constant else 32L

/// The axes of a column sum's parts.
let partialDims (cluster: Units.Cluster) =
    let inner = cluster.Inner |> Option.defaultValue []
    let columns, rows = cluster.Domain |> List.partition (fun d -> List.contains d.Name inner)
    { Name = "Part"; Size = Fixed(partitions rows) } :: columns

/// A reduction over all rows, and where the sums of its blocks lie.
type ColumnSum = { Node: Node; Partial: Place }

let private atPart = Map.add "Part" [ variable "part", one ]

/// How a column reduction joins two values, and what it starts from.
let private joining (c: ColumnSum) =
    match c.Node.Op with
    | Op.Reduce(Maximum, _) -> Operation.Maximum, Expr.Number System.Double.NegativeInfinity
    | _ -> Operation.Add, Expr.Number 0.0

// Without reductions: enough inner elements to be worth a vector loop, the rest is grid.
let private innerAxes (cluster: Units.Cluster) =
    let isShort (d: Dim) =
        match d.Size with
        | Fixed n -> n < 128L
        | Dynamic _ -> false

    match cluster.Inner, List.rev cluster.Domain with
    | Some names, _ -> cluster.Domain |> List.filter (fun d -> List.contains d.Name names)
    | None, last :: before :: _ when isShort last -> [ before; last ]
    | None, last :: _ -> [ last ]
    | None, [] -> []

/// Writes the statements of one row.
type private RowWriter(writer: Writer, cluster: Units.Cluster, inMemory: Node -> bool, mustStore: Node -> bool) =
    let inner = innerAxes cluster
    let innerNames = inner |> List.map (fun d -> d.Name) |> Set.ofList
    let members = List.ofSeq cluster.Members
    let own = HashSet<int>(members |> List.map (fun n -> n.Id))
    let home = indexing cluster.Domain
    let statements = List<Statement>()
    let known = Dictionary<int, Expr>()
    let stored = HashSet<int>()
    let passes = Dictionary<int, int>()

    let roleOf node =
        match Units.roleIn cluster.Domain cluster.Inner node with
        | Some(role, _) -> role
        | None -> Units.Full

    let isRowLevel (n: Node) = n.Axes |> List.forall (fun a -> not (innerNames.Contains a))
    let isElsewhere (n: Node) = Units.isPlaced n || (inMemory n && not (own.Contains n.Id)) || Units.isAnchor n

    let scope known statements = {
        Writer = writer
        Known = known
        Own = own
        InMemory = inMemory
        Home = home
        Statements = statements
    }

    let rowScope = scope known statements

    // The pass in which a value can first be computed: one more than its deepest reduction.
    let rec pass (n: Node) =
        match passes.TryGetValue n.Id with
        | true, p -> p
        | _ ->
            let deepest = if isElsewhere n then 0 else n.Inputs |> List.fold (fun d i -> max d (pass i)) 0

            let result =
                if own.Contains n.Id && roleOf n = Units.RowReduction then
                    deepest + 1
                else
                    deepest

            passes[n.Id] <- result
            result

    let isLiteral (n: Node) =
        match n.Op with
        | Op.Const _
        | Op.Iota _
        | Op.Map(Num _)
        | Op.Map(Int _) -> true
        | _ -> false

    // Values of a row that the inner loop uses get their variables outside it.
    let hoist (computed: Node) =
        let seen = HashSet<int>()

        let rec go (n: Node) =
            if seen.Add n.Id && not (known.ContainsKey n.Id) && not (isLiteral n) then
                if isRowLevel n then
                    match value rowScope home n with
                    | :? Expr.Variable -> ()
                    | v ->
                        let name = writer.Fresh "r"
                        statements.Add(Statement.Let(name, v))
                        known[n.Id] <- variable name
                elif not (isElsewhere n) then
                    inputs n

        // Behind other operations an input is read at another index.
        and inputs (n: Node) =
            match n.Op with
            | Op.Map _
            | Op.Broadcast _ -> List.iter go n.Inputs
            | Op.Reduce _ when n = computed && not (Units.isUnrolled n) -> List.iter go n.Inputs
            | _ -> ()

        inputs computed

    let accumulator (n: Node) =
        let reduction =
            match n.Op with
            | Op.Reduce(Maximum, _) -> Legato.Runtime.Plans.Reduction.Maximum
            | _ -> Legato.Runtime.Plans.Reduction.Sum

        let name = writer.Fresh "sum"
        statements.Add(Statement.Accumulator(name, reduction))
        name

    let store (n: Node) (v: Expr) : Statement =
        let place = writer.PlaceOf n
        Statement.Store(writer.Operand(place, "out", Access.Write), indexInto place home, v)

    // The body of one pass: elements to store, reductions and column sums to add to.
    let passBody fulls accumulators columns =
        let body = List<Statement>()
        let known = Dictionary<int, Expr>(known)
        // Values stored in an earlier pass are read again, not computed again.
        let unstored = HashSet<int>(own |> Seq.filter (stored.Contains >> not))

        let inner = {
            scope known body with
                Own = unstored
                InMemory = (fun n -> inMemory n || stored.Contains n.Id)
        }

        for n in fulls do
            let v = value inner home n

            if mustStore n then
                let name = writer.Fresh "v"
                body.Add(Statement.Let(name, v))
                known[n.Id] <- variable name
                body.Add(store n (variable name))

        for n: Node, name in accumulators do
            body.Add(Statement.Accumulate(name, value inner home n.Inputs.Head))

        for c in columns do
            let operand = writer.Operand(c.Partial, "partial", Access.ReadWrite)
            let index = indexInto c.Partial (atPart home)
            let sum = apply (fst (joining c)) [ Expr.Load(operand, index); value inner home c.Node.Inputs.Head ]
            body.Add(Statement.Store(operand, index, sum))

        List.ofSeq body

    let writePass number columnSums =
        let reductions = members |> List.filter (fun n -> roleOf n = Units.RowReduction && pass n = number + 1)

        let fulls =
            members
            |> List.filter (fun n -> roleOf n = Units.Full && pass n = number && (inner.IsEmpty || not (isRowLevel n)))

        let columns = columnSums |> List.filter (fun c -> pass c.Node.Inputs.Head = number)
        let computed = reductions @ fulls @ (columns |> List.map (fun c -> c.Node))

        if not computed.IsEmpty then
            List.iter hoist computed

            let accumulators = reductions |> List.map (fun n -> n, accumulator n)
            statements.AddRange(nest LoopKind.Serial inner (passBody fulls accumulators columns))

            for n in fulls do
                if mustStore n then
                    stored.Add n.Id |> ignore

            for n, name in accumulators do
                known[n.Id] <- variable name

        for n in members do
            let isOfRow = roleOf n = Units.Row || roleOf n = Units.RowReduction

            if isOfRow && pass n <= number + 1 && mustStore n && stored.Add n.Id then
                statements.Add(store n (value rowScope home n))

    member _.Inner = inner
    member _.Rows = cluster.Domain |> List.filter (fun d -> not (innerNames.Contains d.Name))
    member _.Home = home

    member _.Write(columnSums: ColumnSum list) : Statement list =
        let last = members |> List.fold (fun d n -> max d (pass n)) 0

        for number in 0..last do
            writePass number columnSums

        List.ofSeq statements

// A vector has no rows: its elements go to the grid in blocks.
let private blockwise (only: Dim) (body: Statement list) =
    let blocks, from, upto = blocked only 2048L

    let rebound =
        body
        |> List.map (fun s ->
            match s with
            | :? Statement.Loop as l when l.Variable = axisVariable only.Name ->
                Statement.Loop(LoopKind.Vector, l.Variable, from, upto, l.Body) :> Statement
            | other -> other)

    Statement.Loop(LoopKind.Grid, "block", integer 0L, blocks, List.toArray rebound) :> Statement

// Blocks of rows, each adding to sums of its own.
let private partitioned (writer: Writer) (row: RowWriter) (columnSums: ColumnSum list) (body: Statement list) =
    let clear =
        columnSums
        |> List.collect (fun c ->
            let operand = writer.Operand(c.Partial, "partial", Access.ReadWrite)
            let start = Statement.Store(operand, indexInto c.Partial (atPart row.Home), snd (joining c))
            nest LoopKind.Serial row.Inner [ start ])

    let count, parts = sizeExpr (elements row.Rows), partitions row.Rows

    let chunk =
        apply Operation.Divide [ apply Operation.Add [ count; integer (parts - 1L) ]; integer parts ]

    let from = apply Operation.Multiply [ variable "part"; variable "chunk" ]
    let upto = apply Operation.Minimum [ apply Operation.Add [ from; variable "chunk" ]; count ]

    let axes =
        digits (variable "row") row.Rows
        |> List.map (fun (d, v) -> Statement.Let(axisVariable d.Name, v) :> Statement)

    let rows = Statement.Loop(LoopKind.Serial, "row", from, upto, List.toArray (axes @ body)) :> Statement
    loop LoopKind.Grid "part" (Extent.Of parts) ((Statement.Let("chunk", chunk) :> Statement) :: clear @ [ rows ])

/// The kernel of a cluster. `mustStore` says which of its values other kernels read.
let write
    (writer: Writer)
    name
    (cluster: Units.Cluster)
    (inMemory: Node -> bool)
    (mustStore: Node -> bool)
    (columnSums: ColumnSum list)
    : Kernel * BufferView list =
    let row = RowWriter(writer, cluster, inMemory, mustStore)
    let body = row.Write columnSums

    let statements =
        match columnSums, row.Rows, row.Inner, cluster.Inner with
        | _ :: _, _, _, _ -> [ partitioned writer row columnSums body ]
        | [], [], [ only ], None -> [ blockwise only body ]
        | [], rows, _, _ -> grid rows body

    kernel name writer statements

/// Joins the parts of a column sum.
let combine name (parts: Extent) (sum: ColumnSum) (target: Place) : Kernel * BufferView list =
    let dims, (operation, start) = sum.Node.Dims, joining sum
    let writer = Writer((fun _ -> target), (fun _ -> target))
    let source = writer.Operand(sum.Partial, "partial", Access.Read)
    let out = writer.Operand(target, "out", Access.ReadWrite)
    let home = indexing dims
    let store v = [ Statement.Store(out, indexInto target home, v) :> Statement ]

    let joined =
        apply operation [
            Expr.Load(out, indexInto target home)
            Expr.Load(source, indexInto sum.Partial (atPart home))
        ]

    let outer, inner = List.splitAt (dims.Length - 1) dims

    let body =
        nest LoopKind.Serial inner (store start)
        @ [ loop LoopKind.Serial "part" parts (nest LoopKind.Serial inner (store joined)) ]

    kernel name writer (grid outer body)
