/// Writes kernels: from clusters, and from the anchors that are loops over memory, to kernel IR.
module Legato.Compiler.Emit

open System.Collections.Generic
open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Compiler.Place

type private E = Expr

let integer (n: int64) : Expr = E.Integer n
let variable name : Expr = E.Variable name
let sizeExpr (e: Extent) : Expr = if e.IsConstant then E.Integer e.Constant else E.Size e
let apply (op: Operation) (args: Expr list) : Expr = E.Apply(op, Array.ofList args)

let private unaryOf op =
    match op with
    | Neg -> Operation.Negate
    | Abs -> Operation.Absolute
    | Exp -> Operation.Exp
    | Log -> Operation.Log
    | Sqrt -> Operation.Sqrt
    | Rsqrt -> Operation.Rsqrt
    | Tanh -> Operation.Tanh
    | Sin -> Operation.Sin
    | Cos -> Operation.Cos
    | Erf -> Operation.Erf
    | Not -> Operation.Not
    | ToFloat -> Operation.ToFloat
    | IsFinite -> Operation.IsFinite
    | Detach -> failwith "unreachable: Detach is the identity and is handled before"

let private binaryOf op =
    match op with
    | Add -> Operation.Add
    | Sub -> Operation.Subtract
    | Mul -> Operation.Multiply
    | Div -> Operation.Divide
    | Rem -> Operation.Remainder
    | Min -> Operation.Minimum
    | Max -> Operation.Maximum
    | Less -> Operation.Less
    | LessOrEqual -> Operation.LessOrEqual
    | Equal -> Operation.Equal
    | And -> Operation.And
    | Or -> Operation.Or

/// A scalar expression with its operands in place.
let rec scalar (arg: int -> Expr) s : Expr =
    match s with
    | Arg i -> arg i
    | Var name -> variable name
    | Num x -> E.Number x
    | Int i -> integer i
    | Un(Detach, x) -> scalar arg x
    | Un(op, x) -> apply (unaryOf op) [ scalar arg x ]
    | Bin(op, x, y) -> apply (binaryOf op) [ scalar arg x; scalar arg y ]
    | If(c, x, y) -> apply Operation.Select [ scalar arg c; scalar arg x; scalar arg y ]

/// How an axis is indexed at some point of a kernel: a sum of integer expressions times strides.
type Indexing = Map<string, (Expr * Extent) list>

/// A kernel under construction: operands by place, and fresh names.
type Writer(placeOf: Node -> Place, constant: Node -> Place) =
    let operands = List<Place * string * Access>()
    let mutable fresh = 0
    member _.PlaceOf node = placeOf node
    member _.Constant node = constant node

    member _.Fresh prefix =
        fresh <- fresh + 1
        $"{prefix}{fresh}"

    member _.Operand(place: Place, name: string, access: Access) =
        let found = operands.FindIndex(fun (p, _, _) -> p.View = place.View && p.Type = place.Type)

        if found < 0 then
            operands.Add(place, name, access)
            operands.Count - 1
        else
            let p, n, a = operands[found]

            if a <> access then
                operands[found] <- (p, n, Access.ReadWrite)

            found

    member _.Operands = List.ofSeq operands

let indexInto (place: Place) (at: Indexing) : Index =
    Index(
        [|
            for axis, stride in place.Strides do
                for value, multiple in at[axis] do
                    match value with
                    | :? Expr.Integer as i when i.Value = 0L -> ()
                    | _ -> IndexTerm(value, multiple * stride)
        |]
    )

let positionOf (terms: (Expr * Extent) list) : Expr =
    let term (value, multiple: Extent) =
        if multiple.Equals one then
            value
        else
            apply Operation.Multiply [ value; sizeExpr multiple ]

    match List.map term terms with
    | [] -> integer 0L
    | first :: rest -> rest |> List.fold (fun sum t -> apply Operation.Add [ sum; t ]) first

