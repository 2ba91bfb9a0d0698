/// A script that declares its own model and has the program's verbs, run as a user runs it.
module Legato.Tests.ScriptTests

open System
open System.Diagnostics
open System.IO
open System.Text.Json
open NUnit.Framework
open Legato.Cli

let private shakespeare = Path.Combine(Repository.root, "Models", "shakespeare.fsx")

/// What a script printed, and its exit code.
let private scriptAt (path: string) (words: string list) =
    let info =
        ProcessStartInfo("dotnet", "fsi" :: path :: words, RedirectStandardOutput = true, RedirectStandardError = true)

    use child = Process.Start info
    let errors = child.StandardError.ReadToEndAsync()
    let output = child.StandardOutput.ReadToEnd()
    child.WaitForExit()
    child.ExitCode, output, errors.Result

let private script words = scriptAt shakespeare words

let private succeed words =
    match script words with
    | 0, output, _ -> output
    | code, _, errors ->
        Assert.Fail $"the script ended with {code}: {errors}"
        ""

let private play () = Repository.shared "data/text/tinyshakespeare_input.txt"

[<Test; Category "Heavy">]
let ``a script's model trains, resumes and speaks`` () =
    let folder = Directory.CreateTempSubdirectory "legato-script-"

    try
        let run = Path.Combine(folder.FullName, "run")
        let small = [ "--batch"; "4"; "--seq"; "64"; "--lr"; "3e-3"; "--warmup"; "5"; "--eval-every"; "0"; "--quiet" ]
        let printed = succeed ([ "train"; "--data"; play (); "--out"; run; "--steps"; "30" ] @ small)
        Assert.That(printed, Does.Contain "30 steps: loss")

        let losses = [
            for line in File.ReadAllLines(Path.Combine(run, "metrics.jsonl")) do
                JsonDocument.Parse(line).RootElement.GetProperty("loss").GetDouble()
        ]

        Assert.That(List.last losses, Is.LessThan(losses.Head - 0.8))

        let resumed = succeed [ "train"; "--resume"; run; "--steps"; "32"; "--quiet" ]
        Assert.That(resumed, Does.Contain "32 steps: loss")

        let spoken = succeed [ "generate"; run; "--prompt"; "ROMEO:"; "--max-tokens"; "40"; "--seed"; "7" ]
        Assert.That(spoken.TrimEnd().Length, Is.GreaterThan 10)
        Assert.That(spoken, Does.StartWith "ROMEO:")
    finally
        folder.Delete true

[<Test; Category "Heavy">]
let ``a script's mistakes are reported like the program's`` () =
    let code, _, errors = script [ "train"; "llama-tiny" ]
    Assert.That(code, Is.EqualTo 2)
    Assert.That(errors, Does.Contain("MODEL is of no use here").And.Contain "remedy: ")
    let code, _, errors = script [ "train"; "--steps"; "0" ]
    Assert.That(code, Is.EqualTo 2)
    Assert.That(errors, Does.Contain("shakespeare.fsx train"))
    Assert.That(errors.Replace(Repository.root, ""), Does.Not.Contain "legato")

[<TestCase("legato train", "dotnet fsi m.fsx train")>]
[<TestCase("`legato train --help` lists", "`dotnet fsi m.fsx -- train --help` lists")>]
[<TestCase("`legato --help` lists", "`dotnet fsi m.fsx -- --help` lists")>]
[<TestCase("legato", "dotnet fsi m.fsx")>]
[<TestCase("with `legato plan --save`", "with `dotnet fsi m.fsx plan --save`")>]
[<TestCase("/home/legato/train", "/home/legato/train")>]
let ``a script's mistakes name the script's commands`` (text: string) (told: string) =
    Assert.That(ErrorReport.calledBy "dotnet fsi m.fsx" text, Is.EqualTo told)

[<TestCase("trian", "did you mean train? `dotnet fsi m.fsx -- --help` lists")>]
[<TestCase("tokenize", "use legato tokenize")>]
let ``a verb that a script doesn't have is told with those that it has`` (word: string) (remedy: string) =
    let mistake = Program.notOfScript "dotnet fsi m.fsx" [ word; "--json" ] |> Option.get
    Assert.That(mistake.What, Does.Contain("train, generate, plan").And.Contain $"'{word}'")
    Assert.That(mistake.Where, Is.EqualTo "dotnet fsi m.fsx")
    Assert.That(mistake.Remedy, Does.StartWith remedy)
    Assert.That(Program.notOfScript "dotnet fsi m.fsx" [ "plan"; "--json" ], Is.EqualTo None)

