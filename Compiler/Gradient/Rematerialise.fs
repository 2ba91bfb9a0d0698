/// What a loop keeps for its gradient, and what its gradient computes again: the policy's choice, and that of memory.
module internal Legato.Compiler.Rematerialise

open System.Collections.Generic
open Legato.Dsl
open Legato.Runtime.Plans

/// A node through which a value passes without arithmetic.
let private isView (node: Node) =
    match node.Op with
    | Op.Rename _
    | Op.Split _
    | Op.Merge _
    | Op.Slice _
    | Op.Broadcast _ -> true
    | _ -> false

/// Nodes that depend on one of the sources.
let dependents (sources: Node list) (roots: Node list) =
    let found = HashSet<int>(sources |> List.map (fun n -> n.Id))

    for node in Node.topological roots do
        if node.Inputs |> List.exists (fun i -> found.Contains i.Id) then
            found.Add node.Id |> ignore

    found

/// The values of a loop's forward body that its backward body reads from memory.
let saved policy (scan: Scan) (cotangents: Node list) (gradients: Node list) : Node list =
    let backward = dependents cotangents gradients
    let available = HashSet<int>(scan.Slices @ scan.Captures |> List.map (fun n -> n.Id))
    let carries = HashSet<int>(scan.Carries |> List.map (fun n -> n.Id))
    let order = Node.topological gradients
    // What is the same in every iteration is not stacked.
    let varying = dependents (scan.Carries @ scan.Slices) gradients
    let isForward (n: Node) = not (backward.Contains n.Id)

    let rec behindViews (n: Node) = if isView n then behindViews n.Inputs.Head else n

    // Operands of products and attention lie in memory in both passes: keeping them costs no kernel.
    let operands =
        HashSet<int>(
            order
            |> List.filter (fun n -> backward.Contains n.Id)
            |> List.collect (fun n ->
                match n.Op with
                | Op.Contract _
                | Op.Composite _
                | Op.Scan _ -> n.Inputs |> List.map behindViews |> List.filter isForward
                | _ -> [])
            |> List.map (fun n -> n.Id)
        )

    let direct =
        HashSet<int>(
            order
            |> List.filter (fun n -> backward.Contains n.Id)
            |> List.collect (fun n -> n.Inputs)
            |> List.map (fun n -> n.Id)
        )

    // Maps over a product that nothing else reads are written by the product's epilogue: kept rather than the product.
    let rec endsProduct (n: Node) =
        n.Inputs
        |> List.exists (fun i ->
            i.Dims = n.Dims
            && not (direct.Contains i.Id)
            && (match i.Op with
                | Op.Contract _
                | Op.Composite(GroupedProduct _) -> true
                | Op.Map _ -> endsProduct i
                | _ -> false))

    let result = List<Node>()
    let seen = HashSet<int>()

    let rec visit (n: Node) =
        if seen.Add n.Id && not (Node.isConstant n) && not (available.Contains n.Id) then
            if carries.Contains n.Id then
                result.Add n
            else
                let again =
                    match policy, n.Op with
                    | Rematerialisation.Block, _ -> true
                    | _ when not (varying.Contains n.Id) -> true
                    | _, Op.Map _ -> not (operands.Contains n.Id || endsProduct n)
                    | _ -> isView n

                if again then List.iter visit n.Inputs else result.Add n

    for node in order do
        if backward.Contains node.Id then
            node.Inputs |> List.filter isForward |> List.iter visit

    gradients |> List.filter isForward |> List.iter visit
    List.ofSeq result
