/// Runs `legato generate`: a checkpoint's model goes on from a prompt.
module Legato.Cli.GenerateRun

open System
open System.Diagnostics
open System.IO
open Legato.Cli.Generate
open Legato.Cli.ModelSource
open Legato.Runtime
open Legato.Runtime.Checkpoints
open Legato.Runtime.Devices
open Legato.Runtime.Generation
open Legato.Runtime.Plans
open Legato.Runtime.Text
open Legato.Runtime.Training

let private where = "legato generate"

/// Texts that are written at a time.
let private mostRows = 16

/// Tokens of a prompt that are taken at a time.
let private chunk = 512

let private tokensByDefault = 200

/// One text, as a program reads it.
type Sample = {
    Text: string
    Tokens: int list
    /// "length", "end", "stop" or "cancelled".
    Finish: string
}

/// A generation, as a program reads it.
type Generation = {
    Model: string
    Prompt: string
    PromptTokens: int
    /// None: greedy, where nothing is drawn.
    Seed: uint64 option
    Samples: Sample list
    /// Until the first token.
    PrefillSeconds: float
    DecodeSeconds: float
    /// Of all samples together, after the first token.
    TokensPerSecond: float
}

/// Characters that a prompt may have: many times what the longest contexts hold.
let private longestPrompt = 50_000_000

let private promptOf (options: GenerateOptions) =
    match options.Prompt with
    | Prompt.Text text -> text
    | Prompt.File path -> TextInput.single path |> TextInput.wholeWithin longestPrompt

let private finishOf reason =
    match reason with
    | FinishReason.Length -> "length"
    | FinishReason.EndToken -> "end"
    | FinishReason.StopText -> "stop"
    | _ -> "cancelled"

let private sizes (options: GenerateOptions) rows (context: int) source =
    let precision = DeviceChoice.precision options.Precision
    GeneratorSizes(rows, context, min chunk context, precision, source)

let private needOf (device: IDevice) (plans: IPlanSource) (sizes: GeneratorSizes) =
    let request purpose sequence =
        PlanRequest(
            purpose,
            int64 sizes.Batch,
            sequence,
            int64 sizes.Context,
            sizes.Precision,
            NarrowActivations = device.NarrowsActivations,
            Source = int64 sizes.Source
        )

    let choosing purpose sequence = request purpose sequence |> plans.Plan |> TokenChooser.Choosing

    [
        choosing Purpose.Prefill (int64 sizes.Chunk)
        choosing Purpose.Decode 1L
        if sizes.Source > 0 then
            plans.Plan(request Purpose.Encode 1L)
    ]
    |> MemoryNeed.ofPlans device

let private smaller device plans (options: GenerateOptions) (sizes: GeneratorSizes) prompt : MemoryNeed.Smaller seq =
    let need context precision =
        needOf device plans (GeneratorSizes(sizes.Batch, context, min chunk context, precision, sizes.Source))

    seq {
        {
            MemoryNeed.Switch = fun _ -> "--precision bf16"
            MemoryNeed.Need = fun _ -> need sizes.Context "bf16"
            MemoryNeed.Most = if options.Precision = Precision.Fp32 then 1 else 0
        }

        {
            MemoryNeed.Switch = fun tokens -> $"--max-tokens {tokens}"
            MemoryNeed.Need = fun tokens -> need (prompt + tokens) sizes.Precision
            MemoryNeed.Most = sizes.Context - prompt - 1
        }
    }

/// As many texts at a time as there is memory for.
/// <exception cref="LegatoException">There is none for a single one.</exception>
let private fitting (device: IDevice) plans (options: GenerateOptions) (sizes: int -> GeneratorSizes) prompt =
    let available = MemoryNeed.available device
    let need rows = needOf device plans (sizes rows)

    match MemoryNeed.largestThat (fun rows -> (need rows).Bytes <= available) (min options.Samples mostRows) with
    | Some rows -> sizes rows
    | None ->
        need 1 |> MemoryNeed.require where available (smaller device plans options (sizes 1) prompt)
        sizes 1

