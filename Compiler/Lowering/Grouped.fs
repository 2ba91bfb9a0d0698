/// Products with a matrix for each group of rows, and their gradients, as steps: the rows sorted by group once for each
/// index of groups, the operands brought to rows that follow each other.
module Legato.Compiler.Grouped

open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Compiler.Place
open Legato.Compiler.Region

let private without axes (dims: Dim list) = dims |> List.filter (fun d -> not (List.contains d.Name axes))
let private among axes (dims: Dim list) = dims |> List.filter (fun d -> List.contains d.Name axes)
let private names (dims: Dim list) = dims |> List.map (fun d -> d.Name)

/// The node's value in memory, row by row in this order of axes.
let private packed (region: Region) (node: Node) (dims: Dim list) =
    let place = region.View node
    let isWhole = dims |> List.forall (fun d -> Node.hasAxis d.Name node)
    if isWhole && isPacked place dims then place else permuted region node dims

/// The rows of an index of groups, sorted by a step of their own when first asked for.
let private rowsOf (region: Region) (group: Dim) (index: Node) : RowGroups =
    match region.Dispatched.TryGetValue index.Id with
    | true, rows -> rows
    | _ ->
        let place = packed region index index.Dims
        let workspace name dims = region.State.Buffers.Add(name, BufferClass.Workspace, ScalarType.I32, dims)

        let groups =
            match group.Size with
            | Fixed n -> n
            | Dynamic _ -> invalidOp "the number of groups is fixed"

        let offsets = workspace "offsets" [ { Name = "Bound"; Size = Fixed(groups + 1L) } ]
        let count = elements index.Dims
        let rows = RowGroups(count, int groups, offsets.View, (workspace "order" index.Dims).View)
        let bytes = Extent.Of 12L * count
        region.Steps.Add(Step.Dispatch("dispatch", Cost(Extent.Zero, bytes), rows, place.View))
        region.Dispatched[index.Id] <- rows
        rows

/// Rows of x over these features, shared by the rows of the index that x doesn't tell apart.
let private operand (region: Region) (x: Node) (index: Node) (features: Dim list) : GroupedMatrix =
    let own = index.Dims |> List.takeWhile (fun d -> Node.hasAxis d.Name x)
    let others = index.Dims |> List.skip own.Length
    let isPrefix = others |> List.forall (fun d -> not (Node.hasAxis d.Name x))
    let count = elements others

    let rows, share = if isPrefix && count.IsConstant then own, count.Constant else index.Dims, 1L

    GroupedMatrix((packed region x (rows @ features)).View, elements features, share)

/// Rows and columns of a group's matrix: (count, stride).
let private side (place: Place) (dims: Dim list) =
    match Products.joinAxes dims [ place ] with
    | [] -> Extent.One, Extent.One
    | [ count, [ stride ] ] -> count, stride
    | _ -> invalidOp $"{names dims} is no side of a matrix in memory"

// Of a table's groups no more can be read than there are rows.
let private tableBytes (place: Place) (table: Dim list) (count: Extent) =
    let groups, matrix = extent table.Head.Size, elements table.Tail

    let read = if count.IsConstant && count.Constant < groups.Constant then count else groups

    bytesOf place (read * matrix)

let lower (region: Region) (name: string) (form: GroupedForm) (node: Node) (result: Node) =
    let x, table, index = node.Inputs[0], node.Inputs[1], node.Inputs[2]
    let rows = rowsOf region table.Dims.Head index
    let summed = among form.Summed table.Dims
    let free = table.Dims.Tail |> without form.Summed
    let left, right, out = operand region x index summed, region.View table, region.PlaceOf result
    let (k, kStride), (n, nStride) = side right summed, side right free
    let groupStride = right.Stride form.Group |> Option.defaultValue Extent.Zero
    let output = Matrix(out.View, elements free, Extent.One)

    let kernel, operands =
        if result.Id = node.Id then
            null, []
        else
            let kernel, views =
                AnchorKernels.epilogue (region.Writer()) "epilogue" node result out index.Dims free region.InMemory

            kernel, List.tail views

    let bytes = bytesOf out (elements x.Dims + elements node.Dims) + tableBytes right table.Dims rows.Count

    region.Steps.Add(
        Step.GroupedProduct(
            name,
            Cost(Extent.Of 2L * rows.Count * n * k, bytes),
            rows,
            n,
            k,
            left,
            Matrix(right.View, kStride, nStride),
            groupStride,
            output,
            kernel,
            List.toArray operands
        )
    )

let lowerGradient (region: Region) (name: string) (table: Dim list) (node: Node) =
    let gradient, x, index = node.Inputs[0], node.Inputs[1], node.Inputs[2]
    let rows = rowsOf region table.Head index
    let left, right = table.Tail |> List.partition (fun d -> Node.hasAxis d.Name gradient)
    let out = region.PlaceOf node
    let (m, mStride), (n, nStride) = side out left, side out right
    let bytes = bytesOf out (elements gradient.Dims + elements x.Dims + elements table)

    region.Steps.Add(
        Step.GroupedGradient(
            name,
            Cost(Extent.Of 2L * rows.Count * m * n, bytes),
            rows,
            m,
            n,
            operand region gradient index left,
            operand region x index right,
            Matrix(out.View, mStride, nStride),
            out.Stride table.Head.Name |> Option.defaultValue Extent.Zero
        )
    )
