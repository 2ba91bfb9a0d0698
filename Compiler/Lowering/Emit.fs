/// The pieces that kernels are written from: scalar expressions, indices, the value of a node at an index, loops.
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
    | UniformAt -> Operation.Random

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

/// The index with each combination of indices of these axes, in ascending order.
let private unrolled (dims: Dim list) (at: Indexing) : Indexing list =
    ([ at ], dims)
    ||> List.fold (fun indices d -> [
        for index in indices do
            for i in 0L .. (extent d.Size).Constant - 1L -> Map.add d.Name [ integer i, one ] index
    ])

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
    | Op.Reduce(reduction, axes), [ x ] ->
        let terms = unrolled (x.Dims |> List.filter (fun d -> List.contains d.Name axes)) at
        let join = if reduction = Sum then Operation.Add else Operation.Maximum
        terms |> List.map (fun at -> value scope at x) |> List.reduce (fun a b -> apply join [ a; b ])
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

let grid (dims: Dim list) (body: Statement list) =
    (body, List.rev dims)
    ||> List.fold (fun inner d -> [ loop LoopKind.Grid (axisVariable d.Name) (extent d.Size) inner ])

let kernel name (writer: Writer) (body: Statement list) : Kernel * BufferView list =
    let operands = writer.Operands

    Kernel(name, [| for p, n, a in operands -> KernelOperand(n, p.Type, a) |], [||], List.toArray body)
    |> Collapse.kernel,
    operands |> List.map (fun (p, _, _) -> p.View)

/// Blocks of a long axis, one a grid iteration.
let blocked (axis: Dim) (block: int64) : Expr * Expr * Expr =
    let count = sizeExpr (extent axis.Size)

    let blocks =
        apply Operation.Divide [ apply Operation.Add [ count; integer (block - 1L) ]; integer block ]

    let from = apply Operation.Multiply [ variable "block"; integer block ]
    let upto = apply Operation.Minimum [ apply Operation.Add [ from; integer block ]; count ]
    blocks, from, upto

/// A number taken apart into the indices of axes, row-major.
let digits (number: Expr) (dims: Dim list) : (Dim * Expr) list =
    let strides = rowMajor dims

    dims
    |> List.mapi (fun i d ->
        let stride = strides |> List.find (fun (a, _) -> a = d.Name) |> snd

        let quotient =
            if stride.Equals one then
                number
            else
                apply Operation.Divide [ number; sizeExpr stride ]

        d,
        (if i = 0 then
             quotient
         else
             apply Operation.Remainder [ quotient; sizeExpr (extent d.Size) ]))
