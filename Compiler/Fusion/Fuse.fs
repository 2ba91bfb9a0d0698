/// Decides which nodes are computed together.
///
/// Takes the results of one region (a call, or a loop's body) and gives units in an order in which they can run. A unit
/// is an anchor (a product, attention, a loop, …) with the elementwise work that its epilogue does, or a cluster: one
/// kernel over a common domain, holding elementwise values, reductions of its rows and of its columns. Everything else
/// (views, constants, elementwise values that no unit needs in memory) is computed where it is used.
module Legato.Compiler.Fuse

open System.Collections.Generic
open Legato.Dsl
open Legato.Compiler.Units

/// What a product's rows are made of.
let private leftMatrix unit =
    match unit with
    | Anchor(node, _) ->
        match node.Op with
        | Op.Contract _ -> Some node.Inputs.Head
        | _ -> None
    | Kernel _ -> None

let private domainOf (node: Node) = if isReduce node then node.Inputs.Head.Dims else node.Dims

/// A region taken apart.
[<NoComparison; NoEquality>]
type Region = {
    /// Each unit, inputs first, with the nodes in memory that it reads.
    Units: (Unit * Node list) list
    /// Nodes that a unit leaves in memory, if anything reads them there.
    InMemory: HashSet<int>
    /// Nodes that lie in memory because an anchor or the outside reads them.
    Stored: HashSet<int>
}

