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
    open System.IO
    open System.Runtime.InteropServices
    open System.Threading
    open Legato.Compiler
    open Legato.Runtime
    open Legato.Runtime.Checkpoints
    open Legato.Runtime.Devices
    open Legato.Runtime.Generation
    open Legato.Runtime.Plans

    /// input_ids [rows, positions], their logits [rows, positions, vocabulary], and greedy: the first row with the tokens
    /// that greedy decoding adds to it.
    let recordFile = "expected.safetensors"

    let isRecordedIn folder = File.Exists(Path.Combine(folder, recordFile))

    let private largest recorded computed = Comparison.largest (Array.map2 Comparison.between recorded computed)

    /// The logits of every position, by a plan without a cache.
    let forward (executable: IExecutable) (tokens: int[]) =
        let plan = executable.Plan
        let input = executable.Memory(plan.Buffer(BufferClass.Input, "tokens"))
        let output = plan.Buffer(BufferClass.Output, "logits")
        let logits = Array.zeroCreate<float32>(int (plan.Maximum output.Elements))
        input.Write(0L, MemoryMarshal.AsBytes(ReadOnlySpan tokens))
        executable.Run()
        executable.Memory(output).Read(0L, MemoryMarshal.AsBytes(Span logits))
        logits

    /// Later positions can't be seen by earlier ones, so that one plan of the whole length serves every token.
    let private uncached (executable: IExecutable) (vocabulary: int) (prompt: int[]) count =
        let tokens = Array.append prompt (Array.zeroCreate count)

        for at in prompt.Length .. tokens.Length - 1 do
            let logits = forward executable tokens
            tokens[at] <- Sampler.Likeliest(ReadOnlySpan(logits, (at - 1) * vocabulary, vocabulary))

        tokens[prompt.Length ..]

    let private cached (plans: IPlanSource) memory precision (prompt: int[]) count =
        let sizes = GeneratorSizes(1, prompt.Length + count, Precision = precision)
        use generator = new Generator(plans, memory, sizes)
        let options = GenerationOptions(count, Sampling = Sampling.Greedy, EndTokens = [||])
        let rows = generator.Generate([| prompt |], options, null, CancellationToken.None)
        Array.ofSeq rows[0].Tokens

    /// How many tokens are others.
    let private others (recorded: int[]) (computed: int[]) =
        Seq.zip recorded computed |> Seq.filter (fun (a, b) -> a <> b) |> Seq.length |> float

    let private greedyTokens (record: SafetensorsFile) (plans: IPlanSource) memory compile precision (prompt: int[]) =
        let recorded = record.Integers "greedy" |> Array.map int |> Array.skip prompt.Length
        use executable: IExecutable = compile 1L (int64 (prompt.Length + recorded.Length))
        let without = uncached executable (int plans.Model.Vocabulary) prompt recorded.Length
        let from = cached plans memory precision prompt recorded.Length
        let judged name a b = { Name = name; Difference = others a b; Allowed = Some 0.0 }

        [
            judged "greedy tokens without a cache" recorded without
            judged "greedy tokens from the cache" recorded from
            judged "tokens from the cache and without" without from
        ]

    /// <exception cref="LegatoException">The folder is no sound checkpoint with records, or of an unknown family.</exception>
    let compare (device: IDevice) precision tolerance (folder: string) : Comparison list =
        let plans = CompiledModel(ModelSource.find folder |> ModelSource.definition) :> IPlanSource
        use record = new SafetensorsFile(Path.Combine(folder, recordFile))
        use memory = new ModelMemory(device)

        let compile batch sequence =
            PlanRequest(
                Purpose.Forward,
                batch,
                sequence,
                sequence,
                precision,
                NarrowActivations = device.NarrowsActivations
            )
            |> plans.Plan
            |> memory.Compile

        let ids = record.Integers "input_ids" |> Array.map int
        let shape = (record.Get "input_ids").Shape
        use executable = compile shape[0] shape[1]
        HubCheckpoint.Load(folder, plans.Model, fun path -> memory.Parameter path)
        let difference = largest (record.Singles "logits") (forward executable ids)

        { Name = "logits"; Difference = difference; Allowed = Some tolerance }
        :: greedyTokens record plans memory compile precision ids[.. int shape[1] - 1]
