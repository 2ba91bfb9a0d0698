/// Kernels of the anchors that are loops over memory, and of copies: rotary turns, appending to a cache, adding rows at
/// indices, the elementwise chain behind a product.
module Legato.Compiler.AnchorKernels

open System.Collections.Generic
open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Compiler.Place
open Legato.Compiler.Emit

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
    statements.Add(Statement.Store(operand, address, apply Operation.Add [ Expr.Load(operand, address); v ]))

    let serial body =
        (body, List.rev rows)
        ||> List.fold (fun inner d -> [ loop LoopKind.Serial (axisVariable d.Name) (extent d.Size) inner ])

    match columns with
    | [] -> kernel name writer (serial (rowStatements @ List.ofSeq statements))
    | _ ->
        let lastColumn = List.last columns
        let blocks, from, upto = blocked lastColumn 64L

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

    let apart name dims = digits (variable name) dims |> List.map (fun (d, v) -> d.Name, [ v, one ])
    let home = Map.ofList (apart "m" rowAxes @ apart "n" columnAxes)
    let statements = List<Statement>()
    let scope = plainScope writer inMemory home statements
    let address = indexInto target home |> Collapse.rejoin
    scope.Known[contract.Id] <- Expr.Load(out, address)
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
