namespace Legato.Cli

open System

/// Something recomputed beside what was recorded.
type Comparison = {
    Name: string
    Difference: float
    /// None: told, but not judged.
    Allowed: float option
} with

    /// A difference that is no number is never within.
    member comparison.IsWithin =
        comparison.Allowed |> Option.forall (fun allowed -> comparison.Difference <= allowed)

module Comparison =
    let between (recorded: float32) (computed: float32) = abs (float recorded - float computed)

    /// NaN if there is any among them.
    let largest (differences: float seq) = (0.0, differences) ||> Seq.fold (fun a b -> Math.Max(a, b))

/// Recomputes the logits and the greedy tokens that a checkpoint folder has recorded.
module VerifyInference =
    open System.Collections.Generic
    open System.IO
    open System.Runtime.InteropServices
    open System.Threading
    open Legato.Runtime
    open Legato.Runtime.Checkpoints
    open Legato.Runtime.Devices
    open Legato.Runtime.Generation
    open Legato.Runtime.Plans

    /// input_ids [rows, positions], their logits [rows, positions, vocabulary], and greedy: the first row with the tokens
    /// that greedy decoding adds to it. With an encoder input_ids are the source, decoder_input_ids what the logits are of,
    /// and greedy starts with the model's begin token.
    let recordFile = "expected.safetensors"

    let isRecordedIn folder = File.Exists(Path.Combine(folder, recordFile))

    /// The differences' root mean square, relative to that of what was recorded.
    let private relative recorded computed =
        let square (x: float) = x * x
        let size = recorded |> Array.sumBy (float >> square)
        sqrt ((Array.map2 Comparison.between recorded computed |> Array.sumBy square) / size)

    let private largest recorded computed = Comparison.largest (Array.map2 Comparison.between recorded computed)

    /// Rows of tokens, and what an encoder reads beside them: nothing but for models that have one.
    type private Text = { Rows: int; Tokens: int[]; Source: int[] }

    /// The logits of every position, by a plan without a cache.
    let private logitsOf (executable: IExecutable) (text: Text) =
        let plan = executable.Plan
        let output = plan.Buffer(BufferClass.Output, "logits")
        let logits = Array.zeroCreate<float32>(int (plan.Maximum output.Elements))

        let write name (values: int[]) =
            let memory = executable.Memory(plan.Buffer(BufferClass.Input, name))
            memory.Write(0L, MemoryMarshal.AsBytes(ReadOnlySpan values))

        write "tokens" text.Tokens

        if text.Source.Length > 0 then
            write "source" text.Source
            write "source_lengths" (Array.create text.Rows (text.Source.Length / text.Rows))

        executable.Run()
        executable.Memory(output).Read(0L, MemoryMarshal.AsBytes(Span logits))
        logits

    /// The logits of every position of a text beside a source; empty: the model reads tokens alone.
    let forwardBeside (source: int[]) (executable: IExecutable) (tokens: int[]) =
        logitsOf executable { Rows = 1; Tokens = tokens; Source = source }

    /// The logits of every position of a model that reads tokens alone.
    let forward executable tokens = forwardBeside [||] executable tokens

    /// Later positions can't be seen by earlier ones, so that one plan of the whole length serves every token.
    let private uncached (executable: IExecutable) (vocabulary: int) (prompt: int[]) source count =
        let tokens = Array.append prompt (Array.zeroCreate count)

        for at in prompt.Length .. tokens.Length - 1 do
            let logits = logitsOf executable { Rows = 1; Tokens = tokens; Source = source }
            tokens[at] <- Sampler.Likeliest(ReadOnlySpan(logits, (at - 1) * vocabulary, vocabulary))

        tokens[prompt.Length ..]

    let private cached (plans: IPlanSource) memory precision (prompt: int[]) (source: int[]) count =
        let sizes = GeneratorSizes(1, prompt.Length + count, Precision = precision, Source = source.Length)
        use generator = new Generator(plans, memory, sizes)
        let options = GenerationOptions(count, Sampling = Sampling.Greedy, EndTokens = [||])
        let given = if source.Length > 0 then source else prompt
        let rows = generator.Generate([| given |], options, null, CancellationToken.None)
        Array.ofSeq rows[0].Tokens

    /// How many tokens are others.
    let private others (recorded: int[]) (computed: int[]) =
        Seq.zip recorded computed |> Seq.filter (fun (a, b) -> a <> b) |> Seq.length |> float

    /// How far below the likeliest token's logit that of each token behind the prompt is, at most.
    let private gap executable (vocabulary: int) (prompt: int[]) source (tokens: int[]) =
        let logits = logitsOf executable { Rows = 1; Tokens = Array.append prompt tokens; Source = source }

        tokens
        |> Seq.mapi (fun i token ->
            let row = ArraySegment(logits, (prompt.Length + i - 1) * vocabulary, vocabulary)
            Comparison.between (Seq.max row) row[token])
        |> Comparison.largest

    /// `all`: the prompt and the tokens that greedy decoding adds to it. `off`: how far off single logits are. In a narrow type a
    /// token may be another one whose logit is as high but for that, on both sides.
    let private greedyTokens
        (plans: IPlanSource)
        memory
        compile
        precision
        off
        (all: int[])
        (prompt: int[])
        (source: int[])
        =
        let recorded = Array.skip prompt.Length all
        use executable: IExecutable = compile 1L (int64 all.Length) (int64 source.Length)
        let vocabulary = int plans.Model.Vocabulary
        let from = cached plans memory (DeviceChoice.precision precision) prompt source recorded.Length

        if VerifyTolerance.isNarrow precision then
            let judged name tokens = {
                Name = name
                Difference = gap executable vocabulary prompt source tokens
                Allowed = Some(2.0 * off)
            }

            [
                judged "greedy tokens, below the likeliest" recorded
                judged "tokens from the cache, below the likeliest" from
            ]
        else
            let without = uncached executable vocabulary prompt source recorded.Length
            let judged name a b = { Name = name; Difference = others a b; Allowed = Some 0.0 }

            [
                judged "greedy tokens without a cache" recorded without
                judged "greedy tokens from the cache" recorded from
                judged "tokens from the cache and without" without from
            ]

    /// By how much rounding the weights to a narrow type moves logits in float32, relative.
    let private moved
        compileIn
        (device: IDevice)
        (plans: IPlanSource)
        folder
        precision
        (shape: IReadOnlyList<int64>)
        source
        text
        =
        use memory = new ModelMemory(device)
        use executable: IExecutable = compileIn memory Precision.Fp32 shape[0] shape[1] source
        HubCheckpoint.Load(folder, plans.Model, fun path -> memory.Parameter path)

        let exact = logitsOf executable text

        for parameter in plans.Model.Parameters do
            VerifyTolerance.roundWeights precision (memory.Parameter parameter.Path)

        relative exact (logitsOf executable text)

    /// <exception cref="LegatoException">The folder is no sound checkpoint with records, or of an unknown family.</exception>
    let compare (device: IDevice) precision tolerance (folder: string) : Comparison list =
        let source = ModelSource.find folder
        LaterLayers.note source
        let plans = ModelSource.definition source |> ShownPlans.ofModel
        use record = new SafetensorsFile(Path.Combine(folder, recordFile))
        use memory = new ModelMemory(device)

        let compileIn (memory: ModelMemory) precision batch sequence source =
            PlanRequest(
                Purpose.Forward,
                batch,
                sequence,
                sequence,
                DeviceChoice.precision precision,
                NarrowActivations = device.NarrowsActivations,
                Source = source
            )
            |> plans.Plan
            |> memory.Compile

        let compile = compileIn memory precision

        let ints name = record.Integers name |> Array.map int
        let hasSource = plans.Model.Task = ModelTask.SequenceToSequence
        let tokensName = if hasSource then "decoder_input_ids" else "input_ids"
        let shape = (record.Get tokensName).Shape
        let rows = int shape[0]

        let text = {
            Rows = rows
            Tokens = ints tokensName
            Source = if hasSource then ints "input_ids" else [||]
        }

        let source = int64 (text.Source.Length / rows)
        use executable = compile shape[0] shape[1] source
        HubCheckpoint.Load(folder, plans.Model, fun path -> memory.Parameter path)
        let recorded = record.Singles "logits"
        let computed = logitsOf executable text
        let difference = largest recorded computed

        let logits =
            if VerifyTolerance.isNarrow precision then
                [
                    {
                        Name = "logits, relative root mean square"
                        Difference = relative recorded computed
                        Allowed =
                            moved compileIn device plans folder precision shape source text
                            |> VerifyTolerance.ofRounding
                            |> Some
                    }
                    { Name = "logits"; Difference = difference; Allowed = tolerance }
                ]
            else
                let allowed = tolerance |> Option.defaultValue VerifyTolerance.ofLogits
                [ { Name = "logits"; Difference = difference; Allowed = Some allowed } ]

        if isNull (record.Find "greedy") then
            logits
        else
            let all = ints "greedy"
            let prompt = all[.. if hasSource then 0 else int shape[1] - 1]

            logits
            @ greedyTokens plans memory compile precision difference all prompt text.Source[.. int source - 1]
