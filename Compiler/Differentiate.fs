/// Reverse-mode differentiation: from a scalar loss to its gradients, in nodes of the same graph.
///
/// Takes a graph without caches; gives the loss and the gradients, each with its variable's axes in its variable's
/// order. Loops become a forward loop that stacks what the gradient needs and a reversed loop that reads it; what is
/// kept and what is computed again is the policy's choice.
module Legato.Compiler.Differentiate

open System.Collections.Generic
open Legato.Dsl
open Legato.Runtime.Plans

/// The loss, other values of the forward graph and the gradients, all over the loops that keep what the gradients need.
type Gradients = { Loss: Node; Beside: Node list; Of: Node list }

/// Zeros with the axes of a node.
let zerosLike (node: Node) = Node.broadcast node.Dims (Node.number 0.0)

/// A cotangent brought to a node's axes: summed over those that the node lacks, constant along those it lacks itself.
let private fit (target: Node) (cotangent: Node) =
    let extra = cotangent.Axes |> List.filter (fun a -> not (Node.hasAxis a target))
    Node.broadcast target.Dims (Node.reduce Sum extra cotangent)

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
let private dependents (sources: Node list) (roots: Node list) =
    let found = HashSet<int>(sources |> List.map (fun n -> n.Id))

    for node in Node.topological roots do
        if node.Inputs |> List.exists (fun i -> found.Contains i.Id) then
            found.Add node.Id |> ignore

    found

let private isLeaf (node: Node) =
    match node.Op with
    | Op.Const _
    | Op.ConstVector _
    | Op.Iota _ -> true
    | _ -> false

/// The values of a loop's forward body that its backward body reads from memory.
let private saved policy (scan: Scan) (cotangents: Node list) (gradients: Node list) : Node list =
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
        if seen.Add n.Id && not (isLeaf n) && not (available.Contains n.Id) then
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

/// Cotangents of single nodes and of the outputs of nodes that have several.
type private Tape() =
    let cotangents = Dictionary<struct (int * int), Node>()

    member _.Add(node: Node, cotangent: Node) =
        if node.Type = Float then
            let key =
                match node.Op with
                | Op.Item i -> struct (node.Inputs.Head.Id, i)
                | _ -> struct (node.Id, 0)

            let fitted = fit node cotangent

            cotangents[key] <-
                match cotangents.TryGetValue key with
                | true, before -> Node.add before fitted
                | _ -> fitted

    member _.Find(node: Node, output) =
        match cotangents.TryGetValue(struct (node.Id, output)) with
        | true, cotangent -> Some cotangent
        | _ -> None

    member this.Of(node: Node) =
        match node.Op with
        | Op.Item i -> this.Find(node.Inputs.Head, i)
        | _ -> this.Find(node, 0)

let private onlyIn (a: Node) (b: Node) = a.Axes |> List.filter (fun axis -> not (Node.hasAxis axis b))

let private withoutGradient (node: Node) =
    let name = node.Op.GetType().Name

    raise (
        ModelError(
            $"{name} has no gradient",
            $"node {node} over {Infer.show node.Dims}",
            "train a model without caches; keep this node out of the loss"
        )
    )

