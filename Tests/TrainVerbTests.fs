/// `legato train` as a user runs it: small and quick.
module Legato.Tests.TrainVerbTests

open System.IO
open System.Text.Json
open NUnit.Framework
open Legato.Tests.TrainFixture

[<Test>]
let ``a run's folder holds metrics, report, settings and a checkpoint`` () =
    inFolder (fun folder ->
        let printed = succeed (train folder "run" [ "--steps"; "3" ])
        Assert.That(printed, Does.Contain("3 steps: loss").And.Contain "report.html")
        let run name = Path.Combine(folder, "run", name)
        Assert.That(File.ReadAllLines(run "metrics.jsonl"), Has.Length.EqualTo 3)
        Assert.That(File.ReadAllText(run "report.html"), Does.Contain "<svg")

        Assert.That(
            JsonDocument.Parse(File.ReadAllText(run "settings.json")).RootElement.GetProperty("steps").GetInt32(),
            Is.EqualTo 3
        )

        for file in
            [
                "config.json"
                "model.safetensors"
                "tokenizer.json"
                "optimizer.safetensors"
                "training_state.json"
            ] do
            Assert.That(run (Path.Combine("checkpoints", "step-000003", file)), Does.Exist))

[<Test>]
let ``programs read a line of JSON a step`` () =
    inFolder (fun folder ->
        let lines = (succeed (train folder "run" [ "--steps"; "3"; "--json" ])).TrimEnd().Split '\n'
        let steps = [ for line in lines -> JsonDocument.Parse(line).RootElement ]
        let number (name: string) (line: JsonElement) = line.GetProperty(name).GetDouble()
        Assert.That((steps |> List.map (number "step") = [ 1.0; 2.0; 3.0; 3.0 ]), Is.True)
        Assert.That(steps[..2] |> List.map (number "loss"), Has.All.GreaterThan 0.0)
        Assert.That(steps[3].GetProperty("checkpoint").GetString(), Does.Exist))

[<Test>]
let ``a model of the built-in corpus that spoke on the way speaks at the end`` () =
    inFolder (fun folder ->
        let out = Path.Combine(folder, "run")

        let flags = [
            "--out"
            out
            "--steps"
            "2"
            "--eval-every"
            "1"
            "--batch"
            "2"
            "--sample-prompt"
            "The "
            "--quiet"
        ]

        let said = succeed (Invocation.legato ([ "train"; "llama-tiny" ] @ flags))
        Assert.That(said, Does.Contain "sentences that the grammar accepts"))

[<Test>]
let ``a text is sampled at each evaluation, and the held-out loss told`` () =
    inFolder (fun folder ->
        let flags = [ "--steps"; "2"; "--sample-prompt"; "the " ]
        let data = write folder "text.txt" (String.replicate 20 text)
        let out = Path.Combine(folder, "run")

        let outcome =
            Invocation.legato (
                [
                    "train"
                    "llama-tiny"
                    "--data"
                    data
                    "--out"
                    out
                    "--batch"
                    "2"
                    "--seq"
                    "16"
                    "--eval-every"
                    "1"
                ]
                @ flags
            )

        Assert.That(succeed outcome, Does.Contain "perplexity")
        Assert.That(outcome.Errors, Does.Contain("step 1: the ").And.Contain "step 2: the ")
        Assert.That(outcome.Errors, Does.Contain "tokens/s"))

[<Test>]
let ``the main job measures what it says`` () =
    inFolder (fun folder ->
        let flags = [ "--steps"; "2"; "--batch"; "2"; "--seq"; "32"; "--eval-every"; "0"; "--json" ]
        let out = Path.Combine(folder, "run")
        let printed = succeed (Invocation.legato ([ "train"; "llama-tiny"; "--out"; out ] @ flags))
        let score = JsonDocument.Parse(printed.TrimEnd().Split('\n') |> Array.last).RootElement
        Assert.That(score.GetProperty("sentences_accepted").GetDouble(), Is.InRange(0.0, 1.0))
        Assert.That(score.GetProperty("held_out_sums").GetInt32(), Is.EqualTo 200))

