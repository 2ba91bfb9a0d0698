/// From a model to the graph of one kind of call: a training step with its optimizer, the loss alone, logits without a
/// cache, or prefill and decode over the cache.
module Legato.Compiler.Specialise

open Legato.Dsl
open Legato.Runtime.Plans

/// One launch as a graph.
type Call = {
    /// Outputs by name.
    Outputs: (string * Node) list
    /// Parameters and states with the values that replace theirs.
    Updates: (Node * Node) list
    /// Gradients by parameter.
    Gradients: (Parameter * Node) list
    Parameters: Declared list
}

let private zero = Node.map (Int 0L) []

let private rowsOf (request: PlanRequest) = [
    { Name = "Batch"; Size = Fixed request.Batch }
    { Name = "Seq"; Size = Fixed request.Sequence }
]

let private flat (packed: Dim list option) (roots: Node list) =
    let attend (form: AttendForm) operands extras =
        match packed with
        | Some rows when form.Sequence = "Seq" -> Pack.attend rows form operands extras
        | _ -> Node.composite (Attend form) (operands @ extras)

    roots
    |> Simplify.rewriteDeep (fun node inputs ->
        match node.Op, inputs with
        | Op.Append(context, sequence), [ _; value; _ ] -> Some(Node.rename [ sequence, context ] value)
        | Op.Input("past", _, _), _ -> packed |> Option.map Pack.past |> Option.defaultValue zero |> Some
        | Op.Iota dim, _ when packed.IsSome && dim.Name = "Context" ->
            let remedy = "train it on rows that are no packed documents"
            raise (ModelError("the model counts its context's positions by itself", "Context", remedy))
        | Op.Composite(Attend form), q :: k :: v :: rest ->
            let sinks, _, extras = form.Split rest
            Some(attend form ([ q; k; v ] @ Option.toList sinks) extras)
        | _ -> None)

/// Without a cache the context is the call itself: appended keys and values are all there are, and positions start at 0.
let withoutCache (roots: Node list) = flat None roots

let private firstRow = Node.input Dropout.firstRow [] Integer

// The same, but that positions start where a packed row's documents do, and that a call of all rows starts at the first.
let private uncachedRows (request: PlanRequest) roots =
    flat (if request.IsPacked then Some(rowsOf request) else None) roots
    |> Linear.chunked Linear.chunk Linear.advantage
    |> if request.Accumulate = 1L then Node.substitute [ firstRow, zero ] else id

let private sourceOf (request: PlanRequest) = if request.Source > 0L then Some(Fixed request.Source) else None

let private calls (request: PlanRequest) = {
    Batch = Fixed request.Batch
    Sequence = Fixed request.Sequence
    Context = Fixed request.Sequence
    Source = sourceOf request
    Dropout = if request.Purpose = Purpose.Train then request.Dropout else 0.0
    IsCached = false
}

let private whereAsked value = If(Bin(Less, Arg 0, Int 0L), Num 0.0, value)

/// One over the count of labels that are no negative numbers: what the losses' sum is multiplied by for their mean.
let shareOf (labels: Node) : Node =
    let asked = Node.map1 (fun _ -> whereAsked (Num 1.0)) labels
    // Axis by axis, so that the count is no part of the losses' own sum: loss and gradient go over the logits once.
    let count = labels.Axes |> List.fold (fun sum axis -> Node.reduce Sum [ axis ] sum) asked
    Node.map1 (fun count -> Num 1.0 / Bin(Max, count, Num 1.0)) count

/// Each position's log Σ exp(logits) − logits[label], zero where the label is a negative number.
let crossEntropy (logits: Node) (labels: Node) : Node =
    let vocab = Node.dim "Vocab" logits
    let peak = Node.reduce Maximum [ "Vocab" ] logits
    let total = Node.reduce Sum [ "Vocab" ] (Node.map2 (fun x m -> Un(Exp, x - Un(Detach, m))) logits peak)
    // Labels first: what comes of this without the logits lies token by token too.
    let target = Node.map (If(Bin(Equal, Arg 0, Arg 1), Arg 2, Num 0.0)) [ labels; Node.iota vocab; logits ]
    let picked = Node.reduce Sum [ "Vocab" ] target
    Node.map (whereAsked (Un(Log, Arg 1) + Un(Detach, Arg 2) - Arg 3)) [ labels; total; peak; picked ]

let private labelsOf dims = Node.input "labels" dims Integer

let private elaborated sizes (model: ModelDef) =
    let call = ModelDef.elaborate sizes model
    Trace.stage "elaborated" [ "logits", call.Logits ]
    call

let private uncached request roots = uncachedRows request roots |> Simplify.graph

/// Tokens that a call tells.
type private Told = {
    Logits: Node
    Labels: Node
    /// What the sum of the losses is multiplied by.
    Share: Node
}

/// The losses' sums times their shares, each over chunks of the tokens, and what else was asked for, without caches.
let private lossesOf (told: Told list) (request: PlanRequest) scale beside : ChunkedLoss.Mean list * Node list =
    let losses = told |> List.map (fun t -> crossEntropy t.Logits t.Labels)
    let roots = uncached request (losses @ (told |> List.map _.Share) @ beside)
    let losses, rest = List.splitAt told.Length roots
    let shares, beside = List.splitAt told.Length rest
    let isTrained = request.Purpose = Purpose.Train

    let mean share losses = ChunkedLoss.mean "Vocab" request.MostLogits share scale isTrained losses
    List.map2 mean shares losses, beside

