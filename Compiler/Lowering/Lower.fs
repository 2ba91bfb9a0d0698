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
open Legato.Compiler.Flow
open Legato.Compiler.Results
open Legato.Compiler.Starts
open Legato.Compiler.StepNames

/// Lowers one region.
type private RegionLowering(state: State, placed: Dictionary<int, Place>, left: Result list) =
    // The results that need least come first, so that what they read may be overwritten soon; what stays in place comes
    // last, so that everything that reads the old value has run.
    let order =
        let staying, fresh = left |> List.partition (fun r -> r.Resident.IsSome)
        (fresh |> List.sortBy (fun r -> (Node.topological [ r.Node ]).Length)) @ staying

    let fuse = Fuse.units (order |> List.map (fun r -> r.Node))
    let region = Region(state, placed, fuse)
    let flow = Flow(fuse, left)
    let results = Results(region, flow, left)
    let starts = Starts(region, flow)
    let names = StepNames(region, flow)

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

        let name = names.OfCluster(index, reads, (if cluster.Inner.IsSome then "reduce" else "map"))
        let write () = ClusterKernel.write (region.Writer()) name cluster region.InMemory mustStore sums
        let kernel, views = write ()

        let isSafe (r: Result) =
            views
            |> List.indexed
            |> List.forall (fun (i, view) ->
                view.Buffer <> r.Target.View.Buffer || (view = r.Target.View && Collapse.isElementwise kernel i))

        let unsafe = results.Overwriting index |> List.filter (isSafe >> not)
        List.iter results.Retreat unsafe
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

        let name = names.OfAnchor(index, [ for x in node.Inputs -> Units.viewBase x ], Products.nameOf node)

        match results.Overwriting index with
        | [ r ] when accumulates r -> Products.lower region name axes node last true
        | rs ->
            List.iter results.Retreat rs
            Products.lower region name axes node last false

    let lowerAnchor index (node: Node) (last: Node) reads =
        match node.Op with
        | Op.Contract _ -> ()
        | _ -> results.Overwriting index |> List.iter results.Retreat

        match node.Op with
        | Op.Contract axes -> lowerProduct index axes node last
        | Op.Composite(GroupedProduct form) ->
            let name = names.OfAnchor(index, [ Units.viewBase node.Inputs[1] ], "grouped product")
            Grouped.lower region name form node last
        | Op.Composite(GroupedGradient table) ->
            Grouped.lowerGradient region (names.OfAnchor(index, [], "grouped gradient")) table node
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

            if starts.IsCopied node then
                copyTo region "copy" (Node.broadcast node.Dims node.Inputs.Head) target

            let kernel = AnchorKernels.scatterAdd (region.Writer()) "scatter-add" axis node target region.InMemory

            region.AddKernel(
                names.OfAnchor(index, [], "scatter-add"),
                kernel,
                bytesOf target (Extent.Of 3L * elements node.Inputs[2].Dims)
            )
        | Op.Scan scan ->
            let body inside left =
                let body = RegionLowering(state, inside, left)
                body.Lower(), body.NameOf

            Loops.lower region node scan (starts.Carries node) body
        | op -> invalidOp $"{op.GetType().Name} is no anchor"

    /// Where a value of this region lies, if it does.
    member _.TryPlace(node: Node) =
        let whole = Units.viewBase node

        if region.Has whole && not (Units.isPlaced whole) then
            Some(region.PlaceOf whole)
        else
            None

    /// The region's steps.
    member _.Lower() : Step list =
        results.Place()

        for unit, _ in flow.Units do
            match unit with
            | Units.Anchor(node, _) -> starts.Place node
            | Units.Kernel _ -> ()

        flow.Units
        |> Array.iteri (fun index (unit, reads) ->
            match unit with
            | Units.Kernel cluster -> lowerCluster index cluster reads
            | Units.Anchor(node, last) -> lowerAnchor index node last reads)

        results.MoveLate()
        List.ofSeq region.Steps

    /// What the step is called that makes a value of this region, once it is lowered.
    member _.NameOf(node: Node) : string option = names.OfMaker node

/// Names what a head makes of every token, as far as it stands in memory whole, and its gradient: the loss follows from the
/// one, and not from the other.
let private nameLogits (buffers: Buffers) (region: RegionLowering) (outputs: (string * Node) list) roots =
    let isLogits node = Node.hasAxis "Vocab" node && (Node.hasAxis "Batch" node || Node.hasAxis "Seq" node)

    for loss in outputs |> List.filter (fun (name, _) -> name = "loss") |> List.map snd do
        let forward = Node.topological [ loss ] |> List.map _.Id |> HashSet

        for node in Node.topological roots |> List.filter isLogits do
            match region.TryPlace node with
            | Some place when buffers.IsUnnamed place ->
                buffers.Rename(place, (if forward.Contains node.Id then "" else StepNames.gradient) + "logits")
            | _ -> ()

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

    for name, node in outputs do
        state.LabelResult(node, name)

    for parameter, gradient in graph.Gradients do
        state.LabelResult(gradient, StepNames.gradient + parameter.Path)

    for target, value in updates do
        match target.Op with
        | Op.Param(parameter, _) -> state.LabelResult(value, StepNames.update + parameter.Path)
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
        |> Option.iter (fun place ->
            state.Buffers.Reclass(place, StepNames.gradient + parameter.Path, BufferClass.Gradient))

    nameLogits state.Buffers region outputs roots
    { Drafts = state.Buffers.All; Setup = state.Setup; Steps = steps }
