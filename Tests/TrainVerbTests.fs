/// `legato train` as a user runs it: small and quick.
module Legato.Tests.TrainVerbTests

open System
open System.Diagnostics
open System.IO
open System.Text.Json
open Legato.Runtime.Training
open NUnit.Framework

/// A folder for the length of a test.
let private inFolder (work: string -> unit) =
    let folder = Directory.CreateTempSubdirectory "legato-train-"

    try
        work folder.FullName
    finally
        folder.Delete true

let private text = String.replicate 60 "the cat sat on the mat.\nthe dog sat by the cat.\n"

let private write folder name (content: string) =
    let path = Path.Combine(folder, name)
    File.WriteAllText(path, content)
    path

let private small = [ "--batch"; "2"; "--seq"; "16"; "--eval-every"; "0"; "--seed"; "3"; "--warmup"; "1"; "--quiet" ]

/// Trains `llama-tiny` on a short text into the folder, with flags beside the usual ones.
let private train folder name flags =
    let data = write folder "text.txt" text
    let out = Path.Combine(folder, name)
    Invocation.legato ([ "train"; "llama-tiny"; "--data"; data; "--out"; out ] @ small @ flags)

let private succeed (outcome: Invocation.Outcome) =
    Assert.That(outcome.ExitCode, Is.Zero, outcome.Errors)
    outcome.Output

let private weights folder run step =
    File.ReadAllBytes(Path.Combine(folder, run, "checkpoints", $"step-{step:D6}", "model.safetensors"))

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
let ``a resumed run is the uninterrupted one, bit for bit``
    ([<Values("fp32", "bf16", "fp16")>] precision: string)
    ([<Values("0", "0.1")>] dropout: string)
    =
    inFolder (fun folder ->
        // Of a constant rate, so that a run to step 3 is the beginning of a run to step 6.
        let constant = [ "--schedule"; "constant"; "--precision"; precision; "--dropout"; dropout ]
        train folder "whole" (constant @ [ "--steps"; "6" ]) |> succeed |> ignore
        train folder "parts" (constant @ [ "--steps"; "3" ]) |> succeed |> ignore

        Invocation.legato [ "train"; "--resume"; Path.Combine(folder, "parts"); "--steps"; "6"; "--quiet" ]
        |> succeed
        |> ignore

        Assert.That((weights folder "parts" 6 = weights folder "whole" 6), Is.True)
        let metrics = File.ReadAllLines(Path.Combine(folder, "parts", "metrics.jsonl"))
        Assert.That(metrics, Has.Length.EqualTo 6))

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