/// Where the value of a node is found while it is computed: already in a variable, or not.
type Scope = {
    Writer: Writer
    /// Nodes that have a variable at this point.
    Known: Dictionary<int, Expr>
    /// Nodes that must not be read from memory, since this kernel computes them.
    Own: HashSet<int>
    InMemory: Node -> bool
    /// Axes and indices for which `Known` holds.
    Home: Indexing
    Statements: List<Statement>
}

let load (writer: Writer) (place: Place) (name: string) (at: Indexing) : Expr =
    E.Load(writer.Operand(place, name, Access.Read), indexInto place at)

/// The value of a node at an index, computed as far back as memory.
let rec value (scope: Scope) (at: Indexing) (node: Node) : Expr =
    let isHome = System.Object.ReferenceEquals(at, scope.Home)

    match
        (if isHome then
             scope.Known.TryGetValue node.Id
         else
             (false, Unchecked.defaultof<_>))
    with
    | true, found -> found
    | _ when scope.InMemory node && not (scope.Own.Contains node.Id) ->
        load scope.Writer (scope.Writer.PlaceOf node) "in" at
    | _ ->
        let result = compute scope at node

        match node.Op with
        | Op.Map _ when isHome ->
            let name = scope.Writer.Fresh "v"
            scope.Statements.Add(Statement.Let(name, result))
            scope.Known[node.Id] <- variable name
            variable name
        | _ -> result

and private compute scope at (node: Node) : Expr =
    let again = value scope at

    match node.Op, node.Inputs with
    | Op.Const x, _ -> E.Number x
    | Op.Iota dim, _ -> positionOf at[dim.Name]
    | Op.ConstVector _, _ -> load scope.Writer (scope.Writer.Constant node) "constant" at
    | Op.Map s, inputs ->
        let values = inputs |> List.map again |> Array.ofList
        scalar (fun i -> values[i]) s
    | Op.Broadcast _, [ x ] -> again x
    | Op.Rename names, [ x ] ->
        let moved = names |> List.map (fun (a, b) -> a, at[b])
        value scope (List.fold (fun m (a, terms) -> Map.add a terms m) at moved) x
    | Op.Split(axis, outer, inner), [ x ] ->
        let scaled = at[outer.Name] |> List.map (fun (v, m) -> v, m * extent inner.Size)
        value scope (Map.add axis (scaled @ at[inner.Name]) at) x
    | Op.Merge(outer, inner, name), [ x ] ->
        let size = extent (Node.dim inner x).Size
        let whole = positionOf at[name]
        let quotient = apply Operation.Divide [ whole; sizeExpr size ]
        let remainder = apply Operation.Remainder [ whole; sizeExpr size ]
        value scope (at |> Map.add outer [ quotient, one ] |> Map.add inner [ remainder, one ]) x
    | Op.Slice(axis, start, _), [ x ] -> value scope (Map.add axis ((integer start, one) :: at[axis]) at) x
    | Op.Pad(axis, before, _), [ x ] ->
        // Outside, any element in bounds may be read; it is not used.
        let length = Node.size axis x
        let position = positionOf at[axis]
        let shifted = apply Operation.Subtract [ position; integer before ]

        let clamped =
            apply Operation.Minimum [ apply Operation.Maximum [ shifted; integer 0L ]; integer (length - 1L) ]

        let inside =
            apply Operation.And [
                apply Operation.LessOrEqual [ integer before; position ]
                apply Operation.Less [ position; integer (before + length) ]
            ]

        apply Operation.Select [ inside; value scope (Map.add axis [ clamped, one ] at) x; E.Number 0.0 ]
    | Op.Gather axis, [ table; index ] ->
        let position = again index
        value scope (Map.add axis [ position, one ] at) table
    | op, _ -> invalidOp $"{op.GetType().Name} {node} is no part of a kernel: it should lie in memory"

let loop kind name (count: Extent) (body: Statement list) : Statement =
    Statement.Loop(kind, name, integer 0L, sizeExpr count, List.toArray body)

let axisVariable (axis: string) = axis.ToLowerInvariant().Replace("'", "_")

let indexing (dims: Dim list) : Indexing =
    dims |> List.map (fun d -> d.Name, [ variable (axisVariable d.Name), one ]) |> Map.ofList

