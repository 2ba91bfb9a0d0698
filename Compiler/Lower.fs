/// From units to steps: every value gets a place, every unit becomes kernels, products, attentions and loops.
///
/// Takes a call's graph; gives its buffers (without addresses) and its steps in order. Values are written where they
/// are wanted at once: a loop's results in its carries and stacks, new parameters over old ones, appended keys in the
/// cache; where that would overwrite something still to be read, through a copy.
module Legato.Compiler.Lower

open System.Collections.Generic
open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Compiler.Place

/// A value that a region leaves behind: where it should be, and which placed node lives there until then.
type private Result = { Node: Node; Target: Place option; Resident: Node option }

/// What lowering builds up.
type private State = {
    Buffers: Buffers
    Setup: List<Step>
    Constants: Dictionary<int, Place>
    /// What a placed node is called in step names.
    Labels: Dictionary<int, string>
    mutable Loops: int
}

let private bytesOf (place: Place) (count: Extent) = count * Extent.Of(int64 (place.Type.Size()))

let private product (dims: Dim list) = elements dims

// Arithmetic of one evaluation of each statement, times the loops around it.
let private kernelCost (kernel: Kernel) (bytes: Extent) =
    let rec ops (e: Expr) =
        match e with
        | :? Expr.Apply as a -> 1L + (a.Operands |> Array.sumBy ops)
        | _ -> 0L

    let range (l: Statement.Loop) =
        match l.From, l.To with
        | (:? Expr.Integer as f), (:? Expr.Integer as t) -> Extent.Of(t.Value - f.Value)
        | _, (:? Expr.Size as s) -> s.Extent
        | _ -> Extent.One

    let rec flops (s: Statement) : Extent =
        match s with
        | :? Statement.Loop as l -> range l * (l.Body |> Seq.fold (fun sum b -> sum + flops b) Extent.Zero)
        | :? Statement.Let as l -> Extent.Of(ops l.Value)
        | :? Statement.Accumulate as a -> Extent.Of(1L + ops a.Value)
        | :? Statement.Store as s -> Extent.Of(ops s.Value)
        | _ -> Extent.Zero

    Cost(kernel.Body |> Seq.fold (fun sum s -> sum + flops s) Extent.Zero, bytes)

let private constant (state: State) (node: Node) : Place =
    match state.Constants.TryGetValue node.Id, node.Op with
    | (true, place), _ -> place
    | _, Op.ConstVector(values, dim) ->
        let mutable key = 17

        for v in values do
            key <- key * 31 + v.GetHashCode()

        let place = state.Buffers.Add($"constant.{key:x8}", BufferClass.Constant, ScalarType.F32, [ dim ])

        let store i v : Statement =
            Statement.Store(0, Index([| IndexTerm(Expr.Integer(int64 i), Extent.One) |]), Expr.Number v)

        let kernel =
            Kernel(
                "constant",
                [| KernelOperand("out", ScalarType.F32, Access.Write) |],
                [||],
                values |> List.mapi store |> Array.ofList
            )

        state.Setup.Add(
            Step.Fused("constant", kernelCost kernel (bytesOf place (product [ dim ])), kernel, [| place.View |])
        )

        state.Constants[node.Id] <- place
        place
    | _ -> invalidOp "not a constant"

let private lastPart (path: string) = path.Substring(path.LastIndexOf '.' + 1)

/// What a region's lowering knows.
type private Region(state: State, placed: Dictionary<int, Place>, fuse: Fuse.Region) =
    let places = Dictionary<int, Place>(placed)
    let steps = List<Step>()

    member _.State = state
    member _.Steps = steps
    member _.Has(node: Node) = places.ContainsKey node.Id
    member _.Assign(node: Node, place: Place) = places[node.Id] <- place

    /// Whether a node's value lies in memory when another unit wants it.
    member _.InMemory(node: Node) =
        Fuse.isPlaced node
        || places.ContainsKey node.Id
        || (fuse.InMemory.Contains node.Id && not (Fuse.isAnchor node && node.Outputs.Length > 1))

    member this.PlaceOf(node: Node) : Place =
        match places.TryGetValue node.Id with
        | true, place -> place
        | _ ->
            let place = state.Buffers.Add($"t{node.Id}", BufferClass.Activation, scalarType node.Type, node.Dims)
            places[node.Id] <- place
            place

    member this.View(node: Node) : Place = viewOf this.PlaceOf node
    member this.Writer() = Emit.Writer(this.PlaceOf, constant state)

    member _.Label(nodes: Node seq, fallback: string) =
        let names =
            nodes
            |> Seq.choose (fun n ->
                match state.Labels.TryGetValue n.Id with
                | true, l -> Some l
                | _ -> None)
            |> Seq.distinct
            |> List.ofSeq

        match names with
        | [] -> fallback
        | [ one ] -> one
        | first :: _ ->
            let tail = names |> List.map lastPart |> List.distinct |> String.concat "+"
            first.Substring(0, first.Length - (lastPart first).Length) + tail

    member _.AddKernel(name: string, (kernel: Kernel, views: BufferView list), bytes: Extent) =
        steps.Add(Step.Fused(name, kernelCost kernel bytes, kernel, List.toArray views))