/// Bytes of a token that is kept: its number in a list, its text, and its line in the document for programs.
let private keptBytes = 128L

/// Tokens that one such document has at most.
let private mostKept = 1L <<< 25

/// Texts for a program are one document, written once the last has ended.
/// <exception cref="LegatoException">They are more than can be kept.</exception>
let requireKept (available: int64) (samples: int) (tokens: int) =
    let most = min mostKept (available / keptBytes)

    if int64 samples * int64 tokens > most then
        let remedy =
            match most / int64 tokens with
            | 0L -> $"choose --max-tokens {max 1L most} or less"
            | fitting -> $"--samples {fitting} would fit; without --json, texts are written as they end"

        raise (
            LegatoException(
                $"{samples} texts of {Units.tokens tokens} are kept until the last has ended, and there is memory for {Units.tokens most}",
                where,
                remedy
            )
        )

/// Tokens to add, which with the prompt must fit into the context.
let private length (options: GenerateOptions) (context: int) (prompt: int) =
    let room = context - prompt

    match options.MaxTokens with
    | Some tokens when tokens > room ->
        raise (
            LegatoException(
                $"the prompt has {Units.tokens prompt}; with {tokens} more it exceeds the model's context of {context}",
                where,
                if room > 0 then $"give --max-tokens {room} or less" else "shorten the prompt"
            )
        )
    | Some tokens -> tokens
    | None when room < 1 ->
        let what = $"the prompt has {Units.tokens prompt}, and the model's context is {context}"
        raise (LegatoException(what, where, "shorten the prompt"))
    | None -> min tokensByDefault room

let private sampling (options: GenerateOptions) =
    Sampling(options.Temperature, Option.defaultValue 0 options.TopK, options.TopP)

/// The text as it comes, where there is one; several would run into each other.
let private streams (options: GenerateOptions) = options.Samples = 1 && not options.Json

/// Seeds of one's own choice lie below: readers of JSON hold numbers as doubles.
let private seeds = 1L <<< 53

/// Texts from that index on.
let private printed (options: GenerateOptions) prompt start (rows: GeneratedRow[]) =
    if streams options then
        printfn ""
    elif not options.Json then
        rows
        |> Array.iteri (fun i row -> printfn "--- %d of %d\n%s%s" (start + i + 1) options.Samples prompt row.Text)

let private sample (row: GeneratedRow) = {
    Text = row.Text
    Tokens = List.ofSeq row.Tokens
    Finish = finishOf row.Reason
}

