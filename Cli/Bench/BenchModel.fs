/// `legato bench train`, `prefill` and `decode`: a model's plans as they run in earnest, on random tokens.
module Legato.Cli.BenchModel

open System
open System.Runtime.InteropServices
open Legato.Compiler
open Legato.Runtime
open Legato.Runtime.Checkpoints
open Legato.Runtime.Cuda
open Legato.Runtime.Data
open Legato.Runtime.Devices
open Legato.Runtime.Generation
open Legato.Runtime.Plans
open Legato.Runtime.Training

/// Bytes: what the plan foretells, and what the device holds once it is ready to run.
type Memory = { Predicted: int64; Allocated: int64 }

type Result = {
    Limits: Rounds.Limits
    Figure: Rounds.Figure
    /// Tokens a second, by the plan alone.
    Predicted: float
    /// Where the prediction's speed of the device comes from.
    Origin: string
    Memory: Memory
}

type Sizes = {
    Batch: int
    Tokens: int
    /// Tokens of a sequence that are in the cache before.
    Context: int
    Precision: string
    Device: Device
}

/// What a suite makes of a model and measures.
[<NoEquality; NoComparison>]
type private Work = {
    Name: string
    /// The flag of `Tokens`.
    TokensFlag: string
    Request: Sizes -> PlanRequest
    /// Adds what is run with the plan.
    Completed: Plan -> Plan
    Subject: IDevice -> PlanReport -> IExecutable -> Rounds.Subject
}

/// Fewer rows, then shorter ones.
let private requireMemory device (plans: IPlanSource) work (sizes: Sizes) =
    let need sizes = [ work.Request sizes |> plans.Plan |> work.Completed ] |> MemoryNeed.ofPlans device

    let smaller: MemoryNeed.Smaller seq =
        seq {
            {
                MemoryNeed.Switch = fun batch -> $"--batch {batch}"
                MemoryNeed.Need = fun batch -> need { sizes with Batch = batch }
                MemoryNeed.Most = sizes.Batch - 1
            }

            {
                MemoryNeed.Switch = fun tokens -> $"--batch 1 {work.TokensFlag} {tokens}"
                MemoryNeed.Need = fun tokens -> need { sizes with Batch = 1; Tokens = tokens }
                MemoryNeed.Most = sizes.Tokens - 1
            }
        }

    need sizes |> MemoryNeed.require $"legato bench {work.Name}" (MemoryNeed.available device) smaller

/// Makes the plan ready over the checkpoint's weights, or random ones, and measures the work.
let private measure threads rounds (source: ModelSource.Source) (sizes: Sizes) work =
    let plans = ModelSource.definition source |> ShownPlans.ofModel

    if plans.Model.Task = ModelTask.SequenceToSequence then
        let what = $"{source.Name} reads a source with an encoder, which is not measured"

        raise (
            LegatoException(what, $"legato bench {work.Name}", "choose a model that is a decoder alone, or an encoder")
        )

    use device = DeviceChoice.openDevice sizes.Device threads true
    // Before the model takes its memory: the device may have to be measured.
    let target = PlanTarget.ofDevice device sizes.Precision
    requireMemory device plans work sizes
    use memory = new ModelMemory(device)
    let plan = plans.Plan(work.Request sizes)
    use executable = memory.Compile(work.Completed plan)
    let parameter path = memory.Parameter path

    match source.Folder with
    | Some folder -> HubCheckpoint.Load(folder, plans.Model, parameter)
    | None -> InitialParameters.Write(plans.Model, 1L, parameter)

    let report = PlanTarget.report target plan
    let subjects = [ work.Subject device report executable ]

    let limits, figures =
        match device with
        | :? CudaDevice as gpu ->
            Rounds.measureUnder (GpuLimits.ofDevice gpu.Information sizes.Precision) rounds subjects
        | _ -> Rounds.measure threads rounds subjects

    {
        Limits = limits
        Figure = figures.Head
        Predicted = float report.Tokens / report.Seconds
        Origin = target.Origin
        Memory = { Predicted = report.Memory.Peak; Allocated = device.BytesAllocated }
    }

let private randomTokens (plan: Plan) (vocabulary: int64) =
    let random = Random 1
    let count = plan.Maximum(plan.Buffer(BufferClass.Input, "tokens").Elements)
    Array.init (int count) (fun _ -> random.Next(int vocabulary))

let private vocabulary source = int64 (ModelSource.definition source).Vocabulary

