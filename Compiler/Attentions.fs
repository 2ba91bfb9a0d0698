/// Attention, its gradient and top-k as steps.
module Legato.Compiler.Attentions

open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Compiler.Place
open Legato.Compiler.Region

let private headTensor (place: Place) heads position =
    let stride axis = place.Stride axis |> Option.defaultValue Extent.Zero
    HeadTensor(place.View, stride "Batch", stride position, stride heads)

let private attentionShape (form: AttendForm) (q: Node) (k: Node) (v: Node) =
    let size axis node = extent (Node.dim axis node).Size
    let batch = if Node.hasAxis "Batch" q then size "Batch" q else Extent.One
    let expr s = s |> Option.map (Emit.scalar (fun _ -> invalidOp "masks have no operands")) |> Option.toObj

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
    let shape = attentionShape form q k v
    let pq, pk, pv, po = region.View q, region.View k, region.View v, region.PlaceOf output

    let past =
        match node.Inputs with
        | [ _; _; _; p ] -> (region.View p).View
        | _ -> null

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
            [||]
        )
    )

let lowerGradient (region: Region) (node: Node) (form: AttendForm) =
    let operands = node.Inputs |> List.map (fun n -> region.View n)
    let q, k, v, o, lse, g = operands[0], operands[1], operands[2], operands[3], operands[4], operands[5]
    let shape = attentionShape form node.Inputs[0] node.Inputs[1] node.Inputs[2]
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
            [||]
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
