/// Algebra on the graph that changes no value: constants move into the maps that use them, and loops lose what nobody reads.
module Legato.Compiler.Simplify

open System.Collections.Generic
open Legato.Dsl

// What a replacement brought into a loop's body from outside.
let private brought (body: Node list) =
    Node.topological body
    |> List.filter (fun node ->
        match node.Op with
        | Op.Input _ -> not (Node.isPlaceholder node)
        | Op.Param _
        | Op.State _ -> true
        | _ -> false)

/// Rebuilds a graph and the bodies of its loops. A loop's input that has other axes than before has them inside too; an
/// input, a parameter or a state that a replacement brings into a body is captured.
let rec rewriteDeep (replace: Node -> Node list -> Node option) (roots: Node list) : Node list =
    roots
    |> Node.rewrite (fun node inputs ->
        match node.Op with
        | Op.Scan scan -> Some(rewriteLoop replace scan inputs)
        | _ -> replace node inputs)

and private rewriteLoop replace (scan: Scan) (inputs: Node list) =
    let starts, rest = List.splitAt scan.Carries.Length inputs
    let stacks, captures = List.splitAt scan.Slices.Length rest
    let matching (p: Node) dims = if p.Dims = dims then p else Node.placeholder "narrowed" dims p.Type

    let slices =
        List.map2 (fun p (stack: Node) -> matching p (stack.Dims |> List.except [ scan.Dim ])) scan.Slices stacks

    let captured = List.map2 (fun p (capture: Node) -> matching p capture.Dims) scan.Captures captures

    let renewed =
        List.zip (scan.Slices @ scan.Captures) (slices @ captured) |> List.filter (fun (a, b) -> a <> b)

    let results = scan.Results |> Node.substitute renewed |> rewriteDeep replace

    let fresh =
        brought results |> List.map (fun node -> node, Node.placeholder "capture" node.Dims node.Type)

    let body = if fresh.IsEmpty then results else Node.substitute fresh results
    let carryResults, others = List.splitAt scan.Carries.Length body
    let stackResults, lastResults = List.splitAt scan.StackResults.Length others
    let like (p: Node) (x: Node) = Node.broadcast p.Dims x

    let loop = {
        scan with
            Slices = slices
            Captures = captured @ List.map snd fresh
            CarryResults = List.map2 like scan.Carries carryResults
            StackResults = stackResults
            LastResults = lastResults
    }

    Node.make (Op.Scan loop) (List.map2 like scan.Carries starts @ stacks @ captures @ List.map fst fresh)

/// A value that is the same everywhere, as a scalar.
let rec private uniform (node: Node) =
    match node.Op, node.Inputs with
    | Op.Const x, _ -> Some(Num x)
    | Op.Map(Num _ as s), _
    | Op.Map(Int _ as s), _ -> Some s
    | Op.Broadcast _, [ x ] -> uniform x
    | _ -> None

let private foldMap scalar (inputs: Node list) (dims: Dim list) =
    let constants = inputs |> List.map uniform

    if List.forall Option.isNone constants then
        None
    else
        let folded =
            scalar |> Scalar.mapArgs (fun i -> constants[i] |> Option.defaultValue (Arg i)) |> Scalar.normalise

        let result =
            match folded with
            | Arg i -> inputs[i]
            | _ -> Node.map folded inputs

        // Constants may have been what carried an axis.
        let same =
            List.length result.Dims = List.length dims
            && dims |> List.forall (fun d -> Node.hasAxis d.Name result)

        Some(if same then result else Node.broadcast dims result)

let private isZeroScatter (node: Node) =
    match node.Op, node.Inputs with
    | Op.ScatterAdd _, start :: _ -> uniform start = Some(Num 0.0)
    | _ -> false

let private step (node: Node) (inputs: Node list) =
    match node.Op, inputs with
    // Rows added to zeros and then to a tensor are added to that tensor at once: a tied embedding's two gradients.
    | Op.Map(Bin(Add, Arg _, Arg _)), [ x; y ] when x.Dims = y.Dims && (isZeroScatter x || isZeroScatter y) ->
        let scatter, other = if isZeroScatter x then x, y else y, x
        Some(Node.make scatter.Op (other :: scatter.Inputs.Tail))
    | Op.Map scalar, _ -> foldMap scalar inputs node.Dims
    | Op.Broadcast dims, [ x ] when x.Dims = dims -> Some x
    | Op.Broadcast dims, [ x ] ->
        match x.Op with
        | Op.Broadcast _ -> Some(Node.broadcast dims x.Inputs.Head)
        | _ -> None
    | Op.Contract _, [ x; y ] when uniform x = Some(Num 0.0) || uniform y = Some(Num 0.0) ->
        Some(Node.broadcast node.Dims (Node.number 0.0))
    | _ -> None