/// Loops over axes, the last of them a vector loop.
let nest (outer: LoopKind) (dims: Dim list) (body: Statement list) : Statement list =
    match List.rev dims with
    | [] -> body
    | last :: before ->
        (loop LoopKind.Vector (axisVariable last.Name) (extent last.Size) body, before)
        ||> List.fold (fun inner d -> loop outer (axisVariable d.Name) (extent d.Size) [ inner ])
        |> List.singleton

let private grid (dims: Dim list) (body: Statement list) =
    (body, List.rev dims)
    ||> List.fold (fun inner d -> [ loop LoopKind.Grid (axisVariable d.Name) (extent d.Size) inner ])

let kernel name (writer: Writer) (body: Statement list) : Kernel * BufferView list =
    let operands = writer.Operands

    Kernel(name, [| for p, n, a in operands -> KernelOperand(n, p.Type, a) |], [||], List.toArray body)
    |> Collapse.kernel,
    operands |> List.map (fun (p, _, _) -> p.View)

/// Blocks of rows, each with sums of its own, so that the order of summation depends on nothing but the sizes.
let private partitions (rows: Dim list) =
    let count = elements rows
    if count.IsConstant then min 32L count.Constant else 32L

/// Names for a kernel's part of a column sum.
type ColumnSum = { Node: Node; Partial: Place }

