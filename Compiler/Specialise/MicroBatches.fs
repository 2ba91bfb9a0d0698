/// A training step's loss and gradients, of all its rows at once or of one micro-batch after another.
module Legato.Compiler.MicroBatches

open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Compiler.Losses

/// At each position the label so many places later; none where that is another row's or another document's.
let private laterLabels (request: PlanRequest) by (labels: Node) =
    let place = Node.iota (Node.dim "Seq" labels)
    let isThere = Bin(LessOrEqual, Arg 1 + Int(int64 by), Arg 2)
    let operands = [ Ahead.later by labels; place; Ahead.last (Node.dim "Seq" labels) ]

    if request.IsPacked then
        let starts = Pack.starts labels.Dims
        let isSame = Bin(And, isThere, Bin(Equal, Arg 3, Arg 4))
        Node.map (If(isSame, Arg 0, Int -1L)) (operands @ [ starts; Ahead.later by starts ])
    else
        Node.map (If(isThere, Arg 0, Int -1L)) operands

/// What differs from one micro-batch to the next, with the stack of what it is in each: inputs that hold rows, and the number
/// of the first of them.
let private stacks (micro: Dim) (request: PlanRequest) (roots: Node list) =
    Node.topological roots
    |> List.choose (fun node ->
        match node.Op with
        | Op.Input(name, dims, kind) when Node.hasAxis "Batch" node ->
            if Node.isPlaceholder node || List.contains micro dims then
                None
            else
                Some(node, Node.input name (micro :: dims) kind)
        | _ when node = Uncached.firstRow -> Some(node, Node.map1 (fun i -> i * Int request.Batch) (Node.iota micro))
        | _ -> None)

/// The sums over micro-batches of what each gives for its part of the rows: a loop.
let private summed (micro: Dim) request (values: Node list) =
    let slices =
        stacks micro request values
        |> List.map (fun (node, stack) -> node, Node.placeholder "rows" node.Dims node.Type, stack)

    let values = Node.substitute (slices |> List.map (fun (node, slice, _) -> node, slice)) values
    let sums = values |> List.map (fun v -> Node.placeholder "sum" v.Dims Float)

    let loop =
        Node.scan
            micro
            false
            (sums |> List.map (fun s -> s, Node.zerosLike s))
            (slices |> List.map (fun (_, slice, stack) -> slice, stack))
            (List.map2 Node.add sums values)
            []

    List.init values.Length (fun i -> Node.item i loop)

/// Loss, the experts' shares and gradients of the micro-batches: one pass, or a loop that adds them up. Every label counts
/// alike, in whatever micro-batch it is. The gradients are those of the loss times the scale.
let gradients (call: Elaborated) (parameters: Node list) (request: PlanRequest) scale =
    let labels = labelsOf call.Tokens.Dims
    let micro = { Name = "Micro"; Size = Fixed request.Accumulate }
    let isWhole = request.Accumulate = 1L
    let whole = if isWhole then labels else labelsOf (micro :: call.Tokens.Dims)

    let part node =
        if isWhole then
            node
        else
            Node.map1 (fun x -> Num(1.0 / float request.Accumulate) * x) node

    let tokens = float (request.Batch * request.Sequence)
    let balance = Balance.losses tokens call.Routers |> List.map part
    let shares = call.Routers |> List.map (Balance.shares tokens >> part)
    let next = { Logits = call.Logits; Labels = labels; Share = shareOf whole }

    let later = [
        for foretold in call.Foretold do
            let share = shareOf (laterLabels request foretold.By whole)

            {
                Logits = foretold.Logits
                Labels = laterLabels request foretold.By labels
                Share = Node.map1 (fun share -> Num foretold.Weight * share) share
            }
    ]

    let means, beside = means (next :: later) request scale (balance @ shares)
    let balance, shares = List.splitAt balance.Length beside
    let loss = (means |> List.map _.Loss) @ balance |> List.reduce Node.add
    let seeds = (means |> List.collect _.Seeds) @ List.map (fun loss -> loss, scale) balance
    let result = Differentiate.gradientsFrom request.Rematerialisation seeds shares loss parameters

    if isWhole then
        result
    else
        let sums = summed micro request (result.Loss :: result.Beside @ result.Of)
        let beside, gradients = List.splitAt result.Beside.Length sums.Tail
        { Loss = sums.Head; Beside = beside; Of = gradients }
