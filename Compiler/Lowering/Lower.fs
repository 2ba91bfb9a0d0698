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
open Legato.Compiler.Region

/// A value that a region leaves behind: where it should be, and which placed node lives there until then.
type private Result = { Node: Node; Target: Place; Resident: Node option }

let private isScan (node: Node) =
    match node.Op with
    | Op.Scan _ -> true
    | _ -> false

let private isAppend (node: Node) =
    match node.Op with
    | Op.Append _ -> true
    | _ -> false

/// The node that computes a value: outputs of a node with several are its items.
let private maker (node: Node) =
    match node.Op with
    | Op.Item _ -> node.Inputs.Head
    | _ -> node

/// Who makes and reads what in a region.
type private Flow(fuse: Fuse.Region, results: Result list) =
    let units = Array.ofList fuse.Units
    let made = Dictionary<int, int>()
    let read = Dictionary<int, List<int>>()

    do
        units
        |> Array.iteri (fun i (unit, reads) ->
            match unit with
            | Units.Kernel cluster ->
                for m in cluster.Members do
                    made[m.Id] <- i
            | Units.Anchor(node, last) ->
                made[node.Id] <- i
                made[last.Id] <- i

            for r in reads do
                match read.TryGetValue r.Id with
                | true, list -> list.Add i
                | _ -> read[r.Id] <- List [ i ])

    let readersOf (node: Node) =
        match read.TryGetValue node.Id with
        | true, list -> List.ofSeq list
        | _ -> []

    let isResult (node: Node) = results |> List.exists (fun r -> r.Node.Id = node.Id)

    member _.Units = units

    /// The unit that makes a value in this region.
    member _.Made(node: Node) =
        match made.TryGetValue (maker node).Id with
        | true, unit -> Some unit
        | _ -> None

    /// The last unit that reads a value; -1 for none.
    member _.LastRead(node: Node) = List.fold max -1 (readersOf node)

    /// Whether anything but one unit wants a value in memory.
    member _.IsWantedOutside(unit: int, node: Node) =
        fuse.Stored.Contains node.Id || isResult node || readersOf node |> List.exists ((<>) unit)

    /// Whether exactly one unit reads a value, and nobody else wants it.
    member _.HasOneReader(node: Node) = not (isResult node) && (readersOf node).Length = 1