/// The units of a region's results.
let units (results: Node list) : Region =
    let order = Node.topological results
    let consumers = Dictionary<int, List<Node>>()

    for node in order do
        for input in node.Inputs do
            match consumers.TryGetValue input.Id with
            | true, list -> list.Add node
            | _ -> consumers[input.Id] <- List [ node ]

    let isResult = HashSet<int>(results |> List.map (fun n -> n.Id))

    let onlyConsumer (node: Node) =
        match consumers.TryGetValue node.Id with
        | true, list when list.Count = 1 && not (isResult.Contains node.Id) -> Some list[0]
        | _ -> None

    // Which nodes must lie in memory whatever the clusters.
    let stored = HashSet<int>()

    let isSoft (n: Node) =
        not (isPlaced n)
        && not (Node.isConstant n)
        && not (isAnchor n)
        && (match n.Op with
            | Op.Item _ -> false
            | _ -> true)

    let store (node: Node) =
        let target = viewBase node

        if isSoft target || Node.isConstant target then
            stored.Add target.Id |> ignore

    for result in results do
        if isSoft result || Node.isConstant result then
            stored.Add result.Id |> ignore

    for node in order do
        if isAnchor node then
            List.iter store (inMemory node)

    // Epilogues: the chain of maps over a product's own axes that nobody else reads.
    let epilogue = Dictionary<int, Node>()
    let inEpilogue = HashSet<int>()

    let dependsOn (source: Node) (node: Node) =
        let seen = HashSet<int>()

        let rec go (n: Node) = n.Id = source.Id || (seen.Add n.Id && n.Id > source.Id && n.Inputs |> List.exists go)

        go node

    let rec chain (contract: Node) (current: Node) =
        match onlyConsumer current with
        | Some next when not (stored.Contains current.Id) || current.Id = contract.Id ->
            match next.Op with
            | Op.Map _ when
                next.Dims = contract.Dims
                && not (inEpilogue.Contains next.Id)
                && next.Inputs |> List.forall (fun i -> i.Id = current.Id || not (dependsOn contract i))
                ->
                chain contract next
            | _ -> current
        | _ -> current

    let finish (node: Node) (last: Node) =
        epilogue[node.Id] <- last

        if last.Id <> node.Id then
            let rec mark (n: Node) =
                if n.Id <> node.Id && dependsOn node n && inEpilogue.Add n.Id then
                    List.iter mark n.Inputs

            mark last
            stored.Add last.Id |> ignore

    /// Whether a chain only adds to what it starts from.
    let rec isSum (node: Node) (last: Node) =
        last.Id = node.Id
        || (match last.Op with
            | Op.Map(Bin(Add, Arg _, Arg _)) -> last.Inputs |> List.exists (isSum node)
            | _ -> false)

    // From the last product back: a sum of products belongs to the one that ends it.
    for node in List.rev order do
        match node.Op with
        | Op.Contract axes when List.forall (fun a -> not (Node.hasAxis a node)) axes ->
            let batched =
                node.Inputs[0].Axes
                |> List.exists (fun a -> Node.hasAxis a node.Inputs[1] && not (List.contains a axes))

            let last = if batched then node else chain node node

            // What another product's epilogue ends in is computed there: it needn't go through memory. A sum goes through
            // memory in place of the product, and one operand fewer is read there.
            match onlyConsumer last with
            | Some next when inEpilogue.Contains next.Id && not (isSum node last) -> finish node node
            | _ -> finish node last
        | Op.Composite(GroupedProduct _) -> finish node (chain node node)
        | _ -> ()

    let units = List<Unit>()
    let needs = List<HashSet<int>>()
    let unitOf = Dictionary<int, int>()

    let producer (node: Node) =
        match node.Op with
        | Op.Item _ -> unitOf[node.Inputs.Head.Id]
        | _ -> unitOf[node.Id]

    let isComputed (n: Node) = stored.Contains n.Id || isReduce n

    /// The nodes in memory, and the reductions, that computing these nodes reads.
    let sources (starts: Node list) =
        let found = List<Node>()
        let seen = HashSet<int>()

        let rec go (n: Node) =
            if seen.Add n.Id then
                match n.Op with
                | Op.Item _ -> found.Add n
                | _ when isPlaced n || isAnchor n || isComputed n -> found.Add n
                | _ -> List.iter go n.Inputs

        List.iter go starts
        List.ofSeq found

    /// Whether a node reads what a cluster computes at another index than its own: that must be complete, in memory.
    let readsElsewhere (cluster: Cluster) (start: Node) =
        let seen = HashSet<struct (int * bool)>()

        let rec go isMoved (n: Node) =
            if not (seen.Add(struct (n.Id, isMoved))) then
                false
            elif isPlaced n || isAnchor n || isComputed n then
                isMoved && cluster.Members.Contains n
            else
                inputs isMoved n

        and inputs isMoved (n: Node) =
            match n.Op, n.Inputs with
            | Op.Map _, _
            | Op.Broadcast _, _ -> n.Inputs |> List.exists (go isMoved)
            | Op.Reduce _, _ when isReduce n -> n.Inputs |> List.exists (go isMoved)
            | Op.Gather _, [ table; index ] -> go true table || go isMoved index
            | Op.Item _, _ -> false
            | _ -> n.Inputs |> List.exists (go true)

        inputs false start

    let reaches target start =
        let seen = HashSet<int>()
        let rec go u = u = target || (seen.Add u && needs[u] |> Seq.exists go)
        go start

    let addUnit unit (dependencies: seq<int>) =
        units.Add unit
        needs.Add(HashSet dependencies)
        units.Count - 1

    let unitsOf (nodes: Node list) = nodes |> List.filter (isPlaced >> not) |> List.map producer |> List.distinct

    let joinable (node: Node) (reads: Node list) index =
        match units[index] with
        | Anchor _ -> None
        | Kernel cluster ->
            match roleIn cluster.Domain cluster.Inner node with
            | None -> None
            | Some(role, inner) ->
                let columns =
                    cluster.Members
                    |> Seq.filter (fun m ->
                        match roleIn cluster.Domain inner m with
                        | Some(ColumnReduction, _) -> true
                        | _ -> false)
                    |> Seq.map (fun m -> m.Id)
                    |> HashSet

                let readsColumn = reads |> List.exists (fun r -> columns.Contains r.Id)
                let others = unitsOf reads |> List.filter ((<>) index)
                // A row value that the cluster doesn't compute from would gain nothing.
                let related =
                    unitsOf reads |> List.contains index
                    || (role <> Row
                        && cluster.Members
                           |> Seq.exists (fun m ->
                               sources m.Inputs |> List.exists (fun s -> s.Dims.Length > 0 && List.contains s reads)))

                let membersFit = cluster.Members |> Seq.forall (fun m -> (roleIn cluster.Domain inner m).IsSome)

                let isReady = not readsColumn && not (readsElsewhere cluster node)

                if related && membersFit && isReady && not (others |> List.exists (reaches index)) then
                    Some(cluster, inner, others)
                else
                    None

    let place (node: Node) =
        let reads = sources node.Inputs

        let chosen =
            [ units.Count - 1 .. -1 .. 0 ]
            |> List.tryPick (fun index -> joinable node reads index |> Option.map (fun found -> index, found))

        match chosen with
        | Some(index, (cluster, inner, others)) ->
            cluster.Members.Add node
            cluster.Inner <- inner
            needs[index].UnionWith others
            unitOf[node.Id] <- index
        | None ->
            let cluster = Cluster(domainOf node)
            cluster.Inner <- roleIn cluster.Domain None node |> Option.bind snd
            cluster.Members.Add node
            unitOf[node.Id] <- addUnit (Kernel cluster) (unitsOf reads)

    for node in order do
        if isAnchor node then
            let last =
                match epilogue.TryGetValue node.Id with
                | true, l -> l
                | _ -> node

            let inside (n: Node) = last.Id <> node.Id && inEpilogue.Contains n.Id && dependsOn node n

            let rec outside (n: Node) =
                if n.Id = node.Id then []
                elif inside n then List.collect outside n.Inputs
                else [ n ]

            let reads = node.Inputs @ (if last.Id = node.Id then [] else List.collect outside last.Inputs)
            // What the epilogue reads must be there before the product.
            let pending =
                Node.topological reads
                |> List.filter (fun n -> (isComputed n || isAnchor n) && not (unitOf.ContainsKey n.Id))

            if List.isEmpty pending then
                let index = addUnit (Anchor(node, last)) (unitsOf (sources reads))
                unitOf[node.Id] <- index
                unitOf[last.Id] <- index
            else
                epilogue[node.Id] <- node
                let index = addUnit (Anchor(node, node)) (unitsOf (sources node.Inputs))
                unitOf[node.Id] <- index

                if last.Id <> node.Id then
                    for n in order do
                        // Other products further on keep their chains.
                        if inside n && dependsOn n last then
                            inEpilogue.Remove n.Id |> ignore
        elif isComputed node && not (inEpilogue.Contains node.Id) then
            place node

    let readsOf unit =
        match unit with
        | Kernel cluster -> cluster.Members |> List.ofSeq |> List.collect (fun m -> sources m.Inputs) |> List.distinct
        | Anchor(node, last) ->
            let rec outside (n: Node) =
                if n.Id = node.Id then
                    []
                elif n.Id = last.Id || (inEpilogue.Contains n.Id && dependsOn node n) then
                    List.collect outside n.Inputs
                else
                    [ n ]

            sources (node.Inputs @ (if last.Id = node.Id then [] else outside last)) |> List.distinct

    // Units in an order that respects what they need, the earliest made first.
    let sorted = List<Unit * Node list>()
    let visited, ended = HashSet<int>(), HashSet<int>()

    // Products of one left matrix that can run follow one another, so that a device may compute them as one.
    let products = units |> Seq.indexed |> Seq.filter (snd >> leftMatrix >> Option.isSome) |> List.ofSeq

    let beside index =
        leftMatrix units[index]
        |> Option.map (fun left ->
            products |> List.filter (fun (_, other) -> leftMatrix other = Some left) |> List.map fst)
        |> Option.defaultValue []

    let rec visit index =
        if visited.Add index then
            needs[index] |> Seq.sort |> Seq.iter visit
            sorted.Add((units[index], readsOf units[index]))
            ended.Add index |> ignore

            for other in beside index do
                if ended.IsSupersetOf needs[other] then
                    visit other

    // Constants in memory, the zeros that a loop adds to, are made when they are wanted.
    let isWanted = HashSet<int>(Seq.concat needs)
    let waits index = isWanted.Contains index && (readsOf units[index]).IsEmpty

    for index in 0 .. units.Count - 1 do
        if not (waits index) then
            visit index

    { Units = List.ofSeq sorted; InMemory = HashSet<int>(unitOf.Keys); Stored = stored }
