/// Attention, its gradient and top-k as steps.
module Legato.Compiler.Attentions

open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Compiler.Place
open Legato.Compiler.Region

let private headTensor (place: Place) heads position =
    let stride axis = place.Stride axis |> Option.defaultValue Extent.Zero
    HeadTensor(place.View, stride "Batch", stride position, stride heads)

// Where an extra operand has its element for b, h, q and k. Query positions count from the past.
let private elementOf (form: AttendForm) (past: Expr option) (place: Place) number : Expr =
    let variable name = Expr.Variable name :> Expr

    let row =
        match past with
        | Some p -> Expr.Apply(Operation.Subtract, variable "q", p) :> Expr
        | None -> variable "q"

    let at axis : Expr =
        if axis = form.Heads then variable "h"
        elif axis = form.Sequence then row
        elif axis = form.Context then variable "k"
        else variable "b"

    Expr.Load(number, Index [| for axis, stride in place.Strides -> IndexTerm(at axis, stride) |])

let private isIndexed (form: AttendForm) (extra: Node) = Node.hasAxis form.Sequence extra

/// The extra operands of an attention in memory, with how mask and score read each. Those over the query's positions read
/// the past too.
let private extrasOf (region: Region) (form: AttendForm) (past: Node option) (extras: Node list) =
    let places = extras |> List.map region.View

    let needed =
        past |> Option.filter (fun _ -> extras |> List.exists (isIndexed form)) |> Option.map region.View

    let pastAt = needed |> Option.map (fun place -> elementOf form None place extras.Length)
    let loads = places |> List.mapi (fun i place -> elementOf form pastAt place i)
    [| for place in places @ Option.toList needed -> place.View |], loads

let private attentionShape (form: AttendForm) (loads: Expr list) (q: Node) (k: Node) (v: Node) =
    let size axis node = extent (Node.dim axis node).Size
    let batch = if Node.hasAxis "Batch" q then size "Batch" q else Extent.One
    let expr s = s |> Option.map (Emit.scalar (fun i -> loads[i])) |> Option.toObj

    AttentionShape(
        batch,
        size form.Heads q,
        size form.KeyHeads k,
        size form.Sequence q,
        size form.Context k,
        size form.Feature q,
        size form.ValueFeature v,
        form.Scale,
        expr form.Mask,
        expr form.Score
    )

// Forward has two products of scores, backward five; a causal mask halves each.
let private attentionFlops (form: AttendForm) (shape: AttentionShape) (products: int64) =
    let isCausal =
        match form.Mask with
        | Some m -> (string m).Contains "LessOrEqual(k, q)"
        | None -> false

    let width = (shape.HeadSize.Constant + shape.ValueSize.Constant) * products

    shape.Batch
    * shape.Heads
    * shape.QueryLength
    * shape.KeyLength
    * Extent.Of(if isCausal then width / 2L else width)

let lower (region: Region) (node: Node) (form: AttendForm) (wantsLogSumExp: bool) =
    let q, k, v = node.Inputs[0], node.Inputs[1], node.Inputs[2]
    let output, lse = Node.item 0 node, Node.item 1 node
    let _, pastNode, extraNodes = form.Split(List.skip 3 node.Inputs)
    let extras, loads = extrasOf region form pastNode extraNodes
    let shape = attentionShape form loads q k v
    let pq, pk, pv, po = region.View q, region.View k, region.View v, region.PlaceOf output

    let past = pastNode |> Option.map (fun p -> (region.View p).View) |> Option.toObj
    let bytes = sumBytes [ pq, q; pk, k; pv, v; po, output ]

    region.Steps.Add(
        Step.Attention(
            "attention",
            Cost(attentionFlops form shape 2L, bytes),
            shape,
            headTensor pq form.Heads form.Sequence,
            headTensor pk form.KeyHeads form.Context,
            headTensor pv form.KeyHeads form.Context,
            headTensor po form.Heads form.Sequence,
            (if wantsLogSumExp then (region.PlaceOf lse).View else null),
            past,
            extras
        )
    )

let lowerGradient (region: Region) (node: Node) (form: AttendForm) =
    let operands = node.Inputs |> List.map (fun n -> region.View n)
    let q, k, v, o, lse, g = operands[0], operands[1], operands[2], operands[3], operands[4], operands[5]
    let extras, loads = extrasOf region form None (List.skip 6 node.Inputs)
    let shape = attentionShape form loads node.Inputs[0] node.Inputs[1] node.Inputs[2]
    let gradients = [ for i in 0..2 -> Node.item i node ]
    let places = gradients |> List.map region.PlaceOf

    let rowDot =
        region.State.Buffers.Add("row_dot", BufferClass.Workspace, ScalarType.F32, node.Inputs[4].Dims)

    let bytes = sumBytes (List.zip operands node.Inputs @ List.zip places gradients)

    region.Steps.Add(
        Step.AttentionGradient(
            "d attention",
            Cost(attentionFlops form shape 5L, bytes),
            shape,
            headTensor q form.Heads form.Sequence,
            headTensor k form.KeyHeads form.Context,
            headTensor v form.KeyHeads form.Context,
            headTensor o form.Heads form.Sequence,
            lse.View,
            headTensor g form.Heads form.Sequence,
            headTensor places[0] form.Heads form.Sequence,
            headTensor places[1] form.KeyHeads form.Context,
            headTensor places[2] form.KeyHeads form.Context,
            rowDot.View,
            extras
        )
    )

let lowerTopK (region: Region) (node: Node) axis (rank: Dim) =
    let x = node.Inputs.Head
    let width = Node.dim axis x
    let ordered = (x.Dims |> List.filter (fun d -> d.Name <> axis)) @ [ width ]
    let place = let p = region.View x in if isPacked p ordered then p else permuted region x ordered
    let rows = elements (ordered |> List.filter (fun d -> d.Name <> axis))

    let k =
        match rank.Size with
        | Fixed n -> int n
        | Dynamic _ -> invalidOp "a rank is fixed"

    let values, indices = region.PlaceOf(Node.item 0 node), region.PlaceOf(Node.item 1 node)

    region.Steps.Add(
        Step.TopK(
            "top-k",
            Cost(rows * extent width.Size, bytesOf place (elements x.Dims)),
            rows,
            extent width.Size,
            k,
            place.View,
            values.View,
            indices.View
        )
    )
