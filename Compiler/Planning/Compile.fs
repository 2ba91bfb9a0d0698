namespace Legato.Compiler

open System
open System.Collections.Concurrent
open Legato.Dsl
open Legato.Runtime
open Legato.Runtime.Plans

/// The compiler: from a model and a request to a plan.
[<RequireQualifiedAccess>]
module Compile =
    let private checkTask (model: ModelDef) (request: PlanRequest) =
        let isGenerating = request.Purpose = Purpose.Prefill || request.Purpose = Purpose.Decode
        let refuse what remedy = raise (LegatoException(what, model.Name, remedy))

        match model.Task with
        | MaskedLm
        | Classification when isGenerating ->
            refuse $"{model.Name} reads whole texts; it can't continue one" "choose a model that generates"
        | SequenceToSequence when request.Source < 1L ->
            refuse $"{model.Name} reads a source; the plan has none" "give the length of the source"
        | SequenceToSequence when request.IsPacked ->
            refuse $"{model.Name} reads a source; its rows can't hold several documents" "don't pack"
        | SequenceToSequence when request.Source > int64 model.Context ->
            refuse
                $"a source of {request.Source} is longer than the context of {model.Name}, {model.Context}"
                $"use at most {model.Context}"
        | CausalLm
        | MaskedLm
        | Classification when request.IsPacked && (isGenerating || request.Purpose = Purpose.Encode) ->
            refuse "a row with a cache holds one text" "pack rows for training and evaluation only"
        | CausalLm
        | MaskedLm
        | Classification when request.Purpose = Purpose.Encode ->
            refuse $"{model.Name} has no encoder beside its decoder" "ask for another plan"
        | CausalLm
        | MaskedLm
        | Classification
        | SequenceToSequence -> ()

    // A model multiplies all tokens of a call at once; every size of a plan follows from their number.
    let private checkRows name (sequence: int64) (request: PlanRequest) =
        let rows = bigint request.Batch * bigint sequence

        if rows > bigint Int32.MaxValue then
            raise (
                TooLargeException(
                    $"one matrix product would have {rows} rows, {request.Batch} times {sequence}; it takes up to {Int32.MaxValue}",
                    name,
                    "choose a smaller batch or sequence"
                )
            )

    let private check (model: ModelDef) (request: PlanRequest) =
        let positive name value =
            if value < 1L then
                raise (LegatoException($"{name} is {value}", name, "give a positive number"))

        positive "batch" request.Batch
        positive "sequence" request.Sequence
        positive "accumulate" request.Accumulate
        checkTask model request
        let longest = max request.Sequence request.Context

        if longest > int64 model.Context then
            raise (
                LegatoException(
                    $"a sequence of {longest} is longer than the context of {model.Name}, {model.Context}",
                    "sequence",
                    $"use at most {model.Context}, or a model with a longer context"
                )
            )

        checkRows "batch and sequence" request.Sequence request
        checkRows "batch and source" request.Source request

    /// Graph of a request, its mistakes as LegatoExceptions.
    let graph (model: ModelDef) (request: PlanRequest) : Specialise.Call =
        check model request

        try
            Specialise.call model request
        with ModelError(what, where, remedy) as mistake ->
            raise (LegatoException(what, where, remedy, mistake))

    let private dimensions (request: PlanRequest) =
        match request.Purpose with
        | Purpose.Prefill -> [|
            DynamicDimension("batch", 1L, request.Batch)
            DynamicDimension("seq", 1L, request.Sequence)
          |]
        | Purpose.Encode
        | Purpose.Decode -> [| DynamicDimension("batch", 1L, request.Batch) |]
        | _ -> [||]

    let internal taskOf (model: ModelDef) =
        match model.Task with
        | CausalLm -> Plans.ModelTask.CausalLm
        | MaskedLm -> Plans.ModelTask.MaskedLm
        | SequenceToSequence -> Plans.ModelTask.SequenceToSequence
        | Classification -> Plans.ModelTask.Classification

    let private initializer (i: Legato.Dsl.Initializer) =
        match i with
        | Zeros -> Initializer(InitializerKind.Zeros, 0.0)
        | Ones -> Initializer(InitializerKind.Ones, 0.0)
        | Constant x -> Initializer(InitializerKind.Constant, x)
        | Normal x -> Initializer(InitializerKind.Normal, x)
        | Uniform x -> Initializer(InitializerKind.Uniform, x)

    let private parameters (model: ModelDef) (declared: Declared list) = [|
        for p in declared do
            let axes = [| for d in p.Node.Dims -> PlanAxis(d.Name, Place.extent d.Size) |]

            let mesh = [|
                for d in p.Node.Dims do
                    match model.Placement |> List.tryFind (fun r -> r.Axis = d.Name) with
                    | Some rule -> string rule.Mesh
                    | None -> ""
            |]

            PlanParameter(p.Parameter.Path, axes, initializer p.Parameter.Initializer, p.Parameter.Decays, mesh)
    |]

    /// The parameters that a model declares, without compiling anything.
    let declaredBy (model: ModelDef) : Declared list =
        try
            ModelDef.parameters model
        with ModelError(what, where, remedy) as mistake ->
            raise (LegatoException(what, where, remedy, mistake))

    let parametersOf (model: ModelDef) : PlanParameter[] = parameters model (declaredBy model)

    /// What a checkpoint calls a parameter of a model without a table: its path, with an index for each stacked axis.
    let internal ownName (declared: Declared) =
        let stacked = declared.Node.Dims.Length - List.sum declared.Grouping
        String.concat "." (declared.Parameter.Path :: [ for i in 0 .. stacked - 1 -> $"{{{i}}}" ])

    /// Decoding's values are small, and its steps short: with memory of their own a device may join steps, or run them side
    /// by side.
    let private apart purpose = if purpose = Purpose.Decode then 1L <<< 18 else 0L

    /// The plan that a request asks for.
    /// <exception cref="LegatoException">The request can't be met, or the model has a mistake.</exception>
    let plan (model: ModelDef) (request: PlanRequest) : Plan =
        let graph = graph model request
        let dimensions = dimensions request
        let lowered = Lower.call request.Purpose (Precision.ofRequest request) graph
        let bound name = (dimensions |> Array.find (fun d -> d.Name = name)).Maximum

        let buffers, arena =
            Layout.assign (apart request.Purpose) (fun e -> e.Evaluate bound) lowered.Drafts lowered.Steps

        Plan(
            model.Name,
            request.Purpose,
            request.Precision,
            dimensions,
            Array.ofList buffers,
            parameters model graph.Parameters,
            Array.ofList lowered.Setup,
            Array.ofList lowered.Steps,
            arena
        )

