namespace Legato.Compiler

open Legato.Runtime.Plans

/// A step of a plan with what all its executions in one launch cost together.
type StepRow = {
    /// How many loops are around it.
    Depth: int
    Name: string
    /// loop, product, kernel, attention, attention gradient, top-k.
    Kind: string
    /// Sizes of its nest of loops, such as 1024×2304×768.
    Shape: string
    /// A loop's own count; executions in one run of any other step.
    Times: int64
    Flops: float
    Bytes: float
    /// Predicted, launches aside.
    Seconds: float
}

/// How many bytes a class of buffers takes.
type ClassBytes = { Class: BufferClass; Bytes: int64 }

/// A plan's memory.
type PlanMemory = {
    /// Kept between launches, by class.
    Persistent: ClassBytes list
    /// What is alive in the arena at its fullest moment, by class.
    Arena: ClassBytes list
    /// Bytes of the arena that hold nothing at that moment.
    Gaps: int64
    /// The step at which the arena is fullest.
    FullestAt: string
    /// What the device's kernels take beside the plan's buffers; 0 unless `onDevice` told it.
    Working: int64
    /// Everything: what is kept, the arena, the kernels' working memory.
    Peak: int64
}

/// What a plan costs, told without running it.
type PlanReport = {
    Plan: Plan
    Parameters: int64
    /// Tokens that one launch takes in, at the dimensions' maxima.
    Tokens: int64
    Rows: StepRow list
    Flops: float
    Bytes: float
    /// Of a GPU, in one run; 0 unless `onDevice` told it.
    Launches: int
    /// What they take beside the steps' work.
    LaunchSeconds: float
    /// Predicted, of one run.
    Seconds: float
    Memory: PlanMemory
    /// Buffers from the largest down, with their bytes.
    Largest: (PlanBuffer * int64) list
}