/// A cluster's kernel: its rows outside; inside, one pass over the inner axes for each level of reductions.
let cluster
    (writer: Writer)
    (name: string)
    (cluster: Fuse.Cluster)
    (inMemory: Node -> bool)
    (mustStore: Node -> bool)
    (columnSums: ColumnSum list)
    =
    let inner =
        match cluster.Inner with
        | Some names -> cluster.Domain |> List.filter (fun d -> List.contains d.Name names)
        | None ->
            // Enough inner elements to be worth a vector loop, the rest is grid.
            let rec split (taken: Dim list) (rest: Dim list) =
                match rest with
                | d :: more when
                    taken.IsEmpty
                    || (taken.Length = 1
                        && (match taken.Head.Size with
                            | Fixed n -> n < 128L
                            | _ -> false))
                    ->
                    split (d :: taken) more
                | _ -> taken

            split [] (List.rev cluster.Domain)

    let innerNames = inner |> List.map (fun d -> d.Name) |> Set.ofList
    let rows = cluster.Domain |> List.filter (fun d -> not (innerNames.Contains d.Name))
    let members = List.ofSeq cluster.Members
    let own = HashSet<int>(members |> List.map (fun n -> n.Id))
    let isRowLevel (n: Node) = n.Axes |> List.forall (fun a -> not (innerNames.Contains a))

    let role n =
        if not (Fuse.roleIn cluster.Domain cluster.Inner n).IsSome then
            Fuse.Full
        else
            fst (Fuse.roleIn cluster.Domain cluster.Inner n).Value

    // The pass in which a value can first be computed: one more than its deepest reduction.
    let passes = Dictionary<int, int>()

    let rec pass (n: Node) =
        match passes.TryGetValue n.Id with
        | true, p -> p
        | _ ->
            let stop = Fuse.isPlaced n || (inMemory n && not (own.Contains n.Id)) || Fuse.isAnchor n
            let deepest = if stop then 0 else n.Inputs |> List.fold (fun d i -> max d (pass i)) 0
            let result = if own.Contains n.Id && role n = Fuse.RowReduction then deepest + 1 else deepest
            passes[n.Id] <- result
            result

    let home = indexing cluster.Domain
    let rowStatements = List<Statement>()
    let rowKnown = Dictionary<int, Expr>()

    let scopeOf known statements = {
        Writer = writer
        Known = known
        Own = own
        InMemory = inMemory
        Home = home
        Statements = statements
    }

    let rowScope = scopeOf rowKnown rowStatements

    // Values of rows that an expression uses get their variables outside the vector loop.
    let hoist (n: Node) =
        let seen = HashSet<int>()

        let rec go (n: Node) =
            if seen.Add n.Id && not (rowKnown.ContainsKey n.Id) then
                if
                    isRowLevel n
                    && (match n.Op with
                        | Op.Const _
                        | Op.Iota _ -> false
                        | Op.Map(Num _)
                        | Op.Map(Int _) -> false
                        | _ -> true)
                then
                    let name = writer.Fresh "r"
                    let v = value rowScope home n

                    match v with
                    | :? Expr.Variable -> ()
                    | _ ->
                        rowStatements.Add(Statement.Let(name, v))
                        rowKnown[n.Id] <- variable name
                elif not (inMemory n && not (own.Contains n.Id)) && not (Fuse.isPlaced n) then
                    match n.Op with
                    // A re-indexed input is not at home.
                    | Op.Map _
                    | Op.Broadcast _ -> List.iter go n.Inputs
                    | _ -> ()

        go n

    let stored = HashSet<int>()
    let last = members |> List.fold (fun d n -> max d (pass n)) 0

    let storeRow (n: Node) =
        if mustStore n && stored.Add n.Id then
            let v = value rowScope home n
            let place = writer.PlaceOf n
            let operand = writer.Operand(place, "out", Access.Write)
            rowStatements.Add(Statement.Store(operand, indexInto place home, v))

    for p in 0..last do
        let reductions = members |> List.filter (fun n -> role n = Fuse.RowReduction && pass n = p + 1)

        let fulls =
            members
            |> List.filter (fun n -> role n = Fuse.Full && pass n = p && not (isRowLevel n && not inner.IsEmpty))

        let columns = columnSums |> List.filter (fun c -> pass c.Node.Inputs.Head = p)

        if not (List.isEmpty reductions && List.isEmpty fulls && List.isEmpty columns) then
            for n in reductions do
                List.iter hoist n.Inputs

            for n in fulls do
                List.iter hoist n.Inputs

            for c in columns do
                List.iter hoist c.Node.Inputs

            let accumulators =
                reductions
                |> List.map (fun n ->
                    let kind =
                        match n.Op with
                        | Op.Reduce(Maximum, _) -> Legato.Runtime.Plans.Reduction.Maximum
                        | _ -> Legato.Runtime.Plans.Reduction.Sum

                    let name = writer.Fresh "sum"
                    rowStatements.Add(Statement.Accumulator(name, kind))
                    n, name)

            let body = List<Statement>()
            let known = Dictionary<int, Expr>(rowKnown)

            // Values stored in an earlier pass are read again, not computed again.
            let scope = { scopeOf known body with InMemory = (fun n -> inMemory n || stored.Contains n.Id) }
            let scope = { scope with Own = HashSet<int>(own |> Seq.filter (fun id -> not (stored.Contains id))) }

            for n in fulls do
                let v = value scope home n

                if mustStore n then
                    let place = writer.PlaceOf n
                    let name = writer.Fresh "v"
                    body.Add(Statement.Let(name, v))
                    known[n.Id] <- variable name

                    body.Add(
                        Statement.Store(writer.Operand(place, "out", Access.Write), indexInto place home, variable name)
                    )

            for n, name in accumulators do
                body.Add(Statement.Accumulate(name, value scope home n.Inputs.Head))

            for c in columns do
                let operand = writer.Operand(c.Partial, "partial", Access.ReadWrite)
                let at = Map.add "Part" [ variable "part", one ] home
                let index = indexInto c.Partial at
                let sum = apply Operation.Add [ E.Load(operand, index); value scope home c.Node.Inputs.Head ]
                body.Add(Statement.Store(operand, index, sum))

            rowStatements.AddRange(nest LoopKind.Serial inner (List.ofSeq body))

            for n in fulls do
                if mustStore n then
                    stored.Add n.Id |> ignore

            for n, name in accumulators do
                rowKnown[n.Id] <- variable name

        for n in members do
            if (role n = Fuse.Row || role n = Fuse.RowReduction) && pass n <= p + 1 then
                storeRow n

    let body = List.ofSeq rowStatements

    if columnSums.IsEmpty then
        match rows, inner, cluster.Inner with
        | [], [ only ], None ->
            // A vector: blocks for the grid.
            let block = 2048L
            let v = axisVariable only.Name
            let count = extent only.Size

            let blocks =
                apply Operation.Divide [ apply Operation.Add [ sizeExpr count; integer (block - 1L) ]; integer block ]

            let from = apply Operation.Multiply [ variable "block"; integer block ]
            let upto = apply Operation.Minimum [ apply Operation.Add [ from; integer block ]; sizeExpr count ]

            let rebound =
                body
                |> List.map (fun s ->
                    match s with
                    | :? Statement.Loop as l when l.Variable = v ->
                        Statement.Loop(LoopKind.Vector, v, from, upto, l.Body) :> Statement
                    | other -> other)

            kernel name writer [ Statement.Loop(LoopKind.Grid, "block", integer 0L, blocks, List.toArray rebound) ]
        | _ -> kernel name writer (grid rows body)
    else
        let clear =
            columnSums
            |> List.collect (fun c ->
                let operand = writer.Operand(c.Partial, "partial", Access.ReadWrite)
                let dims = cluster.Domain |> List.filter (fun d -> innerNames.Contains d.Name)
                let at = Map.add "Part" [ variable "part", one ] home
                nest LoopKind.Serial dims [ Statement.Store(operand, indexInto c.Partial at, E.Number 0.0) ])

        let count = elements rows
        let parts = partitions rows

        let chunk =
            apply Operation.Divide [ apply Operation.Add [ sizeExpr count; integer (parts - 1L) ]; integer parts ]

        let from = apply Operation.Multiply [ variable "part"; variable "chunk" ]
        let upto = apply Operation.Minimum [ apply Operation.Add [ from; variable "chunk" ]; sizeExpr count ]

        // The row's number taken apart into its axes.
        let axes =
            let strides = rowMajor rows

            rows
            |> List.mapi (fun i d ->
                let stride = strides |> List.find (fun (a, _) -> a = d.Name) |> snd

                let q =
                    if stride.Equals one then
                        variable "row"
                    else
                        apply Operation.Divide [ variable "row"; sizeExpr stride ]

                let v = if i = 0 then q else apply Operation.Remainder [ q; sizeExpr (extent d.Size) ]
                Statement.Let(axisVariable d.Name, v) :> Statement)

        let rowLoop =
            Statement.Loop(LoopKind.Serial, "row", from, upto, List.toArray (axes @ body)) :> Statement

        kernel name writer [
            loop
                LoopKind.Grid
                "part"
                (Extent.Of parts)
                ((Statement.Let("chunk", chunk) :> Statement) :: clear @ [ rowLoop ])
        ]