/// Plans made on demand, each once.
[<Sealed>]
type CompiledModel(model: ModelDef) =
    let plans = ConcurrentDictionary<PlanRequest, Lazy<Plan>>()

    let weightMap (declared: Declared list) =
        let grouping = declared |> List.map (fun d -> d.Parameter.Path, d.Grouping) |> dict

        let source (w: WeightName) =
            let part =
                w.Part
                |> Option.map (fun p ->
                    WeightPart(
                        p.Axis,
                        int64 p.Start,
                        int64 p.Length,
                        p.Period |> Option.map int64 |> Option.toNullable
                    ))
                |> Option.toObj

            let groups =
                match grouping.TryGetValue w.Path with
                | true, rows :: others when w.RowsApart -> List.toArray (rows - 1 :: others)
                | true, g -> List.toArray g
                | _ -> null

            let numbers = if w.Numbers.IsEmpty then null else List.toArray w.Numbers

            WeightSource(
                w.Path,
                w.Name,
                w.Transposed,
                part,
                groups,
                PairedHeads = w.PairedHeads,
                Numbers = numbers,
                Added = float32 w.Added
            )

        // A model without a table of its own uses its paths.
        let names =
            match model.Weights.Names with
            | [] -> declared |> List.map (fun d -> named d.Parameter.Path (Compile.ownName d))
            | names -> names

        WeightMap(
            [| for w in names -> source w |],
            List.toArray model.Weights.Prefixes,
            List.toArray model.Weights.Ignored
        )

    let description =
        lazy
            ModelDescription(
                model.Name,
                model.Config,
                int64 model.Vocabulary,
                int64 model.Context,
                Option.toNullable model.BeginToken,
                List.toArray model.EndTokens,
                Compile.parametersOf model,
                weightMap (Compile.declaredBy model),
                Compile.taskOf model
            )

    member _.Definition = model

    interface IPlanSource with
        member _.Model = description.Value

        member _.Plan request =
            let make r =
                lazy
                    (let plan = Compile.plan model r
                     Timeline.Mark $"{r.Purpose} planned"
                     plan)

            plans.GetOrAdd(request, make).Value