let private evaluate model request =
    let call = elaborated (calls request) model
    let labels = labelsOf call.Tokens.Dims
    let told = { Logits = call.Logits; Labels = labels; Share = shareOf labels }
    let means, _ = lossesOf [ told ] request (Node.number 1.0) []

    {
        Outputs = [ "loss", means.Head.Loss ]
        Updates = []
        Gradients = []
        Parameters = call.Parameters
    }

let private forward model request =
    let call = elaborated (calls request) model

    {
        Outputs = [ "logits", uncachedRows request [ call.Logits ] |> List.exactlyOne ]
        Updates = []
        Gradients = []
        Parameters = call.Parameters
    }

let private isOfSource (state: Node, _) = Node.hasAxis "Memory" state

/// What an encoder has made of the source is there already.
let private afterEncoding (call: Elaborated) =
    let updates = call.Updates |> List.filter (isOfSource >> not)
    let isMemory (node: Node) = node.Op = Op.Append("Memory", "Source")

    let values =
        call.Logits :: List.map snd updates
        |> Simplify.rewriteDeep (fun node inputs -> if isMemory node then Some inputs.Head else None)

    {
        call with
            Logits = values.Head
            Updates = List.map2 (fun (state, _) value -> state, value) updates values.Tail
    }

let private cachedSizes (request: PlanRequest) sequence = {
    Batch = Dynamic "batch"
    Sequence = sequence
    Context = Fixed request.Context
    Source = sourceOf request
    Dropout = 0.0
    IsCached = true
}

/// The caches that an encoder fills.
let private encode (model: ModelDef) (request: PlanRequest) =
    let call = elaborated (cachedSizes request (Fixed 1L)) model

    {
        Outputs = []
        Updates = call.Updates |> List.filter isOfSource
        Gradients = []
        Parameters = call.Parameters
    }

// Of a row without tokens in the call any place will do.
let private place sequence last =
    match sequence with
    | Fixed _ -> last
    | Dynamic _ -> Node.map1 (fun last -> Bin(Max, last, Int 0L)) last

let private cached (model: ModelDef) (request: PlanRequest) sequence =
    let call = elaborated (cachedSizes request sequence) model |> afterEncoding
    let last = Node.input "last" [ { Name = "Batch"; Size = Dynamic "batch" } ] Integer

    {
        Outputs = [ "logits", Simplify.pick "Seq" call.Logits (place sequence last) ]
        Updates = call.Updates
        Gradients = []
        Parameters = call.Parameters
    }

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
        | _ when node = firstRow -> Some(node, Node.map1 (fun i -> i * Int request.Batch) (Node.iota micro))
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
let private accumulated (call: Elaborated) (parameters: Node list) (request: PlanRequest) scale =
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

    let means, beside = lossesOf (next :: later) request scale (balance @ shares)
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

let private train model (request: PlanRequest) =
    let precision = Precision.ofRequest request
    let scale = if precision.ScalesLoss then LossScale.current () else Node.number 1.0
    let call = elaborated (calls request) model
    let isCorrection node = call.Routers |> List.exists (fun r -> Option.map fst r.Correction = Some node)

    let parameters =
        call.Parameters
        |> List.filter (fun p -> not (isCorrection p.Node))
        |> List.map (fun p -> p.Parameter, p.Node)

    let result = accumulated call (List.map snd parameters) request scale
    let settings = request.Optimizer |> Option.ofObj |> Option.defaultValue OptimizerSettings.Default
    let norm, updates = Optimizer.adamW precision settings scale parameters result.Of
    let loads = List.map2 (fun (r: RouterReport) share -> r.Path, share) call.Routers result.Beside
    let scaleUpdates = if precision.ScalesLoss then LossScale.updates norm else []

    {
        Outputs = [ "loss", result.Loss; "gradient_norm", norm ] @ loads
        Updates = updates @ scaleUpdates @ Balance.corrections call.Routers result.Beside
        Gradients = List.map2 (fun (parameter, _) g -> parameter, g) parameters result.Of
        Parameters = call.Parameters
    }

/// Everything that a call computes, by what it is for.
let private named (call: Call) =
    let update (target: Node, value) =
        match target.Op with
        | Op.Param(parameter, _) -> $"new {parameter.Path}", value
        | Op.State(name, _) -> $"new {name}", value
        | op -> invalidOp $"{op} keeps no value"

    let gradient (parameter: Parameter, value) = $"gradient of {parameter.Path}", value
    call.Outputs @ List.map update call.Updates @ List.map gradient call.Gradients

/// The graph that a request asks for, simplified.
let call (model: ModelDef) (request: PlanRequest) : Call =
    let raw =
        match request.Purpose with
        | Purpose.Train -> train model request
        | Purpose.Evaluate -> evaluate model request
        | Purpose.Forward -> forward model request
        | Purpose.Encode -> encode model request
        | Purpose.Prefill -> cached model request (Dynamic "seq")
        | _ -> cached model request (Fixed 1L)

    Trace.stage "specialised" (named raw)
    let values = List.map snd raw.Outputs @ List.map snd raw.Updates @ List.map snd raw.Gradients

    let simple = values |> Sinks.apart |> Simplify.graph
    let outputs, rest = List.splitAt raw.Outputs.Length simple
    let updates, gradients = List.splitAt raw.Updates.Length rest
    let replace pairs values = List.map2 (fun (key, _) value -> key, value) pairs values

    let simplified = {
        raw with
            Outputs = replace raw.Outputs outputs
            Updates = replace raw.Updates updates
            Gradients = replace raw.Gradients gradients
    }

    Trace.stage "simplified" (named simplified)
    simplified