[<Test>]
let ``the main job of sequences too short to speak ends with a note`` () =
    inFolder (fun folder ->
        let flags = [ "--steps"; "2"; "--batch"; "2"; "--seq"; "16"; "--eval-every"; "0" ]
        let out = Path.Combine(folder, "run")
        let outcome = Invocation.legato ([ "train"; "llama-tiny"; "--out"; out ] @ flags)
        Assert.That(succeed outcome, Does.Contain("2 steps: loss").And.Not.Contain "It speaks")
        Assert.That(outcome.Errors, Does.Contain "note: with sequences of 16 tokens"))

[<Test>]
let ``the warm-up is a part of the run, unless told`` () =
    inFolder (fun folder ->
        let quick = [
            "train"
            "llama-tiny"
            "--data"
            write folder "text.txt" text
            "--seq"
            "16"
            "--eval-every"
            "0"
        ]

        let out = Path.Combine(folder, "run")
        succeed (Invocation.legato (quick @ [ "--steps"; "20"; "--quiet"; "--out"; out ])) |> ignore

        let rates = [
            for line in File.ReadAllLines(Path.Combine(out, "metrics.jsonl")) ->
                JsonDocument.Parse(line).RootElement.GetProperty("rate").GetDouble()
        ]

        Assert.That((rates[..1] = [ 0.0015; 0.003 ]), Is.True, $"%A{rates}")
        Assert.That(rates[3], Is.LessThan 0.003))

[<Test>]
let ``a checkpoint that is given another tokenizer says what that costs`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let checkpoint = Path.Combine(folder, "run", "checkpoints", "step-000001")
        let data = Path.Combine(folder, "text.txt")

        let from name flags =
            let out = Path.Combine(folder, name)
            Invocation.legato ([ "train"; checkpoint; "--data"; data; "--out"; out; "--steps"; "1" ] @ small @ flags)

        let note = "another tokenizer than the checkpoint's own"
        Assert.That((from "kept" []).Errors, Does.Not.Contain note)
        Assert.That((from "lost" [ "--tokenizer"; "bytes" ]).Errors, Does.Contain note))

/// The weights of a run's checkpoint, as another program would hand them over: with the vocabulary that is written beside them.
let private weightsAlone folder =
    train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
    let weights = Directory.CreateDirectory(Path.Combine(folder, "weights")).FullName

    for name in [ "config.json"; "model.safetensors" ] do
        File.Copy(Path.Combine(folder, "run", "checkpoints", "step-000001", name), Path.Combine(weights, name))

    weights

let private trainOn (weights: string) out flags =
    let data = Path.Combine(Path.GetDirectoryName weights, "text.txt")
    Invocation.legato ([ "train"; weights; "--data"; data; "--out"; out; "--steps"; "1" ] @ small @ flags)

[<Test>]
let ``a checkpoint's own tokenizer is found, whatever its kind`` () =
    inFolder (fun folder ->
        let weights, out = weightsAlone folder, Path.Combine(folder, "out")

        "[UNK] [CLS] [SEP] [PAD] [MASK] the cat sat on mat dog by .".Replace(' ', '\n')
        |> write weights "vocab.txt"
        |> ignore

        trainOn weights out [] |> succeed |> ignore

        Assert.That(
            File.ReadAllText(Path.Combine(out, "checkpoints", "step-000001", "tokenizer.json")),
            Does.Contain "WordPiece"
        ))

[<Test>]
let ``weights without a tokenizer are trained with one that is named`` () =
    inFolder (fun folder ->
        let weights, out = weightsAlone folder, Path.Combine(folder, "out")
        let refused = trainOn weights out []
        Assert.That(refused.ExitCode, Is.EqualTo 2)
        Assert.That(refused.Errors, Does.Contain("holds no tokenizer").And.Contain(weights).And.Contain "--tokenizer")
        Assert.That(out, Does.Not.Exist)
        trainOn weights out [ "--tokenizer"; "char" ] |> succeed |> ignore)

[<Test>]
let ``words behind a flag that may be repeated are the verb's own`` () =
    inFolder (fun folder ->
        let first, second = write folder "a.txt" text, write folder "b.txt" text
        let out = Path.Combine(folder, "run")

        [
            "train"
            "--data"
            first
            "--data"
            second
            "--set"
            "num_hidden_layers=1"
            "llama-tiny"
            "--out"
            out
        ]
        @ [ "--steps"; "1" ]
        @ small
        |> Invocation.legato
        |> succeed
        |> ignore

        Assert.That(
            File.ReadAllText(Path.Combine(out, "report.html")),
            Does.Contain "then along half a cosine to 0.0003"
        ))
