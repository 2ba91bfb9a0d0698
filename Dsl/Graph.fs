namespace Legato.Dsl

open System
open System.Collections.Concurrent
open System.Collections.Generic

/// A mistake in a model: what is wrong, where (a parameter path, an axis), and what to do.
exception ModelError of what: string * where: string * remedy: string with
    override this.Message = $"{this.what}\n  where: {this.where}\n  remedy: {this.remedy}"

/// The size of an axis: known now, or bound when a plan is launched.
type Size =
    | Fixed of int64
    | Dynamic of string

    override this.ToString() =
        match this with
        | Fixed n -> string n
        | Dynamic name -> name

/// A named axis with its size.
type Dim = {
    Name: string
    Size: Size
} with

    override this.ToString() = $"{this.Name}:{this.Size}"

type ElementType =
    | Float
    | Integer
    | Boolean

type Reduction =
    | Sum
    | Maximum

type Initializer =
    | Zeros
    | Ones
    | Constant of float
    /// Normal with this deviation.
    | Normal of float
    /// Uniform in ± this bound.
    | Uniform of float

type Parameter = {
    /// Names joined by dots; stable, since checkpoints use it.
    Path: string
    Initializer: Initializer
    /// Whether the optimizer's weight decay applies (matrices and embeddings: yes; vectors: no).
    Decays: bool
}

/// Which part of a head's features rotary positions turn, and how pairs lie: halves (i, i + n/2) or interleaved (2i, 2i + 1).
type RopeForm = {
    Feature: string
    Rotary: int64
    Interleaved: bool
    /// Turn back, by the opposite angles: the gradient.
    Inverse: bool
}