/// Optimizer steps, in tokens a second.
let train threads rounds source sizes =
    let request (sizes: Sizes) =
        let sequence = int64 sizes.Tokens
        PlanRequest(Purpose.Train, int64 sizes.Batch, sequence, sequence, sizes.Precision)

    let subject _ (report: PlanReport) (executable: IExecutable) : Rounds.Subject =
        let tokens = randomTokens executable.Plan (vocabulary source)
        let rows = RowBatch.Of(tokens, tokens)
        let step = TrainingStep(executable, OptimizerSettings.Default, 1L)
        let mutable done' = 0L

        {
            Name = "train"
            Unit = "tokens"
            Units = float tokens.Length
            Bound = Rounds.Bound.Arithmetic(report.Flops / float tokens.Length)
            Run = [
                fun () ->
                    step.Run(done', rows, 1e-4) |> ignore
                    done' <- done' + 1L
            ]
        }

    measure threads rounds source sizes {
        Name = "train"
        TokensFlag = "--seq"
        Request = request
        Completed = id
        Subject = subject
    }

let private isOnGpu (sizes: Sizes) = sizes.Device = Device.Cuda

let private write (executable: IExecutable) name (values: int[]) =
    let buffer = executable.Plan.Buffer(BufferClass.Input, name)
    executable.Memory(buffer).Write(0L, MemoryMarshal.AsBytes(ReadOnlySpan values))

/// Whole prompts into an empty cache, in tokens a second.
let prefill threads rounds source (sizes: Sizes) =
    let request (sizes: Sizes) =
        let length = int64 sizes.Tokens

        PlanRequest(
            Purpose.Prefill,
            int64 sizes.Batch,
            length,
            length,
            sizes.Precision,
            NarrowActivations = isOnGpu sizes
        )

    let subject _ (report: PlanReport) (executable: IExecutable) : Rounds.Subject =
        let tokens = randomTokens executable.Plan (vocabulary source)
        write executable "tokens" tokens
        write executable "past" (Array.zeroCreate sizes.Batch)
        write executable "last" (Array.create sizes.Batch (sizes.Tokens - 1))

        {
            Name = "prefill"
            Unit = "tokens"
            Units = float tokens.Length
            Bound = Rounds.Bound.Arithmetic(report.Flops / float tokens.Length)
            Run = [ executable.Run ]
        }

    measure threads rounds source sizes {
        Name = "prefill"
        TokensFlag = "--tokens"
        Request = request
        Completed = id
        Subject = subject
    }

/// Numbers between 1/8 and 2 of either sign, in every type: their last byte holds sign and exponent.
let private fillCaches (executable: IExecutable) =
    let random = Random 2
    let piece = Array.zeroCreate<byte>(1 <<< 20)

    for buffer in executable.Plan.Buffers do
        if buffer.Class = BufferClass.Cache then
            let size, bytes = buffer.Type.Size(), executable.Plan.Maximum buffer.Bytes

            for start in 0L .. int64 piece.Length .. bytes - 1L do
                random.NextBytes piece

                for i in size - 1 .. size .. piece.Length - 1 do
                    piece[i] <- (piece[i] &&& 0x80uy) ||| 0x3euy

                let count = int (min (int64 piece.Length) (bytes - start))
                executable.Memory(buffer).Write(start, ReadOnlySpan(piece, 0, count))

/// Bytes of the caches that a token reads, on average over the tokens of a run: the rows before it and its own; all of what keeps no rows.
let private cacheBytesRead (sizes: Sizes) (plan: Plan) =
    let rows = int64 (sizes.Context + sizes.Tokens)
    let read = (float sizes.Context + float (sizes.Tokens + 1) / 2.0) / float rows

    plan.Buffers
    |> Seq.filter (fun buffer -> buffer.Class = BufferClass.Cache)
    |> Seq.sumBy (fun buffer ->
        let keepsRows = buffer.Axes |> Seq.exists (fun axis -> plan.Maximum axis.Size = rows)
        float (plan.Maximum buffer.Bytes) * (if keepsRows then read else 1.0))

/// Bytes of a part of a run, some 50 to 100 ms on a processor.
let private partBytes = 4e9

/// Into how many equal parts a run is cut; on a GPU, which runs ahead of the host, it stays whole.
let private parts (sizes: Sizes) bytesPerStep =
    let steps =
        if isOnGpu sizes then
            sizes.Tokens
        else
            min sizes.Tokens (max 1 (int (partBytes / bytesPerStep)))

    sizes.Tokens / Seq.find (fun size -> sizes.Tokens % size = 0) (seq { steps .. -1 .. 1 })

/// One token a row after another, each the likeliest after the one before, in tokens a second.
let decode threads rounds source (sizes: Sizes) =
    let request (sizes: Sizes) =
        PlanRequest(
            Purpose.Decode,
            int64 sizes.Batch,
            1L,
            int64 (sizes.Context + sizes.Tokens),
            sizes.Precision,
            NarrowActivations = isOnGpu sizes
        )

    let subject device _ (executable: IExecutable) : Rounds.Subject =
        let model = new CachedModel(device, executable)
        let tokens = randomTokens executable.Plan (vocabulary source)
        let past, last = Array.create sizes.Batch sizes.Context, Array.zeroCreate sizes.Batch
        let next, chosen = Array.create sizes.Batch (sizes.Context + 1), Array.zeroCreate sizes.Batch
        fillCaches executable

        let finish () = model.Chooser.Finish(Span chosen)

        let bytes = float (PlanReport.parameterBytesRead executable.Plan) + cacheBytesRead sizes executable.Plan

        let count = parts sizes bytes

        let part index () =
            if index = 0 then
                model.Chooser.Begin(Sampling.Greedy, ReadOnlySpan [||])
                model.Set(sizes.Batch, 1, ReadOnlySpan tokens, ReadOnlySpan past, ReadOnlySpan last)
                model.Chooser.Place(ReadOnlySpan next)

            for _ in 1 .. sizes.Tokens / count do
                if model.Chooser.IsBusy then
                    finish ()

                model.Start(sizes.Batch, 1)

            while not model.Chooser.IsIdle do
                finish ()

        {
            Name = "decode"
            Unit = "tokens"
            Units = float (sizes.Batch * sizes.Tokens)
            Bound = Rounds.Bound.Reading(bytes / float sizes.Batch)
            Run = List.init count part
        }

    measure threads rounds source sizes {
        Name = "decode"
        TokensFlag = "--tokens"
        Request = request
        Completed = TokenChooser.Choosing
        Subject = subject
    }
