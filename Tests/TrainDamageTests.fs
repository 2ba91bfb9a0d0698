/// Runs with a file missing or damaged, in a checkpoint or beside it: what is told, and that what is told helps.
module Legato.Tests.TrainDamageTests

open System
open System.IO
open System.Text.Json.Nodes
open Legato.Runtime.Checkpoints
open NUnit.Framework
open Legato.Tests.TrainFixture

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

let private cut file = File.WriteAllBytes(file, (File.ReadAllBytes file)[..40])

/// Turns a bit of the last number.
let private turnBit file =
    let bytes = File.ReadAllBytes file
    bytes[bytes.Length - 4] <- bytes[bytes.Length - 4] ^^^ 0x10uy
    File.WriteAllBytes(file, bytes)

let private damages = [
    for name in
        [
            "config.json"
            "tokenizer.json"
            "tokenizer_config.json"
            "training_state.json"
            "model.safetensors"
            "optimizer.safetensors"
        ] do
        name, "is cut short", cut

        if name <> "tokenizer_config.json" then
            name, "is gone", File.Delete

        if name.EndsWith ".safetensors" then
            name, "has a bit turned", turnBit
]

let private damageCases =
    damages
    |> List.map (fun (name, what, damage) -> TestCaseData(name, damage).SetArgDisplayNames $"{name} {what}")

[<TestCaseSource(nameof damageCases)>]
let ``of a damaged checkpoint the one before it is told, and the run goes on from there``
    (name: string)
    (damage: string -> unit)
    =
    inFolder (fun folder ->
        let flags = [ "--steps"; "3"; "--checkpoint-every"; "1"; "--keep"; "9" ]
        train folder "run" flags |> succeed |> ignore
        // As a user writes it, and as messages have it that tell the whole path.
        let run = Path.GetRelativePath(Environment.CurrentDirectory, Path.Combine(folder, "run"))
        let checkpoint step = Path.Combine(run, "checkpoints", $"step-{step:D6}")
        let resume () = Invocation.legato [ "train"; "--resume"; run; "--steps"; "4"; "--quiet" ]
        let damage step = damage (Path.Combine(checkpoint step, name))
        damage 3
        damage 2
        let refused = resume ()
        Assert.That(refused.ExitCode, Is.EqualTo 2)
        Assert.That(refused.Errors, Does.Not.Contain("Could not").And.Not.Contain "MODEL is a preset")
        let latest = Path.Combine(run, "latest")
        Assert.That(refused.Errors, Does.Contain $"write step-000001, which is whole, into {latest} and resume again")
        File.WriteAllText(latest, "step-000001")
        Assert.That(succeed (resume ()), Does.Contain "4 steps: loss"))

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

[<Test>]
let ``a tokenizer that is gone is had from another checkpoint, and no step is lost`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "2"; "--checkpoint-every"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")
        let tokenizer step = Path.Combine(run, "checkpoints", $"step-{step:D6}", "tokenizer.json")
        let resume () = Invocation.legato [ "train"; "--resume"; run; "--steps"; "3"; "--quiet" ]
        File.Delete(tokenizer 2)
        let refused = resume ()
        Assert.That(refused.ExitCode, Is.EqualTo 2)
        Assert.That(refused.Errors, Does.Contain($"where: {tokenizer 2}").And.Contain $"copy {tokenizer 1} there")
        Assert.That(refused.Errors, Does.Not.Contain "--tokenizer")
        File.Copy(tokenizer 1, tokenizer 2)
        resume () |> succeed |> ignore)

[<Test>]
let ``a run without its settings doesn't go on with the defaults`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")
        let settings = Path.Combine(run, "settings.json")
        let written = File.ReadAllText settings
        File.Delete settings
        let resume flags = Invocation.legato ([ "train" ] @ flags @ [ "--resume"; run; "--quiet" ])

        for flags in [ []; [ "llama-tiny" ]; [ "--batch"; "2" ] ] do
            let refused = resume (flags @ [ "--steps"; "2" ])
            Assert.That(refused.ExitCode, Is.EqualTo 2)

            Assert.That(
                refused.Errors,
                Does.Contain("settings are missing").And.Contain($"where: {settings}").And.Contain "MODEL, --data"
            )

        // The two ways that the remedy names.
        let data = Path.Combine(folder, "text.txt")

        resume ([ "llama-tiny"; "--data"; data; "--steps"; "2" ] @ List.except [ "--quiet" ] small)
        |> succeed
        |> ignore

        File.WriteAllText(settings, written)
        resume [ "--steps"; "3" ] |> succeed |> ignore)

