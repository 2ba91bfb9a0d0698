/// Runs that are stopped and go on: as if they had not been, and only with what they began with.
module Legato.Tests.TrainResumeTests

open System
open System.Diagnostics
open System.IO
open Legato.Runtime.Training
open NUnit.Framework
open Legato.Tests.TrainFixture

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
let ``a run goes on only with what it began with`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")
        let resumed = Invocation.legato [ "train"; "--resume"; run; "--steps"; "2"; "--batch"; "3"; "--quiet" ]
        Assert.That(resumed.ExitCode, Is.EqualTo 2)
        Assert.That(resumed.Errors, Does.Contain "batch: 2 then, 3 now"))

[<TestCase("--tokenizer", "bytes")>]
[<TestCase("--vocab", "77")>]
[<TestCase("--data", "elsewhere.jsonl")>]
[<TestCase("--out", "elsewhere")>]
[<TestCase("--set", "hidden_size=64")>]
let ``a resumed run keeps its data, its tokenizer and its folder`` (flag: string) (value: string) =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")
        let resumed = Invocation.legato [ "train"; "--resume"; run; "--steps"; "2"; "--quiet"; flag; value ]
        Assert.That(resumed.ExitCode, Is.EqualTo 2)
        Assert.That(resumed.Errors, Does.Contain $"keeps what {flag} said"))

[<Test>]
let ``a resumed run keeps its model`` () =
    inFolder (fun folder ->
        let layers = [ "--set"; "num_hidden_layers=1" ]
        train folder "run" ([ "--steps"; "1" ] @ layers) |> succeed |> ignore
        let resume = [ "--resume"; Path.Combine(folder, "run"); "--steps"; "2"; "--quiet" ]
        let other = Invocation.legato ([ "train"; "gpt2-tiny" ] @ resume)
        Assert.That(other.ExitCode, Is.EqualTo 2)
        Assert.That(other.Errors, Does.Contain("keeps what MODEL said").And.Contain "leave MODEL out")
        Invocation.legato ([ "train"; "llama-tiny" ] @ layers @ resume) |> succeed |> ignore)

[<Test>]
let ``what a killed process had begun to write goes, and nothing else`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")

        for name in [ "report.html"; "metrics.jsonl"; "latest"; "settings.json"; "tokens.bin"; "mine.gguf" ] do
            write run $".partial-99-{name}" "cut sho" |> ignore

        Invocation.legato [ "train"; "--resume"; run; "--steps"; "2"; "--quiet" ] |> succeed |> ignore
        let left = Directory.GetFiles(run, ".partial-*") |> Array.map Path.GetFileName
        Assert.That(left, Is.EqualTo<string[]>([| ".partial-99-mine.gguf" |])))

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
let ``a resumed run says that its learning rate is another`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let resume flags = Invocation.legato ([ "train"; "--resume"; Path.Combine(folder, "run"); "--quiet" ] @ flags)
        let other = resume [ "--steps"; "2"; "--lr"; "0.5" ]
        succeed other |> ignore
        Assert.That(other.Errors, Does.Contain("then up to 0.003 in 1 step,").And.Contain "now up to 0.5 in 1 step,"))

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
        Assert.That(resumed.Errors, Does.Contain("taken 2 steps, and is to take 2").And.Contain "--steps N"))

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

[<Test>]
let ``a run goes on with its text where that lies now, and with no other`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run, data = Path.Combine(folder, "run"), Path.Combine(folder, "text.txt")
        let moved = Path.Combine(folder, "moved.txt")
        let resume steps flags = Invocation.legato ([ "train"; "--resume"; run; "--steps"; steps; "--quiet" ] @ flags)

        let refused steps flags (part: string) =
            let outcome = resume steps flags
            Assert.That(outcome.ExitCode, Is.EqualTo 2)
            Assert.That(outcome.Errors, Does.Contain part)

        File.Move(data, moved)
        refused "2" [] "give --data with where it lies now"
        resume "2" [ "--data"; moved ] |> succeed |> ignore
        // From here on it is known where it lies.
        resume "3" [] |> succeed |> ignore

        File.AppendAllText(moved, "the end.\n")
        refused "4" [] "the text isn't the one that the run's tokens were made of"
        refused "4" [ "--data"; write folder "other.txt" "other text" ] "other.txt"
        write folder "moved.txt" text |> ignore
        resume "4" [] |> succeed |> ignore)