let partialDims (domain: Dim list) (inner: string list) =
    let columns, rows = domain |> List.partition (fun d -> List.contains d.Name inner)
    { Name = "Part"; Size = Fixed(partitions rows) } :: columns

/// Adds the parts of a column sum.
let combine name (parts: Extent) (partial: Place) (target: Place) (dims: Dim list) =
    let writer = Writer((fun _ -> target), fun _ -> target)
    let source = writer.Operand(partial, "partial", Access.Read)
    let out = writer.Operand(target, "out", Access.ReadWrite)
    let home = indexing dims
    let at = Map.add "Part" [ variable "part", one ] home
    let store v = [ Statement.Store(out, indexInto target home, v) :> Statement ]

    let sum =
        apply Operation.Add [ E.Load(out, indexInto target home); E.Load(source, indexInto partial at) ]

    let outer, inner = List.splitAt (dims.Length - 1) dims

    let body =
        nest LoopKind.Serial inner (store (E.Number 0.0))
        @ [ loop LoopKind.Serial "part" parts (nest LoopKind.Serial inner (store sum)) ]

    kernel name writer (grid outer body)

/// A node's value written to a place: rotary turns and copies among them.
let copy (writer: Writer) name (node: Node) (target: Place) (inMemory: Node -> bool) =
    let home = indexing node.Dims
    let statements = List<Statement>()

    let scope = {
        Writer = writer
        Known = Dictionary()
        Own = HashSet()
        InMemory = inMemory
        Home = home
        Statements = statements
    }

    let v = value scope home node
    statements.Add(Statement.Store(writer.Operand(target, "out", Access.Write), indexInto target home, v))
    let outer, inner = List.splitAt (max 0 (node.Dims.Length - 1)) node.Dims
    kernel name writer (grid outer (nest LoopKind.Serial inner (List.ofSeq statements)))