/// Cotangents of a node's inputs, from that of its one output.
let private pullBack (node: Node) (g: Node) : (Node * Node) list =
    match node.Op, node.Inputs with
    | Op.Map scalar, inputs -> [
        for i, input in List.indexed inputs do
            if input.Type = Float then
                match Scalar.derivative (fun leaf -> leaf = Arg i) scalar with
                | Num 0.0 -> ()
                | slope -> input, Node.map (Arg inputs.Length * slope) (inputs @ [ g ])
      ]
    | Op.Reduce(Sum, _), [ x ] -> [ x, g ]
    | Op.Reduce(Maximum, axes), [ x ] ->
        let reaches value = If(Bin(Equal, Arg 0, Arg 1), value, Num 0.0)
        let count = Node.reduce Sum axes (Node.map (reaches (Num 1.0)) [ x; node ])
        [ x, Node.map (reaches (Arg 2 / Arg 3)) [ x; node; g; count ] ]
    | Op.Contract axes, [ a; b ] ->
        let free (x: Node) y = onlyIn x y |> List.filter (fun axis -> not (List.contains axis axes))
        [ a, Node.contract (free b a) g b; b, Node.contract (free a b) g a ]
    | Op.Rename names, [ x ] -> [ x, Node.rename (names |> List.map (fun (a, b) -> b, a)) g ]
    | Op.Split(axis, outer, inner), [ x ] -> [ x, Node.merge outer.Name inner.Name axis g ]
    | Op.Merge(outer, inner, name), [ x ] -> [ x, Node.split name (Node.dim outer x) (Node.dim inner x) g ]
    | Op.Slice(axis, start, _), [ x ] -> [ x, Node.pad axis start (Node.size axis x) g ]
    | Op.Pad(axis, before, _), [ x ] -> [ x, Node.slice axis before (Node.size axis x) g ]
    | Op.Gather axis, [ table; index ] -> [ table, Node.make (Op.ScatterAdd axis) [ zerosLike table; index; g ] ]
    | Op.ScatterAdd axis, [ start; index; updates ] -> [ start, g; updates, Node.gather axis g index ]
    | Op.Broadcast _, [ x ] -> [ x, g ]
    | Op.Composite(Rope form), [ x; cos; sin ] ->
        // Positions have no gradient.
        [ x, Node.composite (Rope { form with Inverse = not form.Inverse }) [ g; cos; sin ] ]
    | Op.Composite(GroupedProduct form), [ x; table; index ] ->
        let free = table.Axes |> List.except (form.Group :: form.Summed)

        [
            x, Node.composite (GroupedProduct { form with Summed = free }) [ g; table; index ]
            table, Node.composite (GroupedGradient table.Dims) [ g; x; index ]
        ]
    | _ -> withoutGradient node

/// A sink takes its share of every query, and its value is nothing: the softmax's slope with a product of zero.
let private sinkGradient (form: AttendForm) sinks output sum (g: Node) =
    let mean = Node.reduce Sum [ form.ValueFeature ] (Node.mul g output)
    Node.map (-(Un(Exp, Arg 0 - Arg 1) * Arg 2)) [ sinks; sum; mean ]

/// Cotangents of the inputs of a node with several outputs.
let private pullBackMany (tape: Tape) (node: Node) : (Node * Node) list =
    match node.Op, node.Inputs with
    | Op.TopK(axis, rank), [ x ] ->
        match tape.Find(node, 0) with
        | Some g ->
            let chosen = If(Bin(Equal, Arg 1, Arg 2), Arg 0, Num 0.0)

            [
                x, Node.reduce Sum [ rank.Name ] (Node.map chosen [ g; Node.item 1 node; Node.iota (Node.dim axis x) ])
            ]
        | None -> []
    | Op.Composite(Attend form), q :: k :: v :: rest ->
        match tape.Find(node, 0), form.Split rest with
        | Some g, (sinks, None, extras) ->
            let output, sum = Node.item 0 node, Node.item 1 node
            let inputs = [ q; k; v; output; sum; g ] @ extras
            let gradient = Node.composite (AttendGradient { form with Sinks = false }) inputs

            [ q, Node.item 0 gradient; k, Node.item 1 gradient; v, Node.item 2 gradient ]
            @ (sinks |> Option.map (fun sinks -> sinks, sinkGradient form sinks output sum g) |> Option.toList)
        | _ -> withoutGradient node
    | _ ->
        match tape.Find(node, 0) with
        | Some g -> pullBack node g
        | None -> withoutGradient node

/// Gives loops the outputs that their gradients read, wherever they occur: loops that read other loops included.
let private widen (loops: Dictionary<int, Op>) (roots: Node list) =
    roots
    |> Node.rewrite (fun node inputs ->
        match loops.TryGetValue node.Id with
        | true, op ->
            let loop = Node.make op inputs
            Some(if node.Outputs.Length = 1 then Node.item 0 loop else loop)
        | _ -> None)