let private program = Path.Combine(Repository.root, "Cli", "bin", "Release", "net10.0", "legato.dll")

/// Waits until a file has that many lines.
let rec private waitFor (path: string) lines (seconds: int) =
    if not (File.Exists path) || (File.ReadLines path |> Seq.length) < lines then
        Assert.That(seconds, Is.Positive, $"{path} never came to {lines} lines")
        Threading.Thread.Sleep 1000
        waitFor path lines (seconds - 1)

[<TestCase("-INT", 130); TestCase("-TERM", 143); TestCase("-HUP", 129)>]
let ``Ctrl-C or a terminal that closes keeps a checkpoint and says how to go on`` (signal: string) (exitCode: int) =
    if OperatingSystem.IsWindows() then
        Assert.Ignore "signals are sent with kill, which Windows has not"

    inFolder (fun folder ->
        let data, run = write folder "text.txt" text, Path.Combine(folder, "run")

        let command =
            [ "dotnet"; program; "train"; "llama-tiny"; "--data"; data; "--out"; run; "--steps"; "1000000" ]
            @ small
            |> heeding

        use child = Process.Start(ProcessStartInfo(command.Head, command.Tail, RedirectStandardError = true))
        waitFor (Path.Combine(run, "metrics.jsonl")) 3 60
        // Twice at once: a group of processes is told, and a parent among them passes it on.
        use kill =
            Process.Start("sh", [ "-c"; $"kill {signal} {child.Id}; sleep 0.05; kill {signal} {child.Id}" ])

        let errors = child.StandardError.ReadToEnd()
        child.WaitForExit()
        Assert.That(child.ExitCode, Is.EqualTo exitCode, errors)
        Assert.That(errors, Does.Contain("is kept").And.Contain $"legato train --resume {run}")
        let step = (File.ReadAllLines(Path.Combine(run, "metrics.jsonl"))).Length
        Assert.That(weights folder "run" step, Is.Not.Empty)
        let more = [ "train"; "--resume"; run; "--steps"; string (step + 1); "--quiet" ]
        Assert.That(succeed (Invocation.legato more), Does.Contain $"{step + 1} steps: loss"))

[<Test>]
let ``what a run goes on with is what it is resumed with again`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")
        let resume flags = Invocation.legato ([ "train"; "--resume"; run; "--quiet" ] @ flags)

        resume [ "--steps"; "2"; "--batch"; "3" ]
        |> fun refused -> Assert.That(refused.ExitCode, Is.EqualTo 2)

        resume [ "--steps"; "2"; "--lr"; "0.5" ] |> succeed |> ignore

        let settings =
            Text.Json.JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "settings.json"))).RootElement

        Assert.That(settings.GetProperty("steps").GetInt32(), Is.EqualTo 2)
        Assert.That(settings.GetProperty("lr").GetDouble(), Is.EqualTo 0.5)
        Assert.That(settings.GetProperty("batch").GetInt32(), Is.EqualTo 2))

[<Test>]
let ``of an optimizer that differs each setting is told`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")
        let flags = [ "--steps"; "2"; "--quiet"; "--clip"; "2"; "--beta1"; "0.8" ]
        let resumed = Invocation.legato ([ "train"; "--resume"; run ] @ flags)
        Assert.That(resumed.ExitCode, Is.EqualTo 2)
        Assert.That(resumed.Errors, Does.Contain("clip: 1 then, 2 now").And.Contain("beta1: 0.9 then, 0.8 now"))
        Assert.That(resumed.Errors, Does.Not.Contain("{").And.Not.Contain "eps:"))