let private copyTo (region: Region) name (node: Node) (target: Place) =
    let writer = region.Writer()
    let count = product node.Dims
    region.AddKernel(name, Emit.copy writer name node target region.InMemory, bytesOf target (Extent.Of 2L * count))

/// The node's value in memory in this order of axes, for operands that strides can't express.
let private permuted (region: Region) (node: Node) (dims: Dim list) : Place =
    let place = region.State.Buffers.Add("permuted", BufferClass.Workspace, scalarType node.Type, dims)
    let writer = region.Writer()
    let count = product dims
    // Read through the place, whatever computed the node.
    let source = Node.broadcast dims (Node.placeholder "permuted" node.Dims node.Type)
    region.Assign(source.Inputs.Head, region.View node)

    region.AddKernel(
        "permute",
        Emit.copy writer "permute" source place region.InMemory,
        bytesOf place (Extent.Of 2L * count)
    )

    place

/// Axes that all places walk as one, joined: (count, stride in each place), outermost first.
let private joinAxes (dims: Dim list) (places: Place list) : (Extent * Extent list) list =
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

let private lowerProduct
    (region: Region)
    (axes: string list)
    (node: Node)
    (result: Node)
    (accumulateInto: Place option)
    =
    let a, b = node.Inputs[0], node.Inputs[1]
    let inA (d: Dim) = Node.hasAxis d.Name a
    let inB (d: Dim) = Node.hasAxis d.Name b
    let rows = node.Dims |> List.filter (fun d -> inA d && not (inB d))
    let columns = node.Dims |> List.filter (fun d -> inB d && not (inA d))
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

        k.Length <= 1
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

    let isSum =
        match result.Op with
        | Op.Map(Bin(Add, Arg _, Arg _)) -> result.Inputs |> List.exists (fun i -> i.Id = node.Id)
        | _ -> false

    let accumulate = accumulateInto.IsSome && isSum

    let epilogue, operands =
        if result.Id = node.Id || accumulate then
            null, []
        else
            let kernel, views =
                Emit.epilogue (region.Writer()) "epilogue" node result out rows columns region.InMemory

            kernel, List.tail views

    let total = product node.Dims * kCount

    let bytes =
        bytesOf placeA (product a.Dims) + bytesOf placeB (product b.Dims) + bytesOf out (product node.Dims)

    let name = region.Label([ a; b ] |> List.map Fuse.viewBase, "product")
    let isGradient = summed a |> List.exists (fun d -> d.Name = "Seq" || d.Name = "Batch")
    let axesOf (dims: Dim list) = dims |> List.map (fun d -> Emit.axisVariable d.Name) |> String.concat "*"
    let name = if isGradient then $"d {axesOf rows} x {axesOf columns}" else name

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

let private sumBytes (pairs: (Place * Node) list) =
    pairs |> List.fold (fun sum (p, n) -> sum + bytesOf p (product n.Dims)) Extent.Zero

let private lowerAttention (region: Region) (node: Node) (form: AttendForm) (wantsLogSumExp: bool) =
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

let private lowerAttentionGradient (region: Region) (node: Node) (form: AttendForm) =
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