let private plainScope writer inMemory home statements = {
    Writer = writer
    Known = Dictionary()
    Own = HashSet()
    InMemory = inMemory
    Home = home
    Statements = statements
}

/// x turned by cos and sin (see Composites for the meaning), x computed where it is read.
let rope (writer: Writer) name (form: RopeForm) (node: Node) (target: Place) (inMemory: Node -> bool) =
    let x, cos, sin = node.Inputs[0], node.Inputs[1], node.Inputs[2]
    let size = Node.size form.Feature node
    let half = form.Rotary / 2L
    let rows = node.Dims |> List.filter (fun d -> d.Name <> form.Feature)
    let home = indexing rows
    let pairStride, halfStride = if form.Interleaved then 2L, 1L else 1L, half
    let out = writer.Operand(target, "out", Access.Write)

    let featureAt side =
        Map.add form.Feature [ variable "pair", Extent.Of pairStride; integer side, Extent.Of halfStride ] home

    let at = Map.add "Pair" [ variable "pair", one ] home
    let turned = List<Statement>()
    let scope = plainScope writer inMemory at turned

    let name' (n: Expr) =
        let v = writer.Fresh "v"
        turned.Add(Statement.Let(v, n))
        variable v

    let a = name' (value scope (featureAt 0L) x)
    let b = name' (value scope (featureAt 1L) x)
    let c = name' (value scope at cos)
    let s = name' (value scope at sin)
    let mul x y = apply Operation.Multiply [ x; y ]

    let first, second =
        if form.Inverse then
            Operation.Add, Operation.Subtract
        else
            Operation.Subtract, Operation.Add

    turned.Add(Statement.Store(out, indexInto target (featureAt 0L), apply first [ mul a c; mul b s ]))
    turned.Add(Statement.Store(out, indexInto target (featureAt 1L), apply second [ mul b c; mul a s ]))

    let rest =
        if form.Rotary = size then
            []
        else
            let kept = List<Statement>()
            let at = Map.add form.Feature [ variable "rest", one; integer form.Rotary, one ] home
            let v = value (plainScope writer inMemory at kept) at x
            kept.Add(Statement.Store(out, indexInto target at, v))
            [ loop LoopKind.Vector "rest" (Extent.Of(size - form.Rotary)) (List.ofSeq kept) ]

    kernel name writer (grid rows (loop LoopKind.Vector "pair" (Extent.Of half) (List.ofSeq turned) :: rest))

/// New keys or values written behind those that the cache holds.
let append
    (writer: Writer)
    name
    (context: string)
    (sequence: string)
    (node: Node)
    (state: Place)
    (inMemory: Node -> bool)
    =
    let fresh, past = node.Inputs[1], node.Inputs[2]
    let home = indexing fresh.Dims
    let statements = List<Statement>()
    let scope = plainScope writer inMemory home statements
    let start = value scope home past
    let v = value scope home fresh
    let at = Map.add context [ home[sequence].Head; start, one ] home
    statements.Add(Statement.Store(writer.Operand(state, "cache", Access.Write), indexInto state at, v))
    let outer, inner = List.splitAt (fresh.Dims.Length - 1) fresh.Dims
    kernel name writer (grid outer (nest LoopKind.Serial inner (List.ofSeq statements)))