/// Lowers one region.
type private RegionLowering(state: State, placed: Dictionary<int, Place>, results: Result list) =
    // The results that need least come first, so that what they read may be overwritten soon; what stays in place comes
    // last, so that everything that reads the old value has run.
    let order =
        let staying, fresh = results |> List.partition (fun r -> r.Resident.IsSome)
        (fresh |> List.sortBy (fun r -> (Node.topological [ r.Node ]).Length)) @ staying

    let fuse = Fuse.units (order |> List.map (fun r -> r.Node))
    let region = Region(state, placed, fuse)
    let flow = Flow(fuse, results)
    // Results written over what their own unit reads, if that proves to be safe.
    let overwriting = Dictionary<int, Result list>()
    // Results that are copied to their places at the end.
    let late = List<Result>()
    // Carries' places, and whether the carry starts there already.
    let carries = Dictionary<int, (Place * bool) list>()
    let startCopies = HashSet<int>()

    let temporary (node: Node) = state.Buffers.AddUnnamed(state.Storage node, node.Dims)

    // What stays in place is moved from there at the end, unless it stays where it is.
    let isMovedAtTheEnd (resident: Node) = results |> List.exists (fun r -> r.Resident.IsSome && r.Node = resident)

    let placeResult (r: Result) =
        match flow.Made r.Node with
        // A placed value that is wanted elsewhere too is copied before anything overwrites it.
        | None when Units.isPlaced r.Node && r.Resident.IsNone -> copyTo region "keep" r.Node r.Target
        | None -> late.Add r
        | Some _ when region.Has r.Node || isAppend r.Node || isScan (maker r.Node) -> late.Add r
        // Views of it rely on the order of its axes.
        | Some _ when not (isPacked r.Target r.Node.Dims) -> late.Add r
        | Some unit ->
            let lastRead =
                match r.Resident with
                | Some resident when isMovedAtTheEnd resident -> System.Int32.MaxValue
                | Some resident -> flow.LastRead resident
                | None -> -1

            if lastRead > unit then
                late.Add r
            else
                region.Assign(r.Node, r.Target)

                if lastRead = unit then
                    let others =
                        match overwriting.TryGetValue unit with
                        | true, o -> o
                        | _ -> []

                    overwriting[unit] <- r :: others

    /// A value that one unit alone reads may be computed straight into that unit's memory.
    let adopt (node: Node) (place: Place) =
        let isMovable =
            match node.Op with
            | Op.Item _ -> false
            | Op.Contract _ -> true
            | _ -> not (Units.isAnchor node)

        let adopts = isMovable && not (region.Has node) && flow.HasOneReader node && (flow.Made node).IsSome

        if adopts then
            region.Assign(node, place)

        adopts

    /// What a loop has carried to its end, and one anchor alone reads, that anchor may go on with in place.
    let continuesCarry (anchor: Node) (start: Node) =
        match start.Op, carries.TryGetValue (maker start).Id with
        | Op.Item i, (true, places) when i < places.Length && flow.HasOneReader start && not (region.Has anchor) ->
            region.Assign(anchor, fst places[i])
            true
        | _ -> false

    let placeStarts (anchor: Node) =
        match anchor.Op with
        | Op.ScatterAdd _ ->
            let start = anchor.Inputs.Head

            if not (continuesCarry anchor start || adopt start (region.PlaceOf anchor)) then
                startCopies.Add anchor.Id |> ignore
        | Op.Scan scan ->
            let carryPlace i (carry: Node) =
                let start = anchor.Inputs[i]
                let place = state.Buffers.Add("carry", BufferClass.Activation, state.Storage carry, carry.Dims)
                let isOnce = (anchor.Inputs |> List.filter ((=) start)).Length = 1
                place, isOnce && adopt start place

            carries[anchor.Id] <- List.mapi carryPlace scan.Carries
        | _ -> ()

    let retreat (r: Result) =
        region.Assign(r.Node, temporary r.Node)
        late.Add r

    let lowerCluster index (cluster: Units.Cluster) (reads: Node list) =
        let mustStore node = flow.IsWantedOutside(index, node)
        let columns = Units.columnReductions cluster

        let sums: ClusterKernel.ColumnSum list =
            columns
            |> List.map (fun n -> {
                Node = n
                Partial =
                    state.Buffers.Add(
                        "partial",
                        BufferClass.Workspace,
                        ScalarType.F32,
                        ClusterKernel.partialDims cluster
                    )
            })

        let name = region.Label(reads, (if cluster.Inner.IsSome then "reduce" else "map"))
        let write () = ClusterKernel.write (region.Writer()) name cluster region.InMemory mustStore sums
        let kernel, views = write ()

        let isSafe (r: Result) =
            views
            |> List.indexed
            |> List.forall (fun (i, view) ->
                view.Buffer <> r.Target.View.Buffer || (view = r.Target.View && Collapse.isElementwise kernel i))

        let unsafe =
            match overwriting.TryGetValue index with
            | true, rs -> rs |> List.filter (isSafe >> not)
            | _ -> []

        List.iter retreat unsafe
        let kernel = if unsafe.IsEmpty then kernel, views else write ()

        let written =
            cluster.Members |> Seq.filter mustStore |> Seq.map (fun n -> region.PlaceOf n, n) |> List.ofSeq

        region.AddKernel(name, kernel, readBytes region reads + sumBytes written)

        for sum in sums do
            let target, dims = region.PlaceOf sum.Node, sum.Node.Dims
            let parts = extent (ClusterKernel.partialDims cluster).Head.Size
            let bytes = bytesOf target ((parts + Extent.One) * elements dims)
            region.AddKernel(name + " sum", ClusterKernel.combine (name + " sum") parts sum target, bytes)

    let lowerProduct index axes (node: Node) (last: Node) =
        // x + a·b over x itself is a product that accumulates; x + (y + a·b) is not.
        let accumulates (r: Result) =
            match last.Op with
            | Op.Map(Bin(Add, Arg _, Arg _)) ->
                List.contains node last.Inputs && last.Inputs |> List.exists (fun i -> Some i = r.Resident)
            | _ -> false

        match overwriting.TryGetValue index with
        | true, [ r ] when accumulates r -> Products.lower region axes node last true
        | true, rs ->
            List.iter retreat rs
            Products.lower region axes node last false
        | _ -> Products.lower region axes node last false

    // Inside a loop: carries and captures are where they are outside, stacked values one slice of it.
    let lowerScan (node: Node) (scan: Scan) (starts: (Place * bool) list) =
        let wholes, captured = node.Inputs |> List.skip scan.Carries.Length |> List.splitAt scan.Slices.Length

        let variable = state.EnterLoop scan.Dim

        List.zip node.Inputs[.. scan.Carries.Length - 1] starts
        |> List.iter (fun (start, (place, isThere)) ->
            if not isThere then
                copyTo region "start" start place)

        let inside = Dictionary<int, Place>()
        let slice place = sliceOf scan.Dim variable place

        let enter (inner: Node) (outer: Node) place =
            inside[inner.Id] <- place
            state.Relabel(inner, outer)

        List.iter2 (fun (p: Node) (place, _) -> inside[p.Id] <- place) scan.Carries starts
        // Views inside rely on the order of axes: what lies otherwise in memory comes in through a copy.
        let packed (outer: Node) dims =
            let place = region.View outer
            if isPacked place dims then place else permuted region outer dims

        List.iter2 (fun (p: Node) outer -> enter p outer (slice (packed outer (scan.Dim :: p.Dims)))) scan.Slices wholes
        List.iter2 (fun (p: Node) outer -> enter p outer (packed outer p.Dims)) scan.Captures captured

        // An appended slice of a state stays in the state.
        let stackPlace (r: Node) =
            let whole = if isAppend r then List.tryFindIndex ((=) r.Inputs.Head) scan.Slices else None

            match whole with
            | Some i -> region.View wholes[i]
            | None -> state.Buffers.Add("stack", BufferClass.Activation, state.Storage r, scan.Dim :: r.Dims)

        let stacks = scan.StackResults |> List.map stackPlace

        let carried =
            List.zip3 scan.CarryResults scan.Carries starts
            |> List.map (fun (r, p, (place, _)) -> { Node = r; Target = place; Resident = Some p })

        let stacked =
            List.zip scan.StackResults stacks
            |> List.map (fun (r, place) -> { Node = r; Target = slice place; Resident = None })

        let body: Step list = RegionLowering(state, inside, carried @ stacked).Lower()
        state.LeaveLoop()

        let count =
            match scan.Dim.Size with
            | Fixed n -> n
            | Dynamic _ -> invalidOp "a loop's length is fixed"

        let cost = body |> List.fold (fun (sum: Cost) step -> sum + step.Cost) Cost.Zero
        let name = Emit.axisVariable scan.Dim.Name
        region.Steps.Add(Step.Loop(name, Extent.Of count * cost, variable, count, scan.Reversed, List.toArray body))
        List.map fst starts @ stacks |> List.iteri (fun i place -> region.Assign(Node.item i node, place))

    let lowerAnchor index (node: Node) (last: Node) reads =
        match overwriting.TryGetValue index, node.Op with
        | _, Op.Contract _
        | (false, _), _ -> ()
        | (true, rs), _ -> List.iter retreat rs

        match node.Op with
        | Op.Contract axes -> lowerProduct index axes node last
        | Op.Composite(GroupedProduct form) -> Grouped.lower region form node last
        | Op.Composite(GroupedGradient table) -> Grouped.lowerGradient region table node
        | Op.Composite(Rope form) ->
            let target = region.PlaceOf node
            let kernel = AnchorKernels.rope (region.Writer()) "rope" form node target region.InMemory
            region.AddKernel("rope", kernel, readBytes region reads + sumBytes [ target, node ])
        | Op.Composite(Attend form) -> Attentions.lower region node form (flow.IsWantedOutside(index, Node.item 1 node))
        | Op.Composite(AttendGradient form) -> Attentions.lowerGradient region node form
        | Op.TopK(axis, rank) -> Attentions.lowerTopK region node axis rank
        | Op.Append(context, sequence) ->
            let place = region.View node.Inputs.Head
            region.Assign(node, place)
            let kernel = AnchorKernels.append (region.Writer()) "append" context sequence node place region.InMemory
            region.AddKernel("append", kernel, bytesOf place (Extent.Of 2L * elements node.Inputs[1].Dims))
        | Op.ScatterAdd axis ->
            let target = region.PlaceOf node

            if startCopies.Contains node.Id then
                copyTo region "copy" (Node.broadcast node.Dims node.Inputs.Head) target

            let kernel = AnchorKernels.scatterAdd (region.Writer()) "scatter-add" axis node target region.InMemory
            region.AddKernel("scatter-add", kernel, bytesOf target (Extent.Of 3L * elements node.Inputs[2].Dims))
        | Op.Scan scan -> lowerScan node scan carries[node.Id]
        | op -> invalidOp $"{op.GetType().Name} is no anchor"

    // Values that are wanted elsewhere than where they are: all read before any is overwritten.
    let moveLate () =
        let moves =
            late
            |> Seq.filter (fun r -> not (region.Has r.Node && region.PlaceOf(r.Node).View = r.Target.View))
            |> List.ofSeq

        let isOverwritten (r: Result) = moves |> List.exists (fun other -> other.Resident = Some r.Node && other <> r)

        let staged =
            moves
            |> List.map (fun r ->
                if isOverwritten r then
                    let stand = Node.placeholder "staged" r.Node.Dims r.Node.Type
                    let place = temporary r.Node
                    copyTo region "copy" r.Node place
                    region.Assign(stand, place)
                    { r with Node = stand }
                else
                    r)

        for r in staged do
            copyTo region "copy" r.Node r.Target

    /// Where a value of this region lies, if it does.
    member _.TryPlace(node: Node) =
        let whole = Units.viewBase node

        if region.Has whole && not (Units.isPlaced whole) then
            Some(region.PlaceOf whole)
        else
            None

    /// The region's steps.
    member _.Lower() : Step list =
        List.iter placeResult results

        for unit, _ in flow.Units do
            match unit with
            | Units.Anchor(node, _) -> placeStarts node
            | Units.Kernel _ -> ()

        flow.Units
        |> Array.iteri (fun index (unit, reads) ->
            match unit with
            | Units.Kernel cluster -> lowerCluster index cluster reads
            | Units.Anchor(node, last) -> lowerAnchor index node last reads)

        moveLate ()
        List.ofSeq region.Steps