let private lowerTopK (region: Region) (node: Node) axis (rank: Dim) =
    let x = node.Inputs.Head
    let width = Node.dim axis x
    let ordered = (x.Dims |> List.filter (fun d -> d.Name <> axis)) @ [ width ]

    let isPacked (place: Place) =
        rowMajor ordered
        |> List.forall (fun (a, s) ->
            match place.Stride a with
            | Some t -> t.Equals s
            | None -> false)

    let place = let p = region.View x in if isPacked p then p else permuted region x ordered
    let rows = product (ordered |> List.filter (fun d -> d.Name <> axis))

    let k =
        match rank.Size with
        | Fixed n -> int n
        | Dynamic _ -> invalidOp "a rank is fixed"

    let values, indices = region.PlaceOf(Node.item 0 node), region.PlaceOf(Node.item 1 node)

    region.Steps.Add(
        Step.TopK(
            "top-k",
            Cost(rows * extent width.Size, bytesOf place (product x.Dims)),
            rows,
            extent width.Size,
            k,
            place.View,
            values.View,
            indices.View
        )
    )

let private clusterBytes (region: Region) (reads: Node list) (written: (Place * Node) list) =
    (reads
     |> List.filter region.Has
     |> List.fold (fun sum n -> sum + bytesOf (region.PlaceOf n) (product n.Dims)) Extent.Zero)
    + sumBytes written

let private lowerCluster
    (region: Region)
    (cluster: Fuse.Cluster)
    (reads: Node list)
    (mustStore: Node -> bool)
    (check: Kernel * BufferView list -> bool)
    =
    let roleOf n = Fuse.roleIn cluster.Domain cluster.Inner n |> Option.map fst

    let columns =
        cluster.Members |> Seq.filter (fun n -> roleOf n = Some Fuse.ColumnReduction) |> List.ofSeq

    let inner = cluster.Inner |> Option.defaultValue []

    let sums: Emit.ColumnSum list =
        columns
        |> List.map (fun n ->
            let dims = Emit.partialDims cluster.Domain inner

            {
                Node = n
                Partial = region.State.Buffers.Add("partial", BufferClass.Workspace, ScalarType.F32, dims)
            })

    let name = region.Label(reads, "map")
    let isNorm = cluster.Members |> Seq.exists (fun n -> roleOf n = Some Fuse.RowReduction)
    let name = if name = "map" && isNorm then "reduce" else name
    let kernel = Emit.cluster (region.Writer()) name cluster region.InMemory mustStore sums

    let written =
        cluster.Members |> Seq.filter mustStore |> Seq.map (fun n -> region.PlaceOf n, n) |> List.ofSeq

    if check kernel then
        region.AddKernel(name, kernel, clusterBytes region reads written)

        for sum in sums do
            let target = region.PlaceOf sum.Node
            let dims = sum.Node.Dims
            let parts = extent (Emit.partialDims cluster.Domain inner).Head.Size

            region.AddKernel(
                name + " sum",
                Emit.combine (name + " sum") parts sum.Partial target dims,
                bytesOf target (product dims * Extent.Of 2L)
            )

        true
    else
        false