// An attention whose gradient asks for more than AttendGradient gives: that of its extras, or of its log-sum-exp.
let private isDecomposed (tape: Tape) (node: Node) =
    match node.Op, node.Inputs with
    | Op.Composite(Attend form), _ :: _ :: _ :: rest ->
        match form.Split rest with
        | _, None, extras -> (tape.Find(node, 1)).IsSome || extras |> List.exists (fun e -> e.Type = Float)
        | _ -> false
    | _ -> false

/// Runs the tape back from seeds (node, cotangent). Gives the cotangents of `wrt`, and the loops that were replaced by
/// ones with more outputs, which the forward graph must use too.
let rec private reverse policy (seeds: (Node * Node) list) (wrt: Node list) : Node option list * Dictionary<int, Op> =
    let tape = Tape()
    seeds |> List.iter tape.Add
    let widened = Dictionary<int, Op>()
    let needed = dependents wrt (List.map fst seeds)

    for node in Node.topological (List.map fst seeds) |> List.rev do
        let live = List.init node.Outputs.Length (fun i -> tape.Find(node, i)) |> List.exists Option.isSome

        let isItem =
            match node.Op with
            | Op.Item _ -> true
            | _ -> false

        if live && needed.Contains node.Id && not (List.isEmpty node.Inputs) && not isItem then
            let contributions =
                match node.Op with
                | Op.Scan scan ->
                    let forward, contributions = scanGradient policy tape node scan
                    widened[node.Id] <- forward.Op
                    contributions
                | Op.Composite attend when isDecomposed tape node -> decomposedGradient policy tape node attend
                | _ -> pullBackMany tape node

            for input, cotangent in contributions do
                if needed.Contains input.Id then
                    tape.Add(input, cotangent)

    let found = wrt |> List.map tape.Of
    let rebuilt = widen widened (List.choose id found)
    let queue = Queue rebuilt
    found |> List.map (Option.map (fun _ -> queue.Dequeue())), widened

// What a composite's meaning in plain nodes has as its gradient.
and private decomposedGradient policy (tape: Tape) (node: Node) composite : (Node * Node) list =
    let seeds =
        Composites.decompose composite node.Inputs
        |> List.indexed
        |> List.choose (fun (i, part) -> tape.Find(node, i) |> Option.map (fun g -> part, g))

    let inputs = node.Inputs |> List.filter (fun input -> input.Type = Float) |> List.distinct
    let gradients, _ = reverse policy seeds inputs
    List.zip inputs gradients |> List.choose (fun (input, g) -> g |> Option.map (fun g -> input, g))

