/// What `legato train` says of bad input, and that it leaves nothing behind.
module Legato.Tests.TrainMistakeTests

open System
open System.IO
open System.IO.Pipes
open System.Threading
open System.Threading.Tasks
open Legato.Cli
open Legato.Runtime.Training
open NUnit.Framework
open Legato.Tests.TrainFixture

/// What is wrong, the words for it (in a folder), and what the message must say.
let private mistakes: (string * (string -> string list) * string list) list =
    let data folder = write folder "text.txt" text
    let onText folder flags = [ "llama-tiny"; "--data"; data folder ] @ flags

    let bytes folder (content: byte[]) =
        let path = Path.Combine(folder, "data.txt")
        File.WriteAllBytes(path, content)
        [ "llama-tiny"; "--data"; path ]

    let tokenizer folder =
        let path = Path.Combine(folder, "tokenizer")

        Invocation.legato [ "tokenize"; "train"; data folder; "--kind"; "bytes"; "--out"; path ]
        |> succeed
        |> ignore

        path

    [
        "a file that isn't there", (fun folder -> [ "--data"; Path.Combine(folder, "nowhere.txt") ]), [ "nowhere.txt" ]
        "an empty file", (fun folder -> bytes folder [||]), [ "the file is empty" ]
        "a binary file", (fun folder -> bytes folder [| 65uy; 0uy; 66uy |]), [ "the file is binary"; "byte 1" ]
        "no UTF-8", (fun folder -> bytes folder [| 65uy; 0xFFuy |]), [ "no UTF-8"; "0xFF" ]
        "a folder without text", (fun folder -> [ "llama-tiny"; "--data"; folder ]), [ "no .txt file" ]
        "conversations without a template",
        (fun folder -> [
            "llama-tiny"
            "--data"
            write folder "chats.jsonl" """{"messages": [{"role": "user", "content": "a"}]}"""
            "--tokenizer"
            tokenizer folder
        ]),
        [ "no chat template"; $"tokenizer{Environment.NewLine}"; "--chat-template PATH" ]
        "too little text", (fun folder -> bytes folder "ab"B), [ "need 17 tokens"; "has 2"; "data.txt" ]
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
        "a factor of nothing",
        (fun folder -> [
            Path.GetDirectoryName(
                write
                    folder
                    "config.json"
                    """{ "model_type": "llama", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 32,
    "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16,
    "rope_scaling": { "rope_type": "linear", "factor": 0 } }"""
            )
            "--tokenizer"
            "bytes"
        ]),
        [ "stretched by 0"; "config.json, factor" ]
        "a number that no size has",
        (fun folder -> onText folder [ "--set"; "hidden_size=1000000000000" ]),
        [ "hidden_size is 1000000000000, which is too large" ]
        "an epsilon below zero",
        (fun folder -> onText folder [ "--set"; "rms_norm_eps=-1" ]),
        [ "epsilon of -1"; "rms_norm_eps" ]
        "a vocabulary smaller than the tokenizer's",
        (fun folder -> onText folder [ "--set"; "vocab_size=5" ]),
        [ "only 5"; "where: vocab_size" ]
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
        let failed = train folder "run" [ "--steps"; "5"; "--lr"; "1e30" ]
        Assert.That(failed.ExitCode, Is.EqualTo 2, failed.Errors)
        Assert.That(failed.Errors, Does.Contain("lower the learning rate").And.Contain "or once ")
        let again = train folder "run" [ "--steps"; "1" ]
        Assert.That(again.ExitCode, Is.EqualTo 2)

        Assert.That(
            again.Errors,
            Does.Contain("has no checkpoint yet").And.Contain("remove this one").And.Not.Contain "--resume"
        ))

[<Test>]
let ``a run that another process trains, without a checkpoint yet, is said to be in progress`` () =
    inFolder (fun folder ->
        let run, held = RunFolder.Create(Path.Combine(folder, "run"), [])
        use _ = held
        let resumed = Invocation.legato [ "train"; "--resume"; run.Path; "--steps"; "2"; "--quiet" ]
        Assert.That(resumed.ExitCode, Is.EqualTo 2)
        Assert.That(resumed.Errors, Does.Contain("the other run in it").And.Not.Contain "anew"))