let rec private lowerRegion
    (state: State)
    (placed: Dictionary<int, Place>)
    (results: Result list)
    : Step list * Place list =
    // What stays in place comes last, so that everything that reads the old value has run.
    let inPlaceLast =
        List.rev (results |> List.filter (fun r -> r.Resident.IsNone))
        @ (results |> List.filter (fun r -> r.Resident.IsSome))

    let fuse = Fuse.units (inPlaceLast |> List.map (fun r -> r.Node))
    let region = Region(state, placed, fuse)
    let units = Array.ofList fuse.Units

    let madeBy = Dictionary<int, int>()

    units
    |> Array.iteri (fun i (unit, _) ->
        match unit with
        | Fuse.Kernel c ->
            for m in c.Members do
                madeBy[m.Id] <- i
        | Fuse.Anchor(node, last) ->
            madeBy[node.Id] <- i
            madeBy[last.Id] <- i)

    let makerOf (node: Node) =
        match node.Op with
        | Op.Item _ -> madeBy.TryGetValue node.Inputs.Head.Id
        | _ -> madeBy.TryGetValue node.Id

    let lastRead = Dictionary<int, int>()
    let readers = Dictionary<int, int>()

    units
    |> Array.iteri (fun i (_, reads) ->
        for r in reads do
            lastRead[r.Id] <- i

            readers[r.Id] <-
                (match readers.TryGetValue r.Id with
                 | true, n -> n + 1
                 | _ -> 1))

    for r in results do
        readers[r.Node.Id] <-
            (match readers.TryGetValue r.Node.Id with
             | true, n -> n + 1
             | _ -> 1)

    // Results that are computed right where they belong; the others are copied there at the end.
    let tentative = Dictionary<int, Result>()
    let late = List<Result>()

    for r in results do
        match r.Target with
        | Some target when not (Fuse.isPlaced r.Node) && not (region.Has r.Node) ->
            match makerOf r.Node with
            | true, unit ->
                let lastResident =
                    match r.Resident with
                    | Some n ->
                        (match lastRead.TryGetValue n.Id with
                         | true, i -> i
                         | _ -> -1)
                    | None -> -1

                let isScanOutput =
                    match r.Node.Op, r.Node.Inputs with
                    | Op.Scan _, _ -> true
                    | Op.Item _, [ several ] ->
                        (match several.Op with
                         | Op.Scan _ -> true
                         | _ -> false)
                    | _ -> false

                let isAppend =
                    match r.Node.Op with
                    | Op.Append _ -> true
                    | _ -> false

                if isAppend then
                    late.Add r
                elif lastResident < unit && not isScanOutput then
                    region.Assign(r.Node, target)
                elif lastResident = unit && not isScanOutput then
                    region.Assign(r.Node, target)
                    tentative[unit] <- r
                else
                    late.Add r
            | _ -> late.Add r
        // A placed value that is wanted elsewhere too is copied before anything overwrites it.
        | Some target when Fuse.isPlaced r.Node && r.Resident.IsNone -> copyTo region "keep" r.Node target
        | Some _ -> late.Add r
        | None -> ()

    let usedOutside (index: int) (node: Node) =
        fuse.Stored.Contains node.Id
        || results |> List.exists (fun r -> r.Node.Id = node.Id)
        || units
           |> Array.indexed
           |> Array.exists (fun (i, (_, reads)) -> i <> index && reads |> List.exists (fun r -> r.Id = node.Id))

    /// A value computed for one reader alone may be computed straight into that reader's memory.
    let adopt (node: Node) (place: Place) =
        let single =
            (match readers.TryGetValue node.Id with
             | true, 1 -> true
             | _ -> false)

        let isPlain =
            match node.Op with
            | Op.Item _ -> false
            | _ ->
                not (Fuse.isAnchor node)
                || node.Outputs.Length = 1
                   && (match node.Op with
                       | Op.Contract _ -> true
                       | _ -> false)

        if single && isPlain && not (Fuse.isPlaced node) && not (region.Has node) && fst (makerOf node) then
            region.Assign(node, place)
            true
        else
            false

    // Places that must be known before their values are made.
    let carryPlaces = Dictionary<int, (Place * bool) list>()
    let scatterCopies = HashSet<int>()

    for unit, _ in units do
        match unit with
        | Fuse.Anchor(node, _) ->
            match node.Op with
            | Op.ScatterAdd _ ->
                let target = region.PlaceOf node

                if not (adopt node.Inputs.Head target) then
                    scatterCopies.Add node.Id |> ignore
            | Op.Scan scan ->
                carryPlaces[node.Id] <-
                    scan.Carries
                    |> List.mapi (fun i carry ->
                        let start = node.Inputs[i]

                        let place =
                            state.Buffers.Add("carry", BufferClass.Activation, scalarType carry.Type, carry.Dims)

                        let isOnce = (node.Inputs |> List.filter ((=) start)).Length = 1
                        place, isOnce && adopt start place)
            | _ -> ()
        | _ -> ()

    units
    |> Array.iteri (fun index (unit, reads) ->
        match unit with
        | Fuse.Kernel cluster ->
            let mustStore (n: Node) = usedOutside index n

            let isSafe (kernel: Kernel, views: BufferView list) =
                match tentative.TryGetValue index with
                | true, r ->
                    let target = r.Target.Value

                    views
                    |> List.indexed
                    |> List.forall (fun (i, v) ->
                        v.Buffer <> target.View.Buffer || (v = target.View && Collapse.isElementwise kernel i))
                | _ -> true

            if not (lowerCluster region cluster reads mustStore isSafe) then
                let r = tentative[index]

                region.Assign(
                    r.Node,
                    state.Buffers.Add($"t{r.Node.Id}", BufferClass.Activation, scalarType r.Node.Type, r.Node.Dims)
                )

                late.Add r
                lowerCluster region cluster reads mustStore (fun _ -> true) |> ignore
        | Fuse.Anchor(node, last) ->
            let inPlace =
                match tentative.TryGetValue index with
                | true, r -> Some r
                | _ -> None

            match node.Op with
            | Op.Contract axes ->
                let isSum =
                    match last.Op with
                    | Op.Map(Bin(Add, Arg _, Arg _)) -> true
                    | _ -> false

                match inPlace with
                | Some r when not (isSum && last.Inputs |> List.exists (fun i -> Some i = r.Resident)) ->
                    region.Assign(
                        r.Node,
                        state.Buffers.Add($"t{r.Node.Id}", BufferClass.Activation, ScalarType.F32, r.Node.Dims)
                    )

                    late.Add r
                    lowerProduct region axes node last None
                | Some r -> lowerProduct region axes node last r.Target
                | None -> lowerProduct region axes node last None
            | Op.Composite(Rope form) ->
                let name = region.Label(Seq.map Fuse.viewBase node.Inputs, "rope")
                let target = region.PlaceOf node

                region.AddKernel(
                    "rope",
                    Emit.rope (region.Writer()) name form node target region.InMemory,
                    clusterBytes region reads [ target, node ]
                )
            | Op.Composite(Attend form) ->
                let lse = Node.item 1 node
                lowerAttention region node form (usedOutside index lse)
            | Op.Composite(AttendGradient form) -> lowerAttentionGradient region node form
            | Op.TopK(axis, rank) -> lowerTopK region node axis rank
            | Op.Append(context, sequence) ->
                let place = region.View node.Inputs.Head
                region.Assign(node, place)
                let fresh = node.Inputs[1]

                region.AddKernel(
                    "append",
                    Emit.append (region.Writer()) "append" context sequence node place region.InMemory,
                    bytesOf place (Extent.Of 2L * product fresh.Dims)
                )
            | Op.ScatterAdd axis ->
                let target = region.PlaceOf node

                if scatterCopies.Contains node.Id then
                    copyTo region "copy" (Node.broadcast node.Dims node.Inputs.Head) target

                let updates = node.Inputs[2]

                region.AddKernel(
                    "scatter-add",
                    Emit.scatterAdd (region.Writer()) "scatter-add" axis node target region.InMemory,
                    bytesOf target (Extent.Of 3L * product updates.Dims)
                )
            | Op.Scan scan -> lowerScan state region node scan carryPlaces[node.Id]
            | op -> invalidOp $"{op.GetType().Name} is no anchor")

    // Values that are wanted elsewhere than where they are: all read before any is overwritten.
    let moves =
        late
        |> Seq.choose (fun r ->
            let target = r.Target.Value
            let isThere = region.Has r.Node && region.PlaceOf(r.Node).View = target.View
            if isThere then None else Some(r, target))
        |> List.ofSeq

    let resident (r: Result) =
        moves
        |> List.exists (fun (o, _) -> o.Resident = Some r.Node && not (System.Object.ReferenceEquals(o, r)))

    let staged =
        moves
        |> List.map (fun (r, target) ->
            if resident r then
                let temporary = state.Buffers.Add("staged", BufferClass.Workspace, scalarType r.Node.Type, r.Node.Dims)
                copyTo region "copy" r.Node temporary
                let stand = Node.placeholder "staged" r.Node.Dims r.Node.Type
                region.Assign(stand, temporary)
                stand, target
            else
                r.Node, target)

    for node, target in staged do
        copyTo region "copy" node target

    List.ofSeq region.Steps,
    results
    |> List.map (fun r ->
        match r.Target with
        | Some t -> t
        | None -> region.View r.Node)