/// What is wrong, the words for it (in a folder), and what the message must say.
let private mistakes: (string * (string -> string list) * string list) list =
    let data folder = write folder "text.txt" text
    let onText folder flags = [ "llama-tiny"; "--data"; data folder ] @ flags

    let bytes folder (content: byte[]) =
        let path = Path.Combine(folder, "data.txt")
        File.WriteAllBytes(path, content)
        [ "llama-tiny"; "--data"; path ]

    [
        "a file that isn't there", (fun folder -> [ "--data"; Path.Combine(folder, "nowhere.txt") ]), [ "nowhere.txt" ]
        "an empty file", (fun folder -> bytes folder [||]), [ "the file is empty" ]
        "a binary file", (fun folder -> bytes folder [| 65uy; 0uy; 66uy |]), [ "the file is binary"; "byte 1" ]
        "no UTF-8", (fun folder -> bytes folder [| 65uy; 0xFFuy |]), [ "no UTF-8"; "0xFF" ]
        "a folder without text", (fun folder -> [ "llama-tiny"; "--data"; folder ]), [ "no .txt file" ]
        "too little text", (fun folder -> bytes folder "ab"B), [ "need 17 tokens"; "has 2" ]
        "a batch beyond all sizes",
        (fun folder -> onText folder [ "--device"; "cpu"; "--batch"; "1000000000" ]),
        [ "one matrix product would have"; "a smaller batch" ]
        "an unknown preset",
        (fun _ -> [ "llama-tyni" ]),
        [ "no preset is called 'llama-tyni', and there is no folder"; "llama-tiny" ]
        "a model that isn't there", (fun folder -> [ Path.Combine(folder, "model") ]), [ "no such folder" ]
        "a file for a folder", (fun folder -> [ data folder ]), [ "this is a file" ]
        "a config cut short",
        (fun folder -> [ Path.GetDirectoryName(write folder "config.json" "{") ]),
        [ "no JSON: line "; $"config.json{Environment.NewLine}" ]
        "a folder without a config", (fun folder -> [ folder ]), [ "config.json" ]
        "a key below its range",
        (fun folder -> onText folder [ "--set"; "rope_theta=-1" ]),
        [ "a base of -1"; "rope_theta" ]
        "a size of zero",
        (fun folder -> onText folder [ "--set"; "num_attention_heads=0" ]),
        [ "num_attention_heads is 0"; "the model's config, num_attention_heads" ]
        "an unknown key", (fun folder -> onText folder [ "--set"; "layers=3" ]), [ "'layers'"; "num_hidden_layers" ]
        "a key's wrong value", (fun folder -> onText folder [ "--set"; "hidden_size=big" ]), [ "hidden_size" ]
        "sizes that don't fit", (fun folder -> onText folder [ "--set"; "hidden_size=65" ]), [ "65" ]
        "a sequence too long", (fun folder -> onText folder [ "--seq"; "129" ]), [ "129"; "context"; "128" ]
        "no run to resume", (fun folder -> [ "--resume"; folder ]), [ "no training run" ]
        "no such tokenizer", (fun folder -> onText folder [ "--tokenizer"; "wordy" ]), [ "wordy" ]
        "too much memory",
        (fun folder -> [ "gpt3-175b"; "--data"; data folder ]),
        [ "of memory"; "the largest"; "choose a smaller model" ]
        "a warm-up longer than the run",
        (fun folder -> onText folder [ "--warmup"; "2" ]),
        [ "--warmup must be at most what --steps is, 1, not 2" ]
        "a decay longer than the run",
        (fun folder -> onText folder [ "--decay-steps"; "2"; "--schedule"; "wsd" ]),
        [ "--decay-steps must be" ]
        "decay steps without a decay",
        (fun folder -> onText folder [ "--decay-steps"; "1" ]),
        [ "--decay-steps means nothing with --schedule cosine" ]
        "a warm-up that runs into the decay",
        (fun folder -> onText folder [ "--warmup"; "1"; "--decay-steps"; "1"; "--schedule"; "wsd" ]),
        [ "1 and 1 steps, of 1 in all" ]
        "more batches a step than the data has",
        (fun folder -> onText folder [ "--accumulate"; "60000"; "--batch"; "2" ]),
        [ "60000 batches of 2 rows reads more than all of the data"; "accumulate"; "or fewer" ]
        "a batch too large",
        (fun folder -> onText folder [ "--batch"; "4194304"; "--seq"; "128" ]),
        [ "of memory"; "--batch"; "would fit" ]
    ]

let private cases =
    mistakes
    |> List.map (fun (name, words, parts) -> TestCaseData(words, parts).SetArgDisplayNames name)

[<TestCaseSource(nameof cases)>]
let ``bad input ends with 2, says what and where, and leaves nothing behind``
    (words: string -> string list)
    (parts: string list)
    =
    inFolder (fun folder ->
        let out = Path.Combine(folder, "run")
        let given = words folder
        let place = if List.contains "--resume" given then [] else [ "--out"; out ]
        let usual = if List.contains "--seq" given then [] else [ "--seq"; "16" ]
        let outcome = Invocation.legato ([ "train" ] @ given @ place @ usual @ [ "--quiet"; "--steps"; "1" ])
        Assert.That(outcome.ExitCode, Is.EqualTo 2, outcome.Errors)
        Assert.That(outcome.Errors, Does.StartWith("error: ").And.Contain "remedy: ")
        Assert.That(out, Does.Not.Exist)

        for part in parts do
            Assert.That(outcome.Errors, Does.Contain part))

[<Test>]
let ``a run is never written over another`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let before = weights folder "run" 1
        let again = train folder "run" [ "--steps"; "2" ]
        Assert.That(again.ExitCode, Is.EqualTo 2)
        Assert.That(again.Errors, Does.Contain("holds a training run already").And.Contain "--resume")
        Assert.That((weights folder "run" 1 = before), Is.True))

[<Test>]
let ``a folder whose run has no checkpoint isn't said to go on by --resume`` () =
    inFolder (fun folder ->
        let failed = train folder "run" [ "--steps"; "5"; "--lr"; "1e99" ]
        Assert.That(failed.ExitCode, Is.EqualTo 2, failed.Errors)
        let again = train folder "run" [ "--steps"; "1" ]
        Assert.That(again.ExitCode, Is.EqualTo 2)

        Assert.That(
            again.Errors,
            Does.Contain("has no checkpoint yet").And.Contain("remove this one").And.Not.Contain "--resume"
        ))

[<Test>]
let ``a run goes on only with what it began with`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")
        let resumed = Invocation.legato [ "train"; "--resume"; run; "--steps"; "2"; "--batch"; "3"; "--quiet" ]
        Assert.That(resumed.ExitCode, Is.EqualTo 2)
        Assert.That(resumed.Errors, Does.Contain "batch: 2 then, 3 now"))