/// Which outputs of each loop are read below the roots.
let private usedOutputs (roots: Node list) =
    let used = Dictionary<int, HashSet<int>>()

    let note (node: Node) i =
        match used.TryGetValue node.Id with
        | true, set -> set.Add i |> ignore
        | _ -> used[node.Id] <- HashSet [ i ]

    let order = Node.topological roots

    for node in order do
        match node.Op with
        | Op.Item i -> note node.Inputs.Head i
        | _ ->
            for input in node.Inputs do
                note input 0

    for root in roots do
        note root 0

    used

let private keepWhere flags items = List.zip flags items |> List.filter fst |> List.map snd

/// Which carries count: those whose end is read, and those that what counts depends on.
let rec private liveCarries (scan: Scan) (live: bool list) (stacks: Node list) : bool list =
    let needed =
        HashSet<int>(Node.topological (keepWhere live scan.CarryResults @ stacks) |> List.map (fun n -> n.Id))

    let next = List.map2 (fun isLive (carry: Node) -> isLive || needed.Contains carry.Id) live scan.Carries
    if next = live then live else liveCarries scan next stacks

/// The new numbers of the outputs that stay; -1 for the others.
let private numbered (keep: bool list) =
    let places = keep |> List.scan (fun n kept -> if kept then n + 1 else n) 0
    [| for kept, place in List.zip keep (List.take keep.Length places) -> if kept then place else -1 |]

/// Drops carries, stacked results, slices and captures that nobody reads, inside and out.
let rec private prune (roots: Node list) : Node list =
    let used = usedOutputs roots
    // Where an old output is among the new ones.
    let places = Dictionary<int, int[]>()

    roots
    |> Node.rewrite (fun node inputs ->
        match node.Op with
        | Op.Scan scan ->
            let count = scan.Carries.Length
            let read = used[node.Id]
            let keepStack = scan.StackResults |> List.mapi (fun j _ -> read.Contains(count + j))
            let firstLast = count + scan.StackResults.Length
            let keepLast = scan.LastResults |> List.mapi (fun j _ -> read.Contains(firstLast + j))
            let stacks, lasts = keepWhere keepStack scan.StackResults, keepWhere keepLast scan.LastResults
            let keepCarry = liveCarries scan (List.init count read.Contains) (stacks @ lasts)
            let results = prune (keepWhere keepCarry scan.CarryResults @ stacks @ lasts)
            let inner = HashSet<int>(Node.topological results |> List.map (fun n -> n.Id))
            let alive (p: Node) = inner.Contains p.Id
            let starts, rest = List.splitAt count inputs
            let whole, captured = List.splitAt scan.Slices.Length rest
            let keepSlices, keepCaptures = List.map alive scan.Slices, List.map alive scan.Captures
            let carryResults, others = results |> List.splitAt (keepCarry |> List.filter id).Length
            let stackResults, lastResults = others |> List.splitAt stacks.Length

            let pruned = {
                scan with
                    Carries = keepWhere keepCarry scan.Carries
                    Slices = keepWhere keepSlices scan.Slices
                    Captures = keepWhere keepCaptures scan.Captures
                    CarryResults = carryResults
                    StackResults = stackResults
                    LastResults = lastResults
            }

            places[node.Id] <- numbered (keepCarry @ keepStack @ keepLast)

            Some(
                Node.make
                    (Op.Scan pruned)
                    (keepWhere keepCarry starts @ keepWhere keepSlices whole @ keepWhere keepCaptures captured)
            )
        | Op.Item i ->
            match places.TryGetValue node.Inputs.Head.Id with
            | true, place -> Some(Node.item place[i] inputs.Head)
            | _ -> None
        | _ -> None)

/// The simplified graph, root for root.
let graph (roots: Node list) : Node list = roots |> rewriteDeep step |> prune
