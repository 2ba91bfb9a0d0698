/// Objectives: what counts in the loss, and `legato train --objective`.
module Legato.Tests.TrainObjectiveTests

open System
open System.IO
open NUnit.Framework
open Legato.Cli
open Legato.Compiler
open Legato.Runtime.Checkpoints
open Legato.Runtime.Cpu
open Legato.Runtime.Data
open Legato.Runtime.Plans
open Legato.Runtime.Text.Training
open Legato.Runtime.Training

let private rows, private length, private vocabulary = 4, 12, 256
let private checkpoint = Path.Combine(Repository.root, "Tests", "Goldens", "checkpoints", "llama")
let private tokens = [| for i in 0 .. rows * length - 1 -> (37 * i + 11) % vocabulary |]

/// Of the first row every label counts, of the last one alone.
let private labels = [|
    for i in 0 .. rows * length - 1 ->
        let row, place = i / length, i % length

        if place >= length - (rows - row) * 3 + 2 || row = 0 then
            (53 * i + 7) % vocabulary
        else
            Objective.Ignored
|]

let private withPlans (work: IPlanSource -> ModelMemory -> 'T) =
    let plans = CompiledModel(ModelSource.find checkpoint |> ModelSource.definition) :> IPlanSource
    use device = new CpuDevice(CpuDeviceOptions(Nullable 2, false))
    use memory = new ModelMemory(device)
    work plans memory

let private load (plans: IPlanSource) (memory: ModelMemory) =
    HubCheckpoint.Load(checkpoint, plans.Model, fun path -> memory.Parameter path)

/// The mean over the labels that count, from the logits, in float64.
let private expected () =
    withPlans (fun plans memory ->
        use executable =
            memory.Compile(plans.Plan(PlanRequest(Purpose.Forward, int64 rows, int64 length, int64 length)))

        load plans memory
        let logits = VerifyInference.forward executable tokens

        let lossAt i =
            let row = logits[i * vocabulary .. (i + 1) * vocabulary - 1] |> Array.map float
            log (row |> Array.sumBy exp) - row[labels[i]]

        [
            for i in 0 .. labels.Length - 1 do
                if labels[i] >= 0 then
                    lossAt i
        ]
        |> List.average)

[<Test>]
let ``the loss is the mean over the labels that count`` () =
    let loss =
        withPlans (fun plans memory ->
            use executable =
                memory.Compile(plans.Plan(PlanRequest(Purpose.Train, int64 rows, int64 length, int64 length)))

            load plans memory
            TrainingStep(executable, OptimizerSettings.Default, 1L).Run(0L, RowBatch.Of(tokens, labels), 0.0).Loss)

    Assert.That(float loss, Is.EqualTo(expected ()).Within 1e-5)

[<Test>]
let ``an evaluation is the mean over the labels that count, in whatever batch they are`` () =
    // Of the first batch one label counts, of the second all.
    let marked = [| for i in 0 .. 2 * length -> tokens[i] ||| if i > 0 && i < length then TokenMarks.Given else 0 |]

    let range = TokenRange.All(TokenData.Of(marked, int64 vocabulary, String('0', 64)))

    let loss rows batches =
        withPlans (fun plans memory ->
            let request = PlanRequest(Purpose.Evaluate, int64 rows, int64 length, int64 length, IsPacked = true)

            use executable = memory.Compile(plans.Plan request)
            load plans memory
            let data = EvaluationBatches(range, rows, RowShape(length, 0, true), batches)
            Evaluator(executable, data).Run().Loss)

    Assert.That(loss 1 2, Is.EqualTo(loss 2 1).Within 1e-5)

let private moving: Objective list = [
    FillInTheMiddle(1.0, 0.5, 1, 2, 3)
    SpanCorruption(0.3, 3.0, [| 1; 2; 3; 4; 5; 6 |])
    Denoising(0.3, 3.0, 1, 2, [| 3 |])
]

[<TestCaseSource(nameof moving)>]
let ``the loss of a packed row is that of its examples alone`` (objective: Objective) =
    let places, lengths = 48, [ 9; 14; 20; 12 ]

    let text = [|
        for length in lengths do
            for i in 0 .. length - 1 ->
                4 + (3 * i + length) % (vocabulary - 4) ||| if i = 0 then TokenMarks.Begins else 0
    |]

    let data = TokenRange.All(TokenData.Of(text, int64 vocabulary, String('0', 64)))
    let rows = EvaluationBatches(data, 1, RowShape(places, 0, true), 1, objective)
    rows.Fill 0
    let packed = rows.Batch

    let loss (batch: RowBatch) length isPacked =
        withPlans (fun plans memory ->
            let request = PlanRequest(Purpose.Train, 1L, int64 length, int64 length, IsPacked = isPacked)
            use executable = memory.Compile(plans.Plan request)
            load plans memory
            TrainingStep(executable, OptimizerSettings.Default, 1L).Run(0L, batch, 0.0).Loss |> float)

    let alone = [
        for start, run in Array.indexed packed.Starts |> Array.groupBy snd do
            let tokens, labels =
                packed.Tokens[start .. start + run.Length - 1], packed.Labels[start .. start + run.Length - 1]

            let batch = RowBatch.Of(tokens, labels)

            if batch.Told > 0 then
                float batch.Told, loss batch run.Length false
    ]

    Assert.That(alone.Length, Is.GreaterThan 2)
    let mean = (alone |> List.sumBy (fun (told, loss) -> told * loss)) / List.sumBy fst alone
    Assert.That(loss packed places true, Is.EqualTo(mean).Within 1e-5)

let private inFolder (work: string -> unit) =
    let folder = Directory.CreateTempSubdirectory "legato-objective-"

    try
        work folder.FullName
    finally
        folder.Delete true

let private text =
    String.replicate 100 "the cat sat on the mat. was it a cat? the dog sat by the cat!\n"

/// Flags with their values; a test's own replace the usual ones.
let private usual = [
    "--tokenizer", "bpe"
    "--vocab", "350"
    "--batch", "2"
    "--seq", "32"
    "--eval-every", "2"
    "--warmup", "1"
    "--schedule", "constant"
]

let private trainModel model folder name (flags: (string * string) list) =
    let data = Path.Combine(folder, "text.txt")
    File.WriteAllText(data, text)
    // Another tokenizer has its own vocabulary.
    let replaces own flag = own = flag || (own = "--tokenizer" && flag = "--vocab")
    let isOwn (flag, _) = flags |> List.exists (fun (own, _) -> replaces own flag)

    let words = [
        for flag, value in List.filter (isOwn >> not) usual @ flags do
            flag

            if value <> "" then
                value
    ]

    Invocation.legato ([ "train"; model; "--data"; data; "--out"; Path.Combine(folder, name); "--quiet" ] @ words)

let private train = trainModel "llama-tiny"

let private weights folder run =
    File.ReadAllBytes(Path.Combine(folder, run, "checkpoints", "step-000004", "model.safetensors"))

let private resumes (train: string -> string -> (string * string) list -> Invocation.Outcome) folder flags =
    let whole = train folder "whole" (flags @ [ "--steps", "4" ])
    Assert.That(whole.ExitCode, Is.Zero, whole.Errors)
    let half = train folder "half" (flags @ [ "--steps", "2" ])
    Assert.That(half.ExitCode, Is.Zero, half.Errors)

    let rest =
        Invocation.legato [ "train"; "--resume"; Path.Combine(folder, "half"); "--steps"; "4"; "--quiet" ]

    Assert.That(rest.ExitCode, Is.Zero, rest.Errors)
    Assert.That((weights folder "half" = weights folder "whole"), "the weights differ")

[<TestCase("llama-tiny", "spans")>]
[<TestCase("llama-tiny", "denoise")>]
[<TestCase("llama-tiny", "fim")>]
[<TestCase("bert-tiny", "masked")>]
[<TestCase("t5-tiny", "spans")>]
[<TestCase("bart-tiny", "denoise")>]
let ``an objective trains, and a resumed run goes the same way`` (model: string) (objective: string) =
    inFolder (fun folder -> resumes (trainModel model) folder [ "--objective", objective ])

[<TestCase("llama-tiny", "causal")>]
[<TestCase("bert-tiny", "masked")>]
[<TestCase("llama-tiny", "fim")>]
[<TestCase("llama-tiny", "spans")>]
[<TestCase("llama-tiny", "denoise")>]
let ``documents that don't see each other train, and a resumed run goes the same way`` model objective =
    inFolder (fun folder ->
        let flags = [ "--objective", objective; "--pack", ""; "--separator", "." ]
        resumes (trainModel model) folder flags)

let private template =
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    + "{% if add_generation_prompt %}<|assistant|>{% endif %}"

let private conversation (i: int) =
    $$$"""{"messages":[{"role":"user","content":"what is {{{i}}}?"},{"role":"assistant","content":"it is {{{i}}}."}]}"""

[<Test>]
let ``conversations train, and a resumed run goes the same way`` () =
    inFolder (fun folder ->
        let path name = Path.Combine(folder, name)
        File.WriteAllText(path "template.jinja", template)
        File.WriteAllLines(path "chats.jsonl", Seq.init 60 conversation)

        let train folder name flags =
            let words = [
                for flag, value in usual @ flags do
                    flag
                    value
            ]

            let data = [ "--data"; path "chats.jsonl"; "--chat-template"; path "template.jinja" ]

            Invocation.legato (
                [ "train"; "llama-tiny"; "--out"; Path.Combine(folder, name); "--quiet" ] @ data @ words
            )

        resumes train folder [])

[<TestCase("t5-tiny", "spans")>]
[<TestCase("bart-tiny", "denoise")>]
let ``a model with an encoder speaks of what it reads, after training`` model objective =
    inFolder (fun folder ->
        let trained = trainModel model folder "run" [ "--objective", objective; "--steps", "2" ]
        Assert.That(trained.ExitCode, Is.Zero, trained.Errors)

        let said =
            Invocation.legato [
                "generate"
                Path.Combine(folder, "run")
                "--prompt"
                "the cat sat"
                "--max-tokens"
                "5"
                "--seed"
                "1"
                "--json"
            ]

        Assert.That(said.ExitCode, Is.Zero, said.Errors)
        Assert.That(said.Output, Does.Contain "\"samples\""))

let private mistakes = [
    TestCaseData([ "--objective", "masked" ], "both directions").SetArgDisplayNames "masked tokens of a causal model"
    TestCaseData([ "--objective", "fim"; "--tokenizer", "TOKENIZER" ], "has no <|fim_prefix|>").SetArgDisplayNames
        "a tokenizer without the marks"
    TestCaseData([ "--objective-rate", "0.3" ], "--objective causal").SetArgDisplayNames "a rate of nothing"
    TestCaseData([ "--pack", "" ], "one document").SetArgDisplayNames "nothing to pack"
    TestCaseData([ "--pack", ""; "--separator", "cat"; "--tokenizer", "TOKENIZER" ], "3 tokens").SetArgDisplayNames
        "a separator of several tokens"
    TestCaseData([ "--separator", "." ], "--pack").SetArgDisplayNames "a separator of nothing"
    TestCaseData([ "--objective", "spans"; "--seq", "8" ], "at least 16").SetArgDisplayNames "rows too short"
]

[<Test>]
let ``an encoder isn't trained to tell what comes next`` () =
    inFolder (fun folder ->
        let outcome = trainModel "bert-tiny" folder "run" []
        Assert.That(outcome.ExitCode, Is.EqualTo 2, outcome.Output)
        Assert.That(outcome.Errors, Does.Contain "use --objective masked"))

[<Test>]
let ``a model with an encoder isn't trained on one text`` () =
    inFolder (fun folder ->
        let outcome = trainModel "t5-tiny" folder "run" []
        Assert.That(outcome.ExitCode, Is.EqualTo 2, outcome.Output)
        Assert.That(outcome.Errors, Does.Contain "use --objective spans or denoise"))

[<Test>]
let ``a model with an encoder doesn't pack`` () =
    inFolder (fun folder ->
        let outcome =
            trainModel "t5-tiny" folder "run" [ "--objective", "spans"; "--pack", ""; "--separator", "." ]

        Assert.That(outcome.ExitCode, Is.EqualTo 2, outcome.Output)
        Assert.That(outcome.Errors, Does.Contain "leave --pack out"))

[<TestCaseSource(nameof mistakes)>]
let ``a mistake ends with 2 and its remedy`` (flags: (string * string) list) (part: string) =
    inFolder (fun folder ->
        let saved = Path.Combine(folder, "tokenizer")
        let tokenizer = TokenizerTrainer.Train(TokenizerKind.Byte, [])
        tokenizer.Save saved

        let flags =
            flags |> List.map (fun (flag, value) -> flag, (if value = "TOKENIZER" then saved else value))

        let outcome = train folder "run" flags
        Assert.That(outcome.ExitCode, Is.EqualTo 2, outcome.Output)
        Assert.That(outcome.Errors, Does.Contain(part).And.Contain "remedy: "))