and private scanGradient policy (tape: Tape) (node: Node) (scan: Scan) : Node * (Node * Node) list =
    let count = scan.Carries.Length
    let carryStarts, rest = List.splitAt count node.Inputs
    let stackedInputs, captured = List.splitAt scan.Slices.Length rest

    // Cotangents of one iteration's results.
    let carrySeeds =
        scan.CarryResults
        |> List.indexed
        |> List.filter (fun (_, r) -> r.Type = Float)
        |> List.map (fun (i, r) -> i, r, Node.placeholder "d" scan.Carries[i].Dims Float)

    let stackSeeds =
        scan.StackResults
        |> List.indexed
        |> List.choose (fun (j, r) ->
            tape.Find(node, count + j) |> Option.map (fun g -> r, Node.placeholder "d" r.Dims Float, g))

    let seeds =
        (carrySeeds |> List.map (fun (_, r, p) -> r, p)) @ (stackSeeds |> List.map (fun (r, p, _) -> r, p))

    let floats nodes = nodes |> List.filter (fun (n: Node, _) -> n.Type = Float)
    let slices = List.zip scan.Slices stackedInputs |> floats
    let captures = List.zip scan.Captures captured |> floats

    let wrt =
        (carrySeeds |> List.map (fun (i, _, _) -> scan.Carries[i]))
        @ List.map fst slices
        @ List.map fst captures

    let gradients, widened = reverse policy seeds wrt

    let carryGradients, others = List.splitAt carrySeeds.Length gradients
    let sliceGradients, captureGradients = List.splitAt slices.Length others

    let carryEnds =
        List.zip carrySeeds carryGradients
        |> List.map (fun ((i, _, _), g) -> g |> Option.defaultValue (zerosLike scan.Carries[i]))

    let liveSlices =
        List.zip slices sliceGradients |> List.choose (fun (s, g) -> g |> Option.map (fun g -> s, g))

    let accumulators =
        List.zip captures captureGradients
        |> List.choose (fun ((p, outer), g) -> g |> Option.map (fun g -> outer, Node.placeholder "sum" p.Dims Float, g))

    let bodyGradients =
        carryEnds @ (accumulators |> List.map (fun (_, a, g) -> Node.add a g)) @ List.map snd liveSlices

    // The forward loop stacks what the backward one reads.
    let results = widen widened (scan.CarryResults @ scan.StackResults)
    let cotangents = List.map snd seeds @ (accumulators |> List.map (fun (_, a, _) -> a))
    let kept = saved policy scan cotangents bodyGradients

    let forward =
        Node.make
            (Op.Scan {
                scan with
                    CarryResults = List.take count results
                    StackResults = List.skip count results @ kept
            })
            node.Inputs

    let firstKept = count + scan.StackResults.Length

    let keptSlices =
        kept
        |> List.mapi (fun i n -> n, Node.placeholder "saved" n.Dims n.Type, Node.item (firstKept + i) forward)

    let body = Node.substitute (keptSlices |> List.map (fun (n, p, _) -> n, p)) bodyGradients

    let used = HashSet<int>(Node.topological body |> List.map (fun n -> n.Id))
    let ifUsed pairs = pairs |> List.filter (fun (p: Node, _) -> used.Contains p.Id)

    let carries =
        (carrySeeds
         |> List.map (fun (i, _, p) -> p, tape.Find(node, i) |> Option.defaultValue (zerosLike scan.Carries[i])))
        @ (accumulators |> List.map (fun (outer, a, _) -> a, zerosLike outer))

    let stacked =
        (keptSlices |> List.map (fun (_, p, outer) -> p, outer))
        @ (stackSeeds |> List.map (fun (_, p, g) -> p, g))
        @ List.zip scan.Slices stackedInputs
        |> ifUsed

    let fixedInputs = List.zip scan.Captures captured |> ifUsed

    let backward =
        Node.make
            (Op.Scan {
                Dim = scan.Dim
                Reversed = not scan.Reversed
                Carries = List.map fst carries
                Slices = List.map fst stacked
                Captures = List.map fst fixedInputs
                CarryResults = List.take carries.Length body
                StackResults = List.skip carries.Length body
            })
            (List.map snd carries @ List.map snd stacked @ List.map snd fixedInputs)

    let outputs = List.init backward.Outputs.Length (fun i -> Node.item i backward)

    let targets =
        (carrySeeds |> List.map (fun (i, _, _) -> carryStarts[i]))
        @ (accumulators |> List.map (fun (outer, _, _) -> outer))
        @ (liveSlices |> List.map (fun ((_, whole), _) -> whole))

    forward, List.zip targets outputs

/// Gradients that follow from nodes whose cotangents are known, and values `beside` the loss that are wanted too. A
/// variable that none depends on has gradient zero.
let gradientsFrom
    (policy: Rematerialisation)
    (seeds: (Node * Node) list)
    (beside: Node list)
    (loss: Node)
    (wrt: Node list)
    : Gradients =
    let found, widened = reverse policy seeds wrt
    let forward = widen widened (loss :: beside)

    {
        Loss = forward.Head
        Beside = forward.Tail
        Of = List.zip wrt found |> List.map (fun (v, g) -> g |> Option.defaultValue (zerosLike v))
    }

/// Gradients of a scalar loss.
let gradient (policy: Rematerialisation) (loss: Node) (wrt: Node list) : Gradients =
    gradientsFrom policy [ loss, Node.number 1.0 ] [] loss wrt