let private speak
    (options: GenerateOptions)
    (choice: Choice)
    (generator: Generator)
    (atOnce: int)
    (ids: int[])
    (prompt: string)
    (readsSource: bool)
    length
    =
    // What a source becomes is a text of its own.
    let begun = if readsSource then "" else prompt
    let seed = options.Seed |> Option.defaultWith (fun () -> uint64 (Random.Shared.NextInt64 seeds))
    let toldSeed = if options.Temperature > 0.0 then Some seed else None

    let watch = Stopwatch.StartNew()
    let first = ref TimeSpan.Zero
    let count = ref 0
    let rowsBegun = ref 0

    let onToken (token: GeneratedToken) =
        // The rest of a text comes without one.
        if token.Token.HasValue then
            if count.Value = 0 then
                first.Value <- watch.Elapsed

            count.Value <- count.Value + 1

        if streams options then
            Console.Out.Write token.Text

    if streams options then
        Console.Out.Write begun

    let cancellation = Interrupt.token ()

    // A text's random numbers depend on its index alone.
    let group start count =
        let settings =
            GenerationOptions(length, Sampling = sampling options, Seed = int64 seed + int64 start, Stop = options.Stop)

        rowsBegun.Value <- rowsBegun.Value + count
        let rows = generator.Generate(Array.replicate count ids, settings, Action<_> onToken, cancellation)

        printed options begun start rows
        if options.Json then Array.map sample rows else [||]

    let samples = [|
        for start in 0..atOnce .. options.Samples - 1 do
            if start = 0 || not cancellation.IsCancellationRequested then
                yield! group start (min atOnce (options.Samples - start))
    |]

    let first, tokens = first.Value, count.Value
    let decode = (watch.Elapsed - first).TotalSeconds

    // Each row's first token is its prompt's.
    let decoded = max 0 (tokens - rowsBegun.Value)
    let speed = if decode > 0.0 then float decoded / decode else 0.0

    if options.Json then
        JsonOutput.print {
            Model = choice.Name
            Prompt = prompt
            PromptTokens = ids.Length
            Seed = toldSeed
            Samples = List.ofArray samples
            PrefillSeconds = Math.Round(first.TotalSeconds, 4)
            DecodeSeconds = Math.Round(decode, 4)
            TokensPerSecond = Math.Round(speed, 1)
        }
    else
        let thenAt = if decoded > 0 then $", then {speed:F0} tokens/s" else ""
        let from = toldSeed |> Option.map (sprintf "; seed %d") |> Option.defaultValue ""
        eprintfn "%s, the first after %.0f ms%s%s" (Units.tokens tokens) first.TotalMilliseconds thenAt from

    if cancellation.IsCancellationRequested then Interrupt.exitCode () else 0

let private weightsOf (choice: Choice) =
    choice.Folder
    |> Option.defaultWith (fun () ->
        raise (
            LegatoException(
                "a preset has no weights to speak with",
                choice.Name,
                "give a checkpoint's or a run's folder; `legato train` makes one"
            )
        ))

/// What goes wrong with a model's weights or its tokenizer is told with the folder that they lie in.
let private inFolder folder (work: unit -> 'T) =
    try
        work ()
    with :? LegatoException as mistake when isNull mistake.Where ->
        raise (LegatoException(mistake.What, folder, mistake.Remedy, mistake))

let private speakOf (choose: GenerateOptions -> Choice) (options: GenerateOptions) : int =
    use opening = DeviceChoice.opening options.Device options.Threads options.Pin
    let choice = choose options
    let folder = weightsOf choice
    let tokenizer = Tokenizer.Load folder
    TrainingState.RequireTokenizer(folder, tokenizer)
    let plans = ShownPlans.ofModel (choice.Fit tokenizer)
    let model = plans.Model
    let prompt = promptOf options

    let readsSource = model.Task = ModelTask.SequenceToSequence

    let ids =
        if readsSource then
            SourceText.Encode(tokenizer, prompt)
        else
            match tokenizer.EncodeIds prompt with
            | [||] -> model.BeginToken |> Option.ofNullable |> Option.toArray
            | ids -> ids

    // Beside an encoder a text begins with one token of the model's.
    let begun = if readsSource then 1 else ids.Length
    let tokens = length options (int model.Context) begun

    if options.Json then
        requireKept (MemoryNeed.ofMachine ()) options.Samples tokens

    let sized rows = sizes options rows (begun + tokens) (if readsSource then ids.Length else 0)

    let device = opening.Device
    let sizes = fitting device plans options sized begun

    use memory = new ModelMemory(device)
    use generator = new Generator(plans, memory, sizes, tokenizer)
    HubCheckpoint.Load(folder, model, fun path -> memory.Parameter path)

    inFolder folder (fun () -> speak options choice generator sizes.Batch ids prompt readsSource tokens)

/// Lets a model speak, whatever declares it.
let runWith (choose: GenerateOptions -> Choice) (options: GenerateOptions) : int =
    tellingWhole options.Model (fun () -> speakOf choose options)

/// Lets the model of a checkpoint's or a run's folder speak.
let run (options: GenerateOptions) : int =
    let choice (options: GenerateOptions) =
        let source = findWeights options.Model
        LaterLayers.note source
        choose source

    runWith choice options