/// The axes and the scalar expressions of an attention. Mask and Score are over the variables b, h, q, k, score
/// and `Arg i` for the i-th extra operand.
type AttendForm = {
    Sequence: string
    Context: string
    Heads: string
    KeyHeads: string
    Feature: string
    ValueFeature: string
    Scale: float
    Mask: Scalar option
    Score: Scalar option
    /// Each head has one more key, whose score is its sink and whose value is nothing.
    Sinks: bool
} with

    /// How many extra operands mask and score read.
    member form.Extras =
        [ form.Mask; form.Score ]
        |> List.choose id
        |> List.collect Scalar.args
        |> List.fold (fun count i -> max count (i + 1)) 0

    /// The sinks and the past where there are any, and the extras: what an attention has behind q, k and v.
    member form.Split(rest: 'T list) : 'T option * 'T option * 'T list =
        let sinks, rest = if form.Sinks then Some rest.Head, rest.Tail else None, rest

        if rest.Length > form.Extras then
            sinks, Some rest.Head, rest.Tail
        else
            sinks, None, rest

/// A product with the matrix that each row's group has: `Group` is the table's axis that the index picks from, `Summed` those
/// that the product sums over. The table's first axis is the group's; the axes summed over follow each other.
type GroupedForm = { Group: string; Summed: string list }

/// An operation whose meaning is its decomposition into plain nodes (Composites.fs), with a gradient or a kernel of its own.
type Composite =
    /// x, cos, sin → x turned; cos and sin over (…, Pair).
    | Rope of RopeForm
    /// q, k, v, sinks or none, past or none, extras → output, log-sum-exp.
    | Attend of AttendForm
    /// q, k, v, output, log-sum-exp, output gradient → gradients of q, k, v.
    | AttendGradient of AttendForm
    /// x, table, index → x times the matrix at the index.
    | GroupedProduct of GroupedForm
    /// Output gradient, x, index → gradient of a grouped product's table, which has these axes.
    | GroupedGradient of table: Dim list

/// The kinds of node. GRAPH.md in the compiler's folder specifies each.
[<CustomEquality; NoComparison>]
type Op =
    | Input of name: string * dims: Dim list * ElementType
    | Param of Parameter * dims: Dim list
    | State of name: string * dims: Dim list
    | Const of float
    | ConstVector of values: float list * dim: Dim
    | Iota of Dim
    | Map of Scalar
    | Reduce of Reduction * axes: string list
    | Contract of axes: string list
    | Rename of (string * string) list
    | Split of axis: string * outer: Dim * inner: Dim
    | Merge of outer: string * inner: string * name: string
    | Slice of axis: string * start: int64 * length: int64
    | Pad of axis: string * before: int64 * total: int64
    | Gather of axis: string
    | ScatterAdd of axis: string
    | TopK of axis: string * rank: Dim
    | Append of context: string * sequence: string
    | Broadcast of Dim list
    | Scan of Scan
    | Composite of Composite
    | Item of int

    override this.Equals other =
        match other with
        | :? Op as o -> Op.Same(this, o)
        | _ -> false

    override this.GetHashCode() = (Op.Key this).GetHashCode()

    static member private Key op : obj =
        match op with
        | Input(n, d, t) -> box (0, n, d, t)
        | Param(p, d) -> box (1, p, d)
        | State(n, d) -> box (2, n, d)
        | Const x -> box (3, x)
        | ConstVector(v, d) -> box (4, v, d)
        | Iota d -> box (5, d)
        | Map s -> box (6, s)
        | Reduce(r, a) -> box (7, r, a)
        | Contract a -> box (8, a)
        | Rename m -> box (9, m)
        | Split(a, o, i) -> box (10, a, o, i)
        | Merge(o, i, n) -> box (11, o, i, n)
        | Slice(a, s, l) -> box (12, a, s, l)
        | Pad(a, b, t) -> box (13, a, b, t)
        | Gather a -> box (14, a)
        | ScatterAdd a -> box (15, a)
        | TopK(a, k) -> box (16, a, k)
        | Append(c, s) -> box (17, c, s)
        | Broadcast d -> box (18, d)
        | Scan s -> box (19, s.Identity)
        | Composite c -> box (20, c)
        | Item i -> box (21, i)

    static member private Same(a, b) = (Op.Key a).Equals(Op.Key b)

/// A loop over an axis, its body a closed graph over placeholders (Input nodes of its own).
/// Inputs of the node: carries' starts, stacked tensors, captures. Outputs: carries' ends, then stacked results, then the last ones.
and Scan = {
    Dim: Dim
    Reversed: bool
    /// Placeholders of what one iteration hands to the next.
    Carries: Node list
    /// Placeholders of one slice of each stacked input.
    Slices: Node list
    /// Placeholders of what is the same in every iteration.
    Captures: Node list
    CarryResults: Node list
    StackResults: Node list
    /// What the last iteration alone computes.
    LastResults: Node list
} with

    member this.Results = this.CarryResults @ this.StackResults @ this.LastResults

    member internal this.Identity =
        let ids nodes = nodes |> List.map (fun (n: Node) -> n.Id)

        (this.Dim,
         this.Reversed,
         ids this.Carries,
         ids this.Slices,
         ids this.Captures,
         ids this.CarryResults,
         ids this.StackResults,
         ids this.LastResults)

/// A node of the graph: immutable, and the same object whenever operation and inputs are the same.
and [<AllowNullLiteral>] Node internal (id: int, op: Op, inputs: Node list, outputs: (Dim list * ElementType) list) =
    member _.Id = id
    member _.Op = op
    member _.Inputs = inputs
    /// Axes and type of every output; nodes with more than one are read through Item.
    member _.Outputs = outputs
    /// The axes, outermost first: also the order in which a buffer of this node lies in memory.
    member _.Dims = fst outputs.Head
    member _.Type = snd outputs.Head
    member this.Axes = this.Dims |> List.map (fun (d: Dim) -> d.Name)

    override _.Equals other =
        match other with
        | :? Node as n -> n.Id = id
        | _ -> false

    override _.GetHashCode() = id
    override this.ToString() = $"%%{id}"

    interface IComparable with
        member _.CompareTo other =
            match other with
            | :? Node as n -> compare id n.Id
            | _ -> invalidArg (nameof other) "not a node"
