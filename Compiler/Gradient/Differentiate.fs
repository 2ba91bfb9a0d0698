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
let private isDecomposed (tape: PullBack.Tape) (node: Node) =
    match node.Op, node.Inputs with
    | Op.Composite(Attend form), _ :: _ :: _ :: rest ->
        match form.Split rest with
        | _, None, extras -> (tape.Find(node, 1)).IsSome || extras |> List.exists (fun e -> e.Type = Float)
        | _ -> false
    | _ -> false

/// Runs the tape back from seeds (node, cotangent). Gives the cotangents of `wrt`, and the loops that were replaced by
/// ones with more outputs, which the forward graph must use too.
let rec private reverse policy (seeds: (Node * Node) list) (wrt: Node list) : Node option list * Dictionary<int, Op> =
    let tape = PullBack.Tape()
    seeds |> List.iter tape.Add
    let widened = Dictionary<int, Op>()
    let needed = Rematerialise.dependents wrt (List.map fst seeds)

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
                | _ -> PullBack.ofNode tape node

            for input, cotangent in contributions do
                if needed.Contains input.Id then
                    tape.Add(input, cotangent)

    let found = wrt |> List.map tape.Of
    let rebuilt = widen widened (List.choose id found)
    let queue = Queue rebuilt
    found |> List.map (Option.map (fun _ -> queue.Dequeue())), widened

// What a composite's meaning in plain nodes has as its gradient.
and private decomposedGradient policy (tape: PullBack.Tape) (node: Node) composite : (Node * Node) list =
    let seeds =
        Composites.decompose composite node.Inputs
        |> List.indexed
        |> List.choose (fun (i, part) -> tape.Find(node, i) |> Option.map (fun g -> part, g))

    let inputs = node.Inputs |> List.filter (fun input -> input.Type = Float) |> List.distinct
    let gradients, _ = reverse policy seeds inputs
    List.zip inputs gradients |> List.choose (fun (input, g) -> g |> Option.map (fun g -> input, g))

and private scanGradient policy (tape: PullBack.Tape) (node: Node) (scan: Scan) : Node * (Node * Node) list =
    if not scan.LastResults.IsEmpty then
        invalidOp "a loop with results of its last iteration alone has no gradient"

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
        |> List.map (fun ((i, _, _), g) -> g |> Option.defaultValue (Node.zerosLike scan.Carries[i]))

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
    let kept = Rematerialise.saved policy scan cotangents bodyGradients

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
         |> List.map (fun (i, _, p) -> p, tape.Find(node, i) |> Option.defaultValue (Node.zerosLike scan.Carries[i])))
        @ (accumulators |> List.map (fun (outer, a, _) -> a, Node.zerosLike outer))

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
                LastResults = []
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
        Of = List.zip wrt found |> List.map (fun (v, g) -> g |> Option.defaultValue (Node.zerosLike v))
    }

/// Gradients of a scalar loss.
let gradient (policy: Rematerialisation) (loss: Node) (wrt: Node list) : Gradients =
    gradientsFrom policy [ loss, Node.number 1.0 ] [] loss wrt