[<RequireQualifiedAccess>]
module PlanReport =
    let private times (sizes: int64 seq) = sizes |> Seq.map string |> String.concat "×"

    /// How often a loop runs, where its bounds tell that.
    let private count (maximum: Extent -> int64) (loop: Statement.Loop) : int64 option =
        let bound (e: Expr) =
            match e with
            | :? Expr.Integer as i -> Some i.Value
            | :? Expr.Size as s -> Some(maximum s.Extent)
            | _ -> None

        Option.map2 (-) (bound loop.To) (bound loop.From)

    /// The sizes of the largest nest of loops in a kernel, outermost first.
    let rec private nest (maximum: Extent -> int64) (body: Statement seq) : int64 list =
        let nests =
            body
            |> Seq.choose (fun s ->
                match s with
                | :? Statement.Loop as loop -> Some(Option.toList (count maximum loop) @ nest maximum loop.Body)
                | _ -> None)
            |> List.ofSeq

        if nests.IsEmpty then [] else nests |> List.maxBy (List.fold (*) 1L)

    /// Whether the bounds of all loops tell how often they run.
    let rec private isCounted (maximum: Extent -> int64) (body: Statement seq) =
        body
        |> Seq.forall (fun s ->
            match s with
            | :? Statement.Loop as loop -> (count maximum loop).IsSome && isCounted maximum loop.Body
            | _ -> true)

    let private attention (maximum: Extent -> int64) (s: AttentionShape) =
        [ s.Batch; s.Heads; s.QueryLength; s.KeyLength; s.HeadSize ] |> List.map maximum |> times

    let private kindAndShape (maximum: Extent -> int64) (step: Step) =
        match step with
        | :? Step.MatrixProduct as p ->
            let outer = [ for loop in p.Batch -> maximum loop.Count ]
            let kind = if isNull p.Epilogue then "product" else "product+"
            kind, times (outer @ [ maximum p.M; maximum p.N; maximum p.K ])
        | :? Step.Attention as a -> "attention", attention maximum a.Shape
        | :? Step.AttentionGradient as a -> "attention gradient", attention maximum a.Shape
        | :? Step.TopK as t -> "top-k", times [ maximum t.Rows; maximum t.Width; int64 t.K ]
        | :? Step.Dispatch as d -> "dispatch", times [ int64 d.Rows.Groups; maximum d.Rows.Count ]
        | :? Step.GroupedProduct as p ->
            let kind = if isNull p.Epilogue then "grouped" else "grouped+"
            kind, times [ int64 p.Rows.Groups; maximum p.Rows.Count; maximum p.N; maximum p.K ]
        | :? Step.GroupedGradient as g ->
            "grouped gradient", times [ int64 g.Rows.Groups; maximum g.M; maximum g.N; maximum g.Rows.Count ]
        | :? Step.Fused as f -> "kernel", times (nest maximum f.Kernel.Body)
        | _ -> "loop", ""

    /// Bytes that a step moves. Of what a kernel looks up, such as a table of embeddings, it reads as much as it has iterations.
    let private bytesOf (buffers: Map<int, PlanBuffer>) (maximum: Extent -> int64) (step: Step) =
        let all = maximum step.Cost.Bytes

        match step with
        | :? Step.Fused as f when isCounted maximum f.Kernel.Body ->
            let iterations = nest maximum f.Kernel.Body |> List.fold (*) 1L

            let unread operand (view: BufferView) =
                match f.Kernel.Lookups operand with
                | 0 -> 0L
                | lookups ->
                    let buffer = buffers |> Map.find view.Buffer
                    max 0L (maximum buffer.Elements - iterations * int64 lookups) * int64 (buffer.Type.Size())

            max 0L (all - (f.Operands |> Seq.mapi unread |> Seq.sum))
        | _ -> all

    let rec private rows buffers maximum speed depth executions (steps: Step seq) : StepRow list = [
        for step in steps do
            let kind, shape = kindAndShape maximum step

            match step with
            | :? Step.Loop as loop ->
                let body = rows buffers maximum speed (depth + 1) (executions * loop.Count) loop.Body
                let own = body |> List.filter (fun row -> row.Depth = depth + 1)

                {
                    Depth = depth
                    Name = loop.Name
                    Kind = kind
                    Shape = shape
                    Times = loop.Count
                    Flops = own |> List.sumBy (fun r -> r.Flops)
                    Bytes = own |> List.sumBy (fun r -> r.Bytes)
                    Seconds = own |> List.sumBy (fun r -> r.Seconds)
                }

                yield! body
            | _ ->
                let flops = float (maximum step.Cost.Flops)
                let bytes = float (bytesOf buffers maximum step)

                {
                    Depth = depth
                    Name = step.Name
                    Kind = kind
                    Shape = shape
                    Times = executions
                    Flops = float executions * flops
                    Bytes = float executions * bytes
                    Seconds = float executions * DeviceSpeed.seconds maximum speed step flops bytes
                }
    ]

    let private parametersOf (plan: Plan) = plan.Buffers |> Seq.filter (fun b -> b.Class = BufferClass.Parameter)

    /// Every kernel and product operand of some steps with the elements that all its executions read, a whole buffer's
    /// where that isn't known.
    let rec private reads maximum executions (steps: Step seq) : (int * int64) seq =
        steps
        |> Seq.collect (fun step ->
            match step with
            | :? Step.Loop as loop -> reads maximum (executions * loop.Count) loop.Body
            | :? Step.Fused as f ->
                let iterations = nest maximum f.Kernel.Body |> List.fold (*) 1L
                f.Operands |> Seq.map (fun view -> view.Buffer, executions * iterations)
            | :? Step.MatrixProduct as p ->
                [ p.Left; p.Right ] |> Seq.map (fun operand -> operand.View.Buffer, System.Int64.MaxValue)
            | _ -> Seq.empty)

    /// Bytes of parameters that one launch reads, each once: a lookup reads its rows only.
    let parameterBytesRead (plan: Plan) : int64 =
        let maximum (extent: Extent) = plan.Maximum extent
        let elements = reads maximum 1L plan.Steps |> Seq.groupBy fst |> Map.ofSeq

        parametersOf plan
        |> Seq.sumBy (fun b ->
            let most = elements |> Map.tryFind b.Id |> Option.map (Seq.map snd >> Seq.max) |> Option.defaultValue 0L
            min (maximum b.Elements) most * int64 (b.Type.Size()))

    let private byClass (parts: (BufferClass * int64) seq) =
        parts
        |> Seq.groupBy fst
        |> Seq.map (fun (kind, all) -> { Class = kind; Bytes = all |> Seq.sumBy snd })
        |> Seq.filter (fun c -> c.Bytes > 0L)
        |> Seq.sortBy (fun c -> c.Class)
        |> List.ofSeq

    /// Bytes by class of the buffers alive at a step. Where two share an address (an update in place), the later counts.
    let private alive (buffers: (PlanBuffer * int64) list) at =
        let live = buffers |> List.filter (fun (b, _) -> b.FirstStep <= at && at <= b.LastStep)
        let byAddress = live |> List.sortBy (fun (b, _) -> b.Offset, -b.FirstStep)

        (([], 0L), byAddress)
        ||> List.fold (fun (parts, reached) (b, bytes) ->
            let upto = b.Offset + bytes
            (b.Class, max 0L (upto - max reached b.Offset)) :: parts, max reached upto)
        |> fst

    let private memory (plan: Plan) (sized: (PlanBuffer * int64) list) rows =
        let persistent, transient = sized |> List.partition (fun (b, _) -> b.IsPersistent)
        let transient = transient |> List.filter (fun (b, _) -> b.Offset >= 0L)
        let kept = persistent |> List.map (fun (b, bytes) -> b.Class, bytes)

        let moments =
            rows
            |> List.mapi (fun at row -> row.Name, alive transient at)
            |> List.map (fun (name, parts) -> name, parts, parts |> List.sumBy snd)

        let fullestAt, parts, live =
            if moments.IsEmpty then
                "", [], 0L
            else
                moments |> List.maxBy (fun (_, _, bytes) -> bytes)

        {
            Persistent = byClass kept
            Arena = byClass parts
            Gaps = plan.ArenaBytes - live
            FullestAt = fullestAt
            Working = 0L
            Peak = plan.ArenaBytes + List.sumBy snd kept
        }

    let ofPlan (speed: DeviceSpeed) (plan: Plan) : PlanReport =
        let maximum (extent: Extent) = plan.Maximum extent
        let buffers = plan.Buffers |> Seq.map (fun b -> b.Id, b) |> Map.ofSeq
        let rows = rows buffers maximum speed 0 1L plan.Steps
        let top = rows |> List.filter (fun row -> row.Depth = 0)
        let sized = [ for b in plan.Buffers -> b, maximum b.Bytes ]

        {
            Plan = plan
            Parameters = plan.Parameters |> Seq.sumBy (fun p -> p.Elements)
            Tokens = maximum (plan.Buffer(BufferClass.Input, "tokens").Elements)
            Rows = rows
            Flops = top |> List.sumBy (fun r -> r.Flops)
            Bytes = top |> List.sumBy (fun r -> r.Bytes)
            Launches = 0
            LaunchSeconds = 0.0
            Seconds = top |> List.sumBy (fun r -> r.Seconds)
            Memory = memory plan sized rows
            Largest = sized |> List.sortBy (fun (b, bytes) -> -bytes, b.Id)
        }

    /// The report with what a device takes for it: bytes of its kernels beside the plan's buffers, and launches.
    let onDevice (speed: DeviceSpeed) working launches (report: PlanReport) : PlanReport =
        let launching = float launches * speed.LaunchSeconds

        {
            report with
                Launches = launches
                LaunchSeconds = launching
                Seconds = report.Seconds - report.LaunchSeconds + launching
                Memory = {
                    report.Memory with
                        Working = working
                        Peak = report.Memory.Peak - report.Memory.Working + working
                }
        }

    let rec private kernelsOf (steps: Step seq) : Kernel seq =
        steps
        |> Seq.collect (fun step ->
            match step with
            | :? Step.Loop as loop -> kernelsOf loop.Body
            | :? Step.Fused as f -> Seq.singleton f.Kernel
            | :? Step.MatrixProduct as p when not (isNull p.Epilogue) -> Seq.singleton p.Epilogue
            | _ -> Seq.empty)

    /// The kernels of a plan in the order of their first step, each once however many steps run it.
    let kernels (plan: Plan) : Kernel list =
        Seq.append plan.Setup plan.Steps |> kernelsOf |> Seq.distinctBy (fun k -> k.Text) |> List.ofSeq