[<Test>]
let ``a run whose settings are cut short goes on without them, as is told`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")
        let settings = Path.Combine(run, "settings.json")
        cut settings
        let resume flags = Invocation.legato ([ "train" ] @ flags @ [ "--resume"; run; "--steps"; "2" ])
        let refused = resume []
        Assert.That(refused.ExitCode, Is.EqualTo 2)

        Assert.That(
            refused.Errors,
            Does.Contain("the run's settings can't be read").And.Contain $"where: {settings}, line"
        )

        Assert.That(refused.Errors, Does.Contain "or remove the file and give MODEL, --data and the other flags")
        File.Delete settings
        resume ([ "llama-tiny"; "--data"; Path.Combine(folder, "text.txt") ] @ small) |> succeed |> ignore)

[<Test>]
let ``a run whose checkpoints are gone must be started anew`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")

        let refuses () =
            for refused in [ Invocation.legato [ "train"; "--resume"; run ]; train folder "run" [ "--steps"; "1" ] ] do
                Assert.That(refused.ExitCode, Is.EqualTo 2)
                Assert.That(refused.Errors, Does.Contain("checkpoints are gone").And.Contain "anew in another folder")

        Directory.Delete(Path.Combine(run, "checkpoints", "step-000001"), true)
        refuses ()
        Directory.Delete(Path.Combine(run, "checkpoints"))
        refuses ())

/// The only checkpoint of a run of one step, without a file, and what resuming it says.
let private withoutFile folder name =
    train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
    let run = Path.Combine(folder, "run")
    let checkpoint = Path.Combine(run, "checkpoints", "step-000001")
    File.Delete(Path.Combine(checkpoint, name))
    let resume () = Invocation.legato [ "train"; "--resume"; run; "--steps"; "2"; "--lr"; "0.5" ]
    let refused = resume ()
    Assert.That(refused.ExitCode, Is.EqualTo 2)
    // Nothing is told of training that doesn't come to pass.
    Assert.That(refused.Errors, Does.Not.Contain("parameters").And.Not.Contain "learning rate")
    checkpoint, refused.Errors, resume

[<Test>]
let ``without the optimizer's file the weights begin a new run`` () =
    inFolder (fun folder ->
        let checkpoint, told, _ = withoutFile folder "optimizer.safetensors"
        Assert.That(told, Does.Contain $"its weights can begin a new run: legato train {checkpoint}")
        let data, out = Path.Combine(folder, "text.txt"), Path.Combine(folder, "next")

        Invocation.legato ([ "train"; checkpoint; "--data"; data; "--out"; out; "--steps"; "1" ] @ small)
        |> succeed
        |> ignore)

[<Test>]
let ``a config that is gone is had from a new run of one step`` () =
    inFolder (fun folder ->
        let checkpoint, told, resume = withoutFile folder "config.json"
        Assert.That(told, Does.Contain "a run of one step, begun anew")
        train folder "anew" [ "--steps"; "1" ] |> succeed |> ignore
        let config = Path.Combine(folder, "anew", "checkpoints", "step-000001", "config.json")
        File.Copy(config, Path.Combine(checkpoint, "config.json"))
        resume () |> succeed |> ignore)

let private stateOf checkpoint = Path.Combine(checkpoint, "training_state.json")

/// As a Legato wrote it that recorded no checksums.
let private withoutChecksums checkpoint =
    let state = JsonNode.Parse(File.ReadAllText(stateOf checkpoint)).AsObject()
    Assert.That(state.Remove "checksums")
    File.WriteAllText(stateOf checkpoint, state.ToJsonString())

/// Makes the last number of a file NaN.
let private spoil file =
    let bytes = File.ReadAllBytes file
    BitConverter.TryWriteBytes(bytes.AsSpan(bytes.Length - 4), nanf) |> ignore
    File.WriteAllBytes(file, bytes)

let private lastTensor file =
    use file = new SafetensorsFile(file)
    file.Tensors[file.Tensors.Count - 1].Name

[<TestCase("model.safetensors"); TestCase("optimizer.safetensors")>]
let ``a checkpoint without checksums is gone on from, unless its numbers aren't finite`` (name: string) =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let run = Path.Combine(folder, "run")
        let resume steps = Invocation.legato [ "train"; "--resume"; run; "--steps"; string steps; "--quiet" ]
        let checkpoint step = Path.Combine(run, "checkpoints", $"step-{step:D6}")
        withoutChecksums (checkpoint 1)
        resume 2 |> succeed |> ignore
        withoutChecksums (checkpoint 2)
        let file = Path.Combine(checkpoint 2, name)
        spoil file
        let refused = resume 3
        Assert.That(refused.ExitCode, Is.EqualTo 2)

        Assert.That(
            refused.Errors,
            Does.Contain($"'{lastTensor file}' holds NaN").And.Contain(file).And.Not.Contain "lower the learning rate"
        ))

[<Test>]
let ``weights that aren't finite are no beginning`` () =
    inFolder (fun folder ->
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore
        let checkpoint = Path.Combine(folder, "run", "checkpoints", "step-000001")
        let file = Path.Combine(checkpoint, "model.safetensors")
        spoil file
        let data, out = Path.Combine(folder, "text.txt"), Path.Combine(folder, "next")
        let refused = Invocation.legato ([ "train"; checkpoint; "--data"; data; "--out"; out ] @ small)
        Assert.That(refused.ExitCode, Is.EqualTo 2)
        Assert.That(refused.Errors, Does.Contain($"'{lastTensor file}' holds NaN").And.Contain $"where: {file}")
        Assert.That(out, Does.Not.Exist))