and private lowerScan (state: State) (region: Region) (node: Node) (scan: Scan) (carries: (Place * bool) list) =
    let count = scan.Carries.Length
    let starts, rest = List.splitAt count node.Inputs
    let whole, captured = List.splitAt scan.Slices.Length rest
    let depth = state.Loops
    state.Loops <- depth + 1
    let variable = (Emit.axisVariable scan.Dim.Name) + (if depth = 0 then "" else string depth)

    List.zip starts carries
    |> List.iter (fun (start, (place, adopted)) ->
        if not adopted then
            copyTo region "start" start place)

    let placed = Dictionary<int, Place>()

    let labelled (inner: Node) (outer: Node) =
        match state.Labels.TryGetValue outer.Id with
        | true, label -> state.Labels[inner.Id] <- label
        | _ -> ()

    List.iter2 (fun (p: Node) (place, _) -> placed[p.Id] <- place) scan.Carries carries

    List.iter2
        (fun (p: Node) (outer: Node) ->
            placed[p.Id] <- sliceOf scan.Dim variable (region.View outer)
            labelled p outer)
        scan.Slices
        whole

    List.iter2
        (fun (p: Node) outer ->
            placed[p.Id] <- region.View outer
            labelled p outer)
        scan.Captures
        captured

    // An appended slice of a state stays in the state.
    let stackPlace (r: Node) =
        let stateOf =
            match r.Op with
            | Op.Append _ -> List.tryFindIndex ((=) r.Inputs.Head) scan.Slices
            | _ -> None

        match stateOf with
        | Some i -> region.View whole[i]
        | None -> state.Buffers.Add("stack", BufferClass.Activation, scalarType r.Type, scan.Dim :: r.Dims)

    let stacks = scan.StackResults |> List.map stackPlace

    let results =
        (List.zip3 scan.CarryResults scan.Carries carries
         |> List.map (fun (r, p, (place, _)) -> { Node = r; Target = Some place; Resident = Some p }))
        @ (List.zip scan.StackResults stacks
           |> List.map (fun (r, place) -> { Node = r; Target = Some(sliceOf scan.Dim variable place); Resident = None }))

    let body, _ = lowerRegion state placed results
    state.Loops <- depth

    let n =
        match scan.Dim.Size with
        | Fixed n -> n
        | Dynamic _ -> invalidOp "a loop's length is fixed"

    let cost = body |> List.fold (fun (sum: Cost) step -> sum + step.Cost) Cost.Zero

    region.Steps.Add(
        Step.Loop(Emit.axisVariable scan.Dim.Name, Extent.Of n * cost, variable, n, scan.Reversed, List.toArray body)
    )

    (List.map fst carries @ stacks)
    |> List.iteri (fun i place -> region.Assign(Node.item i node, place))