[<Test; Category "Heavy">]
let ``a script tells the verbs that its model has`` () =
    let code, printed, _ = script []
    Assert.That(code, Is.EqualTo 2)

    for verb in [ "train"; "generate"; "plan"; "-- train --help" ] do
        Assert.That(printed, Does.Contain $"shakespeare.fsx {verb}")

    Assert.That(printed, Does.Not.Contain "inspect")
    let code, printed, _ = script [ "--"; "train"; "--help" ]
    Assert.That(code, Is.Zero)
    Assert.That(printed, Does.Contain("--warmup").And.Not.Contain("--set").And.Not.Contain "MODEL")

[<Test; Category "Heavy">]
let ``a script's model is planned from its declaration alone`` () =
    let printed = succeed [ "plan"; "--train"; "--vocab"; "65"; "--batch"; "4"; "--seq"; "64" ]
    Assert.That(printed, Does.Contain "parameters")
    let code, _, errors = script [ "plan"; "--train" ]
    Assert.That(code, Is.EqualTo 2)
    Assert.That(errors, Does.Contain "--vocab N")

[<TestCase("let c = {"); TestCase("let k, v ="); Category "Heavy">]
let ``what a script throws is the script's mistake`` (before: string) =
    TrainFixture.inFolder (fun folder ->
        let sound = File.ReadAllText(shakespeare).Replace("../Cli", Path.Combine(Repository.root, "Cli"))
        let indented = sound.Split '\n' |> Array.find _.Contains(before)
        let throwing = indented[.. indented.IndexOf before - 1] + "if true then failwith \"boom\"\n"
        let copy = TrainFixture.write folder "mine.fsx" (sound.Replace(indented, throwing + indented))
        let line = 1 + (File.ReadAllLines copy |> Array.findIndex _.Contains("boom"))
        let code, _, errors = scriptAt copy [ "plan"; "--train"; "--vocab"; "65" ]
        Assert.That(code, Is.EqualTo 2, errors)
        Assert.That(errors, Does.Contain("the script's model threw: boom").And.Contain $"mine.fsx, line {line}")
        Assert.That(errors, Does.Contain("remedy: ").And.Not.Contain "defect"))

/// A stop signal reaches a terminal's whole group, and F# Interactive passes it on to the script besides.
[<TestCase("INT", 130); TestCase("TERM", 143); TestCase("HUP", 129); Category "Heavy">]
let ``a script that is told to stop keeps a checkpoint`` (signal: string) (exitCode: int) =
    if not (OperatingSystem.IsLinux()) then
        Assert.Ignore "setsid makes the script and F# Interactive a group of processes"

    TrainFixture.inFolder (fun folder ->
        let run = Path.Combine(folder, "run")
        let data = TrainFixture.write folder "text.txt" TrainFixture.text
        let words = [ "train"; "--data"; data; "--out"; run; "--steps"; "1000000" ] @ TrainFixture.small

        let info =
            ProcessStartInfo(
                "setsid",
                TrainFixture.heeding ([ "dotnet"; "fsi"; shakespeare ] @ words),
                RedirectStandardError = true
            )

        use child = Process.Start info
        let metrics = Path.Combine(run, "metrics.jsonl")
        let isUnderWay () = File.Exists metrics && File.ReadLines metrics |> Seq.length > 3

        Assert.That(
            Threading.SpinWait.SpinUntil((fun () -> isUnderWay ()), TimeSpan.FromMinutes 1.0),
            "it never began"
        )

        use told = Process.Start("sh", [ "-c"; $"kill -s {signal} -- -{child.Id}" ])
        let errors = child.StandardError.ReadToEnd()
        child.WaitForExit()
        Assert.That(errors, Does.Contain("is kept").And.Contain $"train --resume {run}")
        Assert.That(child.ExitCode, Is.EqualTo exitCode, errors))