[<TestCase("--tokenizer", "bytes")>]
[<TestCase("--vocab", "77")>]
[<TestCase("--data", "elsewhere.txt")>]
[<TestCase("--out", "elsewhere")>]
let ``a resumed run keeps its data, its tokenizer and its folder`` (flag: string) (value: string) =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")
        let resumed = Invocation.legato [ "train"; "--resume"; run; "--steps"; "2"; "--quiet"; flag; value ]
        Assert.That(resumed.ExitCode, Is.EqualTo 2)
        Assert.That(resumed.Errors, Does.Contain $"keeps what {flag} said"))

[<Test>]
let ``a run doesn't go on with another tokenizer in its checkpoint`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        train folder "other" [ "--steps"; "1"; "--tokenizer"; "bytes" ] |> succeed |> ignore

        let tokenizer run = Path.Combine(folder, run, "checkpoints", "step-000001", "tokenizer.json")
        File.Copy(tokenizer "other", tokenizer "run", true)

        let resumed =
            Invocation.legato [ "train"; "--resume"; Path.Combine(folder, "run"); "--steps"; "2"; "--quiet" ]

        Assert.That(resumed.ExitCode, Is.EqualTo 2)
        Assert.That(resumed.Errors, Does.Contain "is not the one the checkpoint was trained with"))

[<Test>]
let ``a resumed run counts its steps from where it began`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let resumed = Invocation.legato [ "train"; "--resume"; Path.Combine(folder, "run"); "--steps"; "3" ]
        succeed resumed |> ignore

        Assert.That(
            resumed.Errors,
            Does.Contain("training 2/3").And.Contain("training 3/3").And.Contain "the run is in"
        ))

[<Test>]
let ``no folder is told of a run that never began`` () =
    inFolder (fun folder ->
        let data = write folder "text.txt" "ab"
        let out = Path.Combine(folder, "run")
        let outcome = Invocation.legato [ "train"; "llama-tiny"; "--data"; data; "--out"; out; "--seq"; "16" ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain("parameters").And.Not.Contain "the run is in")
        Assert.That(out, Does.Not.Exist))

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
let ``a resumed run says that its learning rate is another`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let resume flags = Invocation.legato ([ "train"; "--resume"; Path.Combine(folder, "run"); "--quiet" ] @ flags)
        let other = resume [ "--steps"; "2"; "--lr"; "0.5" ]
        succeed other |> ignore
        Assert.That(other.Errors, Does.Contain("then up to 0.003 in 1 steps").And.Contain "now up to 0.5 in 1 steps"))

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

[<Test>]
let ``a command that began a run goes on with it`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        train folder "run" [ "--steps"; "2"; "--resume"; Path.Combine(folder, "run") ] |> succeed |> ignore)

[<Test>]
let ``a finished run says so`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "2" ] |> succeed |> ignore
        let resumed = Invocation.legato [ "train"; "--resume"; Path.Combine(folder, "run"); "--quiet" ]
        Assert.That(resumed.ExitCode, Is.EqualTo 2)
        Assert.That(resumed.Errors, Does.Contain("all of its 2 steps").And.Contain "--steps N"))

