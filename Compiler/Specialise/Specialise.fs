/// From a model to the graph of one kind of call: a training step with its optimizer, the loss alone, logits without a
/// cache, or prefill and decode over the cache.
module Legato.Compiler.Specialise

open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Compiler.Losses

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

let private sourceOf (request: PlanRequest) = if request.Source > 0L then Some(Fixed request.Source) else None

let private calls (request: PlanRequest) = {
    Batch = Fixed request.Batch
    Sequence = Fixed request.Sequence
    Context = Fixed request.Sequence
    Source = sourceOf request
    Dropout = if request.Purpose = Purpose.Train then request.Dropout else 0.0
    IsCached = false
}

let private elaborated sizes (model: ModelDef) =
    let call = ModelDef.elaborate sizes model
    Trace.stage "elaborated" [ "logits", call.Logits ]
    call

let private evaluate model request =
    let call = elaborated (calls request) model
    let labels = labelsOf call.Tokens.Dims
    let told = { Logits = call.Logits; Labels = labels; Share = shareOf labels }
    let means, _ = means [ told ] request (Node.number 1.0) []

    {
        Outputs = [ "loss", means.Head.Loss ]
        Updates = []
        Gradients = []
        Parameters = call.Parameters
    }

let private forward model request =
    let call = elaborated (calls request) model

    {
        Outputs = [ "logits", Uncached.rows request [ call.Logits ] |> List.exactlyOne ]
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
    let logits = PickRows.early "Seq" call.Logits (place sequence last)
    let roots = logits :: List.map snd call.Updates

    let values =
        match sequence with
        // Of one position there is nothing to leave out.
        | Fixed _ -> roots
        | Dynamic _ -> PickRows.inLoops roots

    {
        Outputs = [ "logits", values.Head ]
        Updates = List.map2 (fun (state, _) value -> state, value) call.Updates values.Tail
        Gradients = []
        Parameters = call.Parameters
    }

let private train model (request: PlanRequest) =
    let precision = Precision.ofRequest request
    let scale = if precision.ScalesLoss then LossScale.current () else Node.number 1.0
    let call = elaborated (calls request) model
    let isCorrection node = call.Routers |> List.exists (fun r -> Option.map fst r.Correction = Some node)

    let parameters =
        call.Parameters
        |> List.filter (fun p -> not (isCorrection p.Node))
        |> List.map (fun p -> p.Parameter, p.Node)

    let result = MicroBatches.gradients call (List.map snd parameters) request scale
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