[<Test>]
let ``runs that begin in the same second have folders of their own`` () =
    let runs = 6
    use atOnce = new Barrier(runs)
    use entered = new CountdownEvent(runs)

    let place _ =
        Task.Factory.StartNew(
            (fun () ->
                atOnce.SignalAndWait()

                TrainPlace.inRun (TrainPlace.New(None, "test-of-names")) (fun run ->
                    entered.Signal() |> ignore
                    Assert.That(entered.Wait 30_000, "another found no folder")
                    run.Path)),
            TaskCreationOptions.LongRunning
        )

    let places = Task.WhenAll(Array.init runs place).Result
    Assert.That(places, Is.Unique)

    for place in places do
        Assert.That(place, Does.Contain("test-of-names").And.Not.Exist)

[<Test>]
let ``a folder whose run was killed before its first step is taken`` () =
    inFolder (fun folder ->
        let run = Path.Combine(folder, "run")
        Directory.CreateDirectory(Path.Combine(run, "checkpoints")) |> ignore
        write run "settings.json" "{}" |> ignore
        write run "tokens.bin" "another's" |> ignore
        write run ".partial-99-tokens.bin" "cut sho" |> ignore
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore)

[<TestCase("tokens.bin");
  TestCase("report.html");
  TestCase("latest");
  TestCase("settings.json");
  TestCase("metrics.jsonl");
  TestCase("notes.txt")>]
let ``a folder that holds other files is left as it is`` (name: string) =
    inFolder (fun folder ->
        let run = Directory.CreateDirectory(Path.Combine(folder, "run")).FullName
        let file = write run name "precious"
        let outcome = train folder "run" [ "--steps"; "1" ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain("isn't empty").And.Contain "no training run")
        Assert.That(Directory.GetFileSystemEntries run, Is.EqualTo<string[]>([| file |]))
        Assert.That(File.ReadAllText file, Is.EqualTo "precious"))

[<Test>]
let ``an empty folder is taken`` () =
    inFolder (fun folder ->
        Directory.CreateDirectory(Path.Combine(folder, "run")) |> ignore
        train folder "run" [ "--steps"; "1" ] |> succeed |> ignore)

[<Test>]
let ``a pipe for a text is a mistake`` () =
    if OperatingSystem.IsWindows() then
        Assert.Ignore "a pipe has no path on Windows"

    inFolder (fun folder ->
        use pipe = new AnonymousPipeServerStream(PipeDirection.Out)
        let data = $"/dev/fd/{pipe.GetClientHandleAsString()}"
        let out = Path.Combine(folder, "run")
        let outcome = Invocation.legato ([ "train"; "llama-tiny"; "--data"; data; "--out"; out ] @ small)
        Assert.That(outcome.ExitCode, Is.EqualTo 2, outcome.Errors)
        Assert.That(outcome.Errors, Does.Contain("this is a stream").And.Contain $"where: {data}"))

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
let ``folders that were made for a run that never began go with it`` () =
    inFolder (fun folder ->
        let data = write folder "text.txt" "ab"
        let above = Path.Combine(folder, "runs")
        let out = Path.Combine(above, "mine", "first")
        let outcome = Invocation.legato [ "train"; "llama-tiny"; "--data"; data; "--out"; out; "--seq"; "16" ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(above, Does.Not.Exist))

[<Test>]
let ``a run that can't write its first checkpoint says that its folder is in the next one's way`` () =
    inFolder (fun folder ->
        let run = Path.Combine(folder, "run")
        let checkpoints = Path.Combine(run, "checkpoints")

        // A file where the checkpoint is to stand.
        let blocking =
            Task.Run(fun () ->
                while not (File.Exists(Path.Combine(run, "metrics.jsonl"))) do
                    Thread.Sleep 1

                write checkpoints "step-000200" "in the way" |> ignore)

        let failed = train folder "run" [ "--steps"; "200" ]
        blocking.Wait()
        Assert.That(failed.ExitCode, Is.EqualTo 2, failed.Errors)

        Assert.That(
            failed.Errors,
            Does.Contain("is a file").And.Contain $"start again in another folder, or once {run} is removed"
        ))

[<Test>]
let ``a prompt that can't be encoded is refused before the first step`` () =
    inFolder (fun folder ->
        let outcome = train folder "run" [ "--steps"; "2"; "--tokenizer"; "char"; "--sample-prompt"; "ZZ" ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain("where: --sample-prompt").And.Contain "'Z'")
        Assert.That(outcome.Errors.Split("where: "), Has.Length.EqualTo 2)
        Assert.That(Path.Combine(folder, "run"), Does.Not.Exist))

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