/// Rows of updates added to the rows of `target` that the index names, in the order of the updates; workers divide the columns.
let scatterAdd (writer: Writer) name (axis: string) (node: Node) (target: Place) (inMemory: Node -> bool) =
    let index, updates = node.Inputs[1], node.Inputs[2]
    let isUpdateRow (d: Dim) = Node.hasAxis d.Name index
    let rows, columns = updates.Dims |> List.partition isUpdateRow
    let home = indexing updates.Dims
    let statements = List<Statement>()
    let scope = plainScope writer inMemory home statements
    let position = value scope home index
    let rowStatements = List.ofSeq statements
    statements.Clear()
    let v = value scope home updates
    let operand = writer.Operand(target, "out", Access.ReadWrite)
    let at = Map.add axis [ position, one ] home
    let address = indexInto target at
    statements.Add(Statement.Store(operand, address, apply Operation.Add [ E.Load(operand, address); v ]))

    let serial body =
        (body, List.rev rows)
        ||> List.fold (fun inner d -> [ loop LoopKind.Serial (axisVariable d.Name) (extent d.Size) inner ])

    match columns with
    | [] -> kernel name writer (serial (rowStatements @ List.ofSeq statements))
    | _ ->
        let block = 64L
        let lastColumn = List.last columns
        let count = extent lastColumn.Size

        let blocks =
            apply Operation.Divide [ apply Operation.Add [ sizeExpr count; integer (block - 1L) ]; integer block ]

        let from = apply Operation.Multiply [ variable "block"; integer block ]
        let upto = apply Operation.Minimum [ apply Operation.Add [ from; integer block ]; sizeExpr count ]

        let vector =
            Statement.Loop(LoopKind.Vector, axisVariable lastColumn.Name, from, upto, statements.ToArray()) :> Statement

        let outerColumns = columns |> List.filter (fun d -> d.Name <> lastColumn.Name)

        let perRow =
            (grid [] [ vector ], List.rev outerColumns)
            ||> List.fold (fun inner d -> [ loop LoopKind.Serial (axisVariable d.Name) (extent d.Size) inner ])

        kernel name writer [
            Statement.Loop(LoopKind.Grid, "block", integer 0L, blocks, List.toArray (serial (rowStatements @ perRow)))
        ]

/// The elementwise chain behind a product, over one finished block of it.
let epilogue
    (writer: Writer)
    name
    (contract: Node)
    (result: Node)
    (target: Place)
    (rowAxes: Dim list)
    (columnAxes: Dim list)
    (inMemory: Node -> bool)
    =
    let out = writer.Operand(target, "out", Access.ReadWrite)

    // m and n taken apart into their axes.
    let apart name (dims: Dim list) =
        let strides = rowMajor dims

        dims
        |> List.mapi (fun i d ->
            let stride = strides |> List.find (fun (a, _) -> a = d.Name) |> snd

            let q =
                if stride.Equals one then
                    variable name
                else
                    apply Operation.Divide [ variable name; sizeExpr stride ]

            d.Name, [ (if i = 0 then q else apply Operation.Remainder [ q; sizeExpr (extent d.Size) ]), one ])

    let home = Map.ofList (apart "m" rowAxes @ apart "n" columnAxes)
    let statements = List<Statement>()
    let scope = plainScope writer inMemory home statements
    let address = indexInto target home |> Collapse.rejoin
    scope.Known[contract.Id] <- E.Load(out, address)
    let inside = HashSet<int>()

    let rec mark (n: Node) =
        if n.Id >= contract.Id && (n.Id = result.Id || not (inMemory n)) && inside.Add n.Id then
            List.iter mark n.Inputs

    mark result
    let scope = { scope with Own = HashSet<int>(inside) }
    let v = value scope home result
    statements.Add(Statement.Store(out, address, v))

    let body =
        Statement.Loop(
            LoopKind.Grid,
            "m",
            variable "m0",
            variable "m1",
            [| Statement.Loop(LoopKind.Vector, "n", variable "n0", variable "n1", statements.ToArray()) |]
        )

    let operands = writer.Operands

    Kernel(
        name,
        [| for p, n, a in operands -> KernelOperand(n, p.Type, a) |],
        [| "m0"; "m1"; "n0"; "n1" |],
        [| Collapse.rejoinStatement body |]
    ),
    operands |> List.map (fun (p, _, _) -> p.View)