/// What is lowered: buffers without addresses, and the steps.
type Lowered = { Drafts: Draft list; Setup: Step list; Steps: Step list }

/// Lowers a call. `parameterType` is the storage type of parameters; states of a training step are the optimizer's, those of other calls caches.
let call (purpose: Purpose) (parameterType: ScalarType) (graph: Specialise.Call) : Lowered =
    let state = {
        Buffers = Buffers()
        Setup = List()
        Constants = Dictionary()
        Labels = Dictionary()
        Loops = 0
    }

    let roots = (graph.Outputs |> List.map snd) @ (graph.Updates |> List.collect (fun (a, b) -> [ a; b ]))
    let placed = Dictionary<int, Place>()

    for p in graph.Parameters do
        placed[p.Node.Id] <- state.Buffers.Add(p.Parameter.Path, BufferClass.Parameter, parameterType, p.Node.Dims)
        state.Labels[p.Node.Id] <- p.Parameter.Path

    for node in Node.topological roots do
        match node.Op with
        | Op.Input(name, dims, kind) ->
            placed[node.Id] <- state.Buffers.Add(name, BufferClass.Input, scalarType kind, dims)
        | Op.State(name, dims) ->
            let kind = if purpose = Purpose.Train then BufferClass.Optimizer else BufferClass.Cache
            placed[node.Id] <- state.Buffers.Add(name, kind, ScalarType.F32, dims)
        | _ -> ()

    let results =
        (graph.Outputs
         |> List.map (fun (name, node) -> {
             Node = node
             Target = Some(state.Buffers.Add(name, BufferClass.Output, scalarType node.Type, node.Dims))
             Resident = None
         }))
        @ (graph.Updates
           |> List.map (fun (target, node) -> { Node = node; Target = Some placed[target.Id]; Resident = Some target }))

    let steps, _ = lowerRegion state placed results

    { Drafts = state.Buffers.All; Setup = List.ofSeq state.Setup; Steps = steps }