/// What is lowered: buffers without addresses, and the steps.
type Lowered = { Drafts: Draft list; Setup: Step list; Steps: Step list }

/// Lowers a call. States of a training step are the optimizer's, those of other calls caches.
let call (purpose: Purpose) (precision: Precision.Precision) (graph: Specialise.Call) : Lowered =
    let outputs, updates = graph.Outputs, graph.Updates
    let roots = List.map snd outputs @ List.collect (fun (target, value) -> [ target; value ]) updates
    let state = State(Precision.storage precision roots)
    let placed = Dictionary<int, Place>()

    for p in graph.Parameters do
        placed[p.Node.Id] <-
            state.Buffers.Add(p.Parameter.Path, BufferClass.Parameter, precision.Parameters, p.Node.Dims)

        state.Label(p.Node, p.Parameter.Path)

    for node in Node.topological roots do
        match node.Op with
        | Op.Input(name, dims, _) ->
            placed[node.Id] <- state.Buffers.Add(name, BufferClass.Input, state.Storage node, dims)
        | Op.State(name, dims) when purpose = Purpose.Train ->
            placed[node.Id] <- state.Buffers.Add(name, BufferClass.Optimizer, ScalarType.F32, dims)

            if MasterWeights.IsMaster name then
                state.Label(node, name.Substring MasterWeights.Prefix.Length)
        | Op.State(name, dims) ->
            placed[node.Id] <- state.Buffers.Add(name, BufferClass.Cache, state.Storage node, dims)
        | _ -> ()

    let output (name, node: Node) =
        // What a caller reads is float32.
        let kind = if node.Type = Float then ScalarType.F32 else ScalarType.I32
        let place = state.Buffers.Add(name, BufferClass.Output, kind, node.Dims)
        { Node = node; Target = place; Resident = None }

    let update (target: Node, value) = { Node = value; Target = placed[target.Id]; Resident = Some target }
    let region = RegionLowering(state, placed, List.map output outputs @ List.map update updates)
    let steps = region.Lower()

    for parameter, gradient in graph.Gradients do
        region.TryPlace gradient
        |> Option.iter (fun place -> state.Buffers.Reclass(place, "d " + parameter.Path, BufferClass.Gradient))

    { Drafts = state.Buffers.All; Setup = state.Setup; Steps = steps }
