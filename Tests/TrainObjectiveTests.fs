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
            TrainingStep(executable, OptimizerSettings.Default, 1L).Run(0L, tokens, labels, 0.0).Loss)

    Assert.That(float loss, Is.EqualTo(expected ()).Within 1e-5)

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
    let isOwn (flag, _) = flags |> List.exists (fun (own, _) -> own = flag)

    let words = [
        for flag, value in List.filter (isOwn >> not) usual @ flags do
            yield! [ flag; value ]
    ]

    Invocation.legato ([ "train"; model; "--data"; data; "--out"; Path.Combine(folder, name); "--quiet" ] @ words)

let private train = trainModel "llama-tiny"

let private weights folder run =
    File.ReadAllBytes(Path.Combine(folder, run, "checkpoints", "step-000004", "model.safetensors"))

[<Test>]
let ``an objective trains, and a resumed run goes the same way``
    ([<Values("masked", "spans", "denoise", "fim")>] objective: string)
    =
    let train = if objective = "masked" then trainModel "bert-tiny" else train

    inFolder (fun folder ->
        let whole = train folder "whole" [ "--objective", objective; "--steps", "4" ]
        Assert.That(whole.ExitCode, Is.Zero, whole.Errors)
        let half = train folder "half" [ "--objective", objective; "--steps", "2" ]
        Assert.That(half.ExitCode, Is.Zero, half.Errors)

        let rest =
            Invocation.legato [ "train"; "--resume"; Path.Combine(folder, "half"); "--steps"; "4"; "--quiet" ]

        Assert.That(rest.ExitCode, Is.Zero, rest.Errors)
        Assert.That((weights folder "half" = weights folder "whole"), "the weights differ"))

let private mistakes = [
    TestCaseData([ "--objective", "masked" ], "both directions").SetArgDisplayNames "masked tokens of a causal model"
    TestCaseData([ "--objective", "fim"; "--tokenizer", "TOKENIZER" ], "has no <|fim_prefix|>").SetArgDisplayNames
        "a tokenizer without the marks"
    TestCaseData([ "--objective-rate", "0.3" ], "--objective causal").SetArgDisplayNames "a rate of nothing"
    TestCaseData([ "--objective", "spans"; "--seq", "8" ], "at least 16").SetArgDisplayNames "rows too short"
]

[<Test>]
let ``an encoder isn't trained to tell what comes next`` () =
    inFolder (fun folder ->
        let outcome = trainModel "bert-tiny" folder "run" []
        Assert.That(outcome.ExitCode, Is.EqualTo 2, outcome.Output)
        Assert.That(outcome.Errors, Does.Contain "use --objective masked"))

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