[<Test>]
let ``a run that another process has is left alone`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")
        use _ = RunFolder.Open(run).Lock()
        let resumed = Invocation.legato [ "train"; "--resume"; run; "--steps"; "2"; "--quiet" ]
        Assert.That(resumed.ExitCode, Is.EqualTo 2)
        Assert.That(resumed.Errors, Does.Contain "the other run in it"))

[<Test>]
let ``a prompt that can't be encoded is refused before the first step`` () =
    inFolder (fun folder ->
        let outcome = train folder "run" [ "--steps"; "2"; "--tokenizer"; "char"; "--sample-prompt"; "ZZ" ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain("where: --sample-prompt").And.Contain "'Z'")
        Assert.That(Path.Combine(folder, "run"), Does.Not.Exist))

[<Test>]
let ``a damaged checkpoint is refused`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")
        let file = Path.Combine(run, "checkpoints", "step-000001", "model.safetensors")
        File.WriteAllBytes(file, (File.ReadAllBytes file)[..999])
        let resumed = Invocation.legato [ "train"; "--resume"; run; "--steps"; "2"; "--quiet" ]
        Assert.That(resumed.ExitCode, Is.EqualTo 2)
        Assert.That(resumed.Errors, Does.Contain "model.safetensors"))

[<Test>]
let ``a run doesn't go on with tokens that have changed`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")
        let tokens = Path.Combine(run, "tokens.bin")
        let sound = File.ReadAllBytes tokens
        let resume () = Invocation.legato [ "train"; "--resume"; run; "--steps"; "2"; "--quiet" ]

        File.WriteAllBytes(tokens, Array.updateAt 400 (sound[400] ^^^ 1uy) sound)
        let refused = resume ()
        Assert.That(refused.ExitCode, Is.EqualTo 2)

        Assert.That(
            refused.Errors,
            Does.Contain("checksum differs").And.Contain(tokens).And.Contain "remedy: remove it"
        )

        // What the remedy says helps.
        File.Delete tokens
        resume () |> succeed |> ignore
        Assert.That((File.ReadAllBytes tokens = sound), Is.True))

[<TestCase("config.json", "the config is no JSON: line 1");
  TestCase("training_state.json", "line 1 is not what Legato writes")>]
let ``a checkpoint's damaged file is told with its line`` (name: string) (what: string) =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")
        let file = Path.Combine(run, "checkpoints", "step-000001", name)
        File.WriteAllText(file, "\u0015")
        let resumed = Invocation.legato [ "train"; "--resume"; run; "--steps"; "2"; "--quiet" ]
        Assert.That(resumed.ExitCode, Is.EqualTo 2)
        Assert.That(resumed.Errors, Does.Contain(what).And.Contain(name).And.Contain "remedy: "))

let private program = Path.Combine(Repository.root, "Cli", "bin", "Release", "net10.0", "legato.dll")

/// Waits until a file has that many lines.
let rec private waitFor (path: string) lines (seconds: int) =
    if not (File.Exists path) || (File.ReadLines path |> Seq.length) < lines then
        Assert.That(seconds, Is.Positive, $"{path} never came to {lines} lines")
        Threading.Thread.Sleep 1000
        waitFor path lines (seconds - 1)

[<Test>]
let ``Ctrl-C keeps a checkpoint and says how to go on`` () =
    if OperatingSystem.IsWindows() then
        Assert.Ignore "signals are sent with kill, which Windows has not"

    inFolder (fun folder ->
        let data, run = write folder "text.txt" text, Path.Combine(folder, "run")

        let words =
            [ program; "train"; "llama-tiny"; "--data"; data; "--out"; run; "--steps"; "1000000" ] @ small

        use child = Process.Start(ProcessStartInfo("dotnet", words, RedirectStandardError = true))
        waitFor (Path.Combine(run, "metrics.jsonl")) 3 60
        use kill = Process.Start("kill", [ "-INT"; string child.Id ])
        let errors = child.StandardError.ReadToEnd()
        child.WaitForExit()
        Assert.That(child.ExitCode, Is.EqualTo 130, errors)
        Assert.That(errors, Does.Contain("is kept").And.Contain $"legato train --resume {run}")
        let step = (File.ReadAllLines(Path.Combine(run, "metrics.jsonl"))).Length
        Assert.That(weights folder "run" step, Is.Not.Empty)
        let more = [ "train"; "--resume"; run; "--steps"; string (step + 1); "--quiet" ]
        Assert.That(succeed (Invocation.legato more), Does.Contain $"{step + 1} steps: loss"))

[<Test>]
let ``a run whose folder can't be written to ends with what to do`` () =
    inFolder (fun folder ->
        let file = write folder "file" "in the way"
        let outcome = train folder (Path.Combine("file", "run")) [ "--steps"; "1" ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)

        Assert.That(
            outcome.Errors,
            Does.Contain("can't make the folder").And.Contain($"{file} is a file").And.Contain "remedy: "
        )

        Assert.That(File.ReadAllText file, Is.EqualTo "in the way"))
