/// What the lowering of a region (a call, or a loop's body) knows and writes: places of values, and steps.
module Legato.Compiler.Region

open System.Collections.Generic
open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Compiler.Place

/// What lowering builds up.
type State(storage: Node -> ScalarType) =
    let setup = List<Step>()
    let constants = Dictionary<int, Place>()
    let labels = Dictionary<int, string>()
    let resultLabels = Dictionary<int, string>()
    let mutable depth = 0

    member val Buffers = Buffers()
    member _.Setup = List.ofSeq setup

    /// The type that a value has in memory.
    member _.Storage(node: Node) = storage node

    /// What a placed node is called in step names.
    member _.Label(node: Node, name: string) = labels[node.Id] <- name

    member _.LabelOf(node: Node) =
        match labels.TryGetValue node.Id with
        | true, label -> Some label
        | _ -> None

    /// Inside a loop a value keeps its name.
    member this.Relabel(inner: Node, outer: Node) =
        this.LabelOf outer |> Option.iter (fun label -> this.Label(inner, label))

    /// What a value is called in the names of the steps that work for it alone.
    member _.LabelResult(node: Node, name: string) = resultLabels[(Units.viewBase node).Id] <- name

    member _.ResultLabelOf(node: Node) =
        match resultLabels.TryGetValue node.Id with
        | true, label -> Some label
        | _ -> None

    /// What a loop leaves behind has the name of what comes of it.
    member this.RelabelResult(inner: Node, outer: Node) =
        this.ResultLabelOf outer |> Option.iter (fun label -> this.LabelResult(inner, label))

    /// The variable of a loop over an axis.
    member _.EnterLoop(dim: Dim) : string =
        let name = Emit.axisVariable dim.Name + (if depth = 0 then "" else string depth)
        depth <- depth + 1
        name

    member _.LeaveLoop() = depth <- depth - 1

    /// A vector of constants: written once, when the plan is loaded.
    member this.Constant(node: Node) : Place =
        match constants.TryGetValue node.Id, node.Op with
        | (true, place), _ -> place
        | _, Op.ConstVector(values, dim) ->
            let key = values |> List.fold (fun key v -> key * 31 + v.GetHashCode()) 17
            let place = this.Buffers.Add($"constant.{key:x8}", BufferClass.Constant, ScalarType.F32, [ dim ])

            let store i v : Statement =
                Statement.Store(0, Index [| IndexTerm(Expr.Integer(int64 i), Extent.One) |], Expr.Number v)

            let operand = KernelOperand("out", ScalarType.F32, Access.Write)
            let kernel = Kernel("constant", [| operand |], [||], values |> List.mapi store |> Array.ofList)
            let bytes = extent dim.Size * Extent.Of 4L
            setup.Add(Step.Fused("constant", Cost(Extent.Zero, bytes), kernel, [| place.View |]))
            constants[node.Id] <- place
            place
        | op, _ -> invalidOp $"{op} is no vector of constants"

let bytesOf (place: Place) (count: Extent) = count * Extent.Of(int64 (place.Type.Size()))

let sumBytes (pairs: (Place * Node) list) =
    pairs |> List.fold (fun sum (p, n) -> sum + bytesOf p (elements n.Dims)) Extent.Zero

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

/// Paths as one name: what they have in common, and of each the rest.
let joined (paths: string list) : string =
    let parts = paths |> List.distinct |> List.map (fun path -> List.ofArray (path.Split '.'))

    let rec shared (parts: string list list) =
        match parts |> List.map (List.truncate 1) |> List.distinct with
        | [ [ one ] ] when parts |> List.forall (fun path -> path.Length > 1) ->
            one :: shared (List.map List.tail parts)
        | _ -> []

    let common = shared parts
    let rest = parts |> List.map (List.skip common.Length >> String.concat ".")
    String.concat "." (common @ [ String.concat "+" rest ])

/// What a region's lowering knows.
type Region(state: State, placed: Dictionary<int, Place>, fuse: Fuse.Region) =
    let places = Dictionary<int, Place>(placed)
    let steps = List<Step>()

    member _.State = state
    member _.Steps = steps
    member _.Has(node: Node) = places.ContainsKey node.Id
    member _.Assign(node: Node, place: Place) = places[node.Id] <- place
    /// Rows by group, for each index of groups that has been dispatched here.
    member val Dispatched = Dictionary<int, RowGroups>()

    /// Whether a node's value lies in memory when another unit wants it.
    member _.InMemory(node: Node) =
        Units.isPlaced node
        || places.ContainsKey node.Id
        || (fuse.InMemory.Contains node.Id && not (Units.isAnchor node && node.Outputs.Length > 1))

    /// A new place for a node's value, until the last that reads it.
    member _.Temporary(node: Node) : Place = state.Buffers.AddUnnamed(state.Storage node, node.Dims)

    member this.PlaceOf(node: Node) : Place =
        match places.TryGetValue node.Id with
        | true, place -> place
        | _ ->
            let place = this.Temporary node
            places[node.Id] <- place
            place

    member this.View(node: Node) : Place = viewOf this.PlaceOf node
    member this.Writer() = Emit.Writer(this.PlaceOf, state.Constant)

    /// A step's name: that of the parameters it reads.
    member _.Label(nodes: Node list) : string option =
        match nodes |> List.choose state.LabelOf with
        | [] -> None
        | names -> Some(joined names)

    member _.AddKernel(name: string, (kernel: Kernel, views: BufferView list), bytes: Extent) =
        steps.Add(Step.Fused(name, kernelCost kernel bytes, kernel, List.toArray views))

/// Bytes of the values that a unit reads from memory.
let readBytes (region: Region) (reads: Node list) =
    reads |> List.filter region.Has |> List.map (fun n -> region.PlaceOf n, n) |> sumBytes

/// Writes a node's value to a place.
let copyTo (region: Region) name (node: Node) (target: Place) =
    let writer = region.Writer()
    let count = elements node.Dims

    region.AddKernel(
        name,
        AnchorKernels.copy writer name node target region.InMemory,
        bytesOf target (Extent.Of 2L * count)
    )

/// The node's value in memory in this order of axes, for operands that strides can't express.
let permuted (region: Region) (node: Node) (dims: Dim list) : Place =
    let source = region.View node
    let place = region.State.Buffers.Add("permuted", BufferClass.Workspace, source.Type, dims)
    let writer = region.Writer()
    let count = elements dims
    // Read through the place, whatever computed the node.
    let stand = Node.placeholder "permuted" node.Dims node.Type
    region.Assign(stand, source)

    region.AddKernel(
        "permute",
        AnchorKernels.copy writer "permute" (Node.broadcast dims stand) place region.InMemory,
        bytesOf place (Extent.Of 2L * count)
    )

    place
