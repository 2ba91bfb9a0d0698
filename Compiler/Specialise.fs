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

/// Without a cache the context is the call itself: appended keys and values are all there are, and positions start at 0.
let withoutCache (roots: Node list) =
    roots
    |> Simplify.rewriteDeep (fun node inputs ->
        match node.Op, inputs with
        | Op.Append(context, sequence), [ _; value; _ ] -> Some(Node.rename [ sequence, context ] value)
        | Op.Input("past", _, _), _ -> Some zero
        | Op.Composite(Attend form), q :: k :: v :: rest ->
            Some(Node.composite (Attend form) (q :: k :: v :: snd (form.Split rest)))
        | _ -> None)

let private sourceOf (request: PlanRequest) = if request.Source > 0L then Some(Fixed request.Source) else None

let private calls (request: PlanRequest) = {
    Batch = Fixed request.Batch
    Sequence = Fixed request.Sequence
    Context = Fixed request.Sequence
    Source = sourceOf request
}

/// Each position's log Σ exp(logits) − logits[label], zero where the label is a negative number, and one over the count of
/// the others: what the losses' sum is multiplied by for their mean.
let crossEntropy (logits: Node) (labels: Node) : Node * Node =
    let vocab = Node.dim "Vocab" logits
    let peak = Node.reduce Maximum [ "Vocab" ] logits
    let total = Node.reduce Sum [ "Vocab" ] (Node.map2 (fun x m -> Un(Exp, x - Un(Detach, m))) logits peak)
    // Labels first: what comes of this without the logits lies token by token too.
    let target = Node.map (If(Bin(Equal, Arg 0, Arg 1), Arg 2, Num 0.0)) [ labels; Node.iota vocab; logits ]
    let picked = Node.reduce Sum [ "Vocab" ] target
    let whereAsked value = If(Bin(Less, Arg 0, Int 0L), Num 0.0, value)

    let losses =
        Node.map (whereAsked (Un(Log, Arg 1) + Un(Detach, Arg 2) - Arg 3)) [ labels; total; peak; picked ]

    let asked = Node.map1 (fun _ -> whereAsked (Num 1.0)) labels
    // Axis by axis, so that the count is no part of the losses' own sum: loss and gradient go over the logits once.
    let count = labels.Axes |> List.fold (fun sum axis -> Node.reduce Sum [ axis ] sum) asked
    losses, Node.map1 (fun count -> Num 1.0 / Bin(Max, count, Num 1.0)) count

let private tokensOf dims = Node.input "tokens" dims Integer
let private labelsOf dims = Node.input "labels" dims Integer

let private elaborated sizes (model: ModelDef) =
    let call = ModelDef.elaborate sizes model
    Trace.stage "elaborated" [ "logits", call.Logits ]
    call

let private uncached roots = withoutCache roots |> Simplify.graph

/// The mean loss over chunks of the tokens, and what else was asked for, without caches.
let private lossOf (call: Elaborated) labels (request: PlanRequest) scale beside =
    let losses, share = crossEntropy call.Logits labels

    match uncached (losses :: share :: beside) with
    | losses :: share :: beside ->
        let isTrained = request.Purpose = Purpose.Train
        ChunkedLoss.mean "Vocab" request.MostLogits share scale isTrained losses, beside
    | _ -> invalidOp "a graph keeps its roots"

let private evaluate model request =
    let call = elaborated (calls request) model
    let mean, _ = lossOf call (labelsOf call.Tokens.Dims) request (Node.number 1.0) []

    {
        Outputs = [ "loss", mean.Loss ]
        Updates = []
        Gradients = []
        Parameters = call.Parameters
    }

let private forward model request =
    let call = elaborated (calls request) model

    {
        Outputs = [ "logits", withoutCache [ call.Logits ] |> List.exactlyOne ]
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

let private cached (model: ModelDef) (request: PlanRequest) sequence =
    let call = elaborated (cachedSizes request sequence) model |> afterEncoding
    let last = Node.input "last" [ { Name = "Batch"; Size = Dynamic "batch" } ] Integer

    {
        Outputs = [ "logits", Simplify.pick "Seq" call.Logits last ]
        Updates = call.Updates
        Gradients = []
        Parameters = call.Parameters
    }

/// Loss, the experts' shares and gradients of the micro-batches, averaged: one pass, or a loop that adds them up. The
/// gradients are those of the loss times the scale.
let private accumulated (call: Elaborated) (parameters: Node list) (request: PlanRequest) scale =
    let labels = labelsOf call.Tokens.Dims
    let tokens = float (request.Batch * request.Sequence)
    let balance = Balance.losses tokens call.Routers

    let mean, beside =
        lossOf call labels request scale (balance @ List.map (Balance.shares tokens) call.Routers)

    let balance, shares = List.splitAt balance.Length beside
    let loss = mean.Loss :: balance |> List.reduce Node.add
    let seeds = mean.Seeds @ List.map (fun loss -> loss, scale) balance
    let result = Differentiate.gradientsFrom request.Rematerialisation seeds shares loss parameters

    if request.Accumulate = 1L then
        result
    else
        let dim = { Name = "Micro"; Size = Fixed request.Accumulate }
        let share = Num(1.0 / float request.Accumulate)
        let slice name = Node.placeholder name call.Tokens.Dims Integer
        let tokenSlice, labelSlice = slice "tokens", slice "labels"

        let values =
            Node.substitute [ call.Tokens, tokenSlice; labels, labelSlice ] (result.Loss :: result.Beside @ result.Of)

        let sums = values |> List.map (fun v -> Node.placeholder "sum" v.Dims Float)

        let added = List.map2 (fun sum v -> Node.map2 (fun s x -> s + share * x) sum v) sums values

        let loop =
            Node.scan
                dim
                false
                (sums |> List.map (fun s -> s, Differentiate.zerosLike s))
                [ tokenSlice, tokensOf (dim :: call.Tokens.Dims); labelSlice, labelsOf (dim :: call.Tokens.Dims) ]
                added
                []

        let outputs = List.init values.Length (fun i -> Node.item i loop)
        let beside, gradients = List.splitAt result.Beside.Length outputs.Tail
        { Loss = outputs.Head; Beside = beside; Of = gradients }

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

    let simple = Simplify.graph values
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
