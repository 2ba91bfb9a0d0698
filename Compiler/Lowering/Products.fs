/// Contractions as matrix products: axes join into rows, columns and sums; what doesn't join becomes a loop over products.
module Legato.Compiler.Products

open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Compiler.Place
open Legato.Compiler.Region

/// Axes that all places walk as one, joined: (count, stride in each place), outermost first.
let joinAxes (dims: Dim list) (places: Place list) : (Extent * Extent list) list =
    let strides (d: Dim) = places |> List.map (fun p -> p.Stride d.Name |> Option.defaultValue Extent.Zero)

    (dims |> List.filter (fun d -> d.Size <> Fixed 1L), [])
    ||> List.foldBack (fun d joined ->
        let size, steps = extent d.Size, strides d

        match joined with
        | (count, inner: Extent list) :: rest when
            List.forall2 (fun (outer: Extent) (i: Extent) -> outer.Equals(count * i)) steps inner
            ->
            (size * count, inner) :: rest
        | _ -> (size, steps) :: joined)

let private isUnit (e: Extent) = e.Equals Extent.One

/// Rows and columns of a product: the axes that one operand alone has.
let private sides (node: Node) =
    let a, b = node.Inputs[0], node.Inputs[1]
    let only (x: Node) (other: Node) = fun (d: Dim) -> Node.hasAxis d.Name x && not (Node.hasAxis d.Name other)
    node.Dims |> List.filter (only a b), node.Dims |> List.filter (only b a)

/// What a product is called where no parameter has to do with it.
let nameOf (node: Node) : string =
    let rows, columns = sides node
    let axesOf (dims: Dim list) = dims |> List.map (fun d -> Emit.axisVariable d.Name) |> String.concat "*"
    $"{axesOf rows} x {axesOf columns}"

let lower (region: Region) (name: string) (axes: string list) (node: Node) (result: Node) (accumulate: bool) =
    let a, b = node.Inputs[0], node.Inputs[1]
    let inA (d: Dim) = Node.hasAxis d.Name a
    let inB (d: Dim) = Node.hasAxis d.Name b
    let rows, columns = sides node
    let batch = node.Dims |> List.filter (fun d -> inA d && inB d)
    let summed (x: Node) = x.Dims |> List.filter (fun d -> List.contains d.Name axes)
    let out = region.PlaceOf result

    let joined (placeA: Place) (placeB: Place) =
        let sums = [ summed a; summed b ] |> List.map (fun order -> joinAxes order [ placeA; placeB ])

        joinAxes rows [ placeA; out ],
        joinAxes columns [ placeB; out ],
        sums |> List.minBy List.length,
        joinAxes batch [ placeA; placeB; out ]

    let good (m: (Extent * Extent list) list) (n: (Extent * Extent list) list) (k: (Extent * Extent list) list) =
        let strideAt i (axis: (Extent * Extent list) list) =
            axis |> List.tryLast |> Option.map (fun (_, s) -> List.item i s)

        let unitOrNone s =
            match s with
            | None -> true
            | Some e -> isUnit e

        // What needs a loop of products around it can't have an epilogue.
        let needsNoLoop = m.Length <= 1 && n.Length <= 1

        k.Length <= 1
        && (needsNoLoop || result.Id = node.Id)
        && (unitOrNone (strideAt 0 m) || unitOrNone (strideAt 0 k))
        && (unitOrNone (strideAt 0 n) || unitOrNone (strideAt 1 k))

    let placeA, placeB = region.View a, region.View b

    let placeA, placeB =
        let m, n, k, _ = joined placeA placeB

        if good m n k then
            placeA, placeB
        else
            let order = summed b
            let first = permuted region a (batch @ rows @ order)
            let m, n, k, _ = joined first placeB

            if good m n k then
                first, placeB
            else
                first, permuted region b (batch @ columns @ order)

    let m, n, k, outer = joined placeA placeB
    let none = [ Extent.Zero; Extent.Zero ]
    let last axis = axis |> List.tryLast |> Option.defaultValue (Extent.One, none)

    let before axis =
        match axis with
        | [] -> []
        | l -> List.take (List.length l - 1) l

    let mCount, mStrides = last m
    let nCount, nStrides = last n
    let kCount, kStrides = last k

    let loops = [|
        for count, s in outer do
            BatchLoop(count, s[0], s[1], s[2])
        for count, s in before m do
            BatchLoop(count, s[0], Extent.Zero, s[1])
        for count, s in before n do
            BatchLoop(count, Extent.Zero, s[0], s[1])
    |]

    // A missing axis has one index; any stride will do, and 1 keeps operands packed.
    let strideOr fallback axis (s: Extent list) i = if List.isEmpty axis then fallback else s[i]

    let left =
        Matrix(
            placeA.View,
            strideOr (strideOr Extent.One k kStrides 0 * kCount) m mStrides 0,
            strideOr Extent.One k kStrides 0
        )

    let right =
        Matrix(
            placeB.View,
            strideOr Extent.One k kStrides 1,
            strideOr (strideOr Extent.One k kStrides 1 * kCount) n nStrides 0
        )

    let output = Matrix(out.View, strideOr nCount m mStrides 1, strideOr Extent.One n nStrides 1)

    let epilogue, operands =
        if result.Id = node.Id || accumulate then
            null, []
        else
            let kernel, views =
                AnchorKernels.epilogue (region.Writer()) "epilogue" node result out rows columns region.InMemory

            kernel, List.tail views

    let total = elements node.Dims * kCount

    let bytes =
        bytesOf placeA (elements a.Dims)
        + bytesOf placeB (elements b.Dims)
        + bytesOf out (elements node.Dims)

    region.Steps.Add(
        Step.MatrixProduct(
            name,
            Cost(Extent.Of 2L * total, bytes),
            mCount,
            nCount,
            kCount,
            left,
            right,
            output,
            accumulate,
            loops,
            epilogue,
            List.toArray operands
        )
    )
