/// `legato generate` as a user runs it, on a model that a few steps have trained.
module Legato.Tests.GenerateVerbTests

open System
open System.IO
open System.Text.Json
open NUnit.Framework
open Legato.Cli
open Legato.Runtime

let mutable private folder = ""
let private run () = Path.Combine(folder, "run")

[<OneTimeSetUp>]
let train () =
    folder <- (Directory.CreateTempSubdirectory "legato-generate-").FullName
    let data = Path.Combine(folder, "text.txt")
    File.WriteAllText(data, String.replicate 60 "the cat sat on the mat.\nthe dog sat by the cat.\n")

    let flags = [ "--steps"; "3"; "--batch"; "2"; "--seq"; "16"; "--eval-every"; "0"; "--quiet" ]
    let outcome = Invocation.legato ([ "train"; "llama-tiny"; "--data"; data; "--out"; run () ] @ flags)
    Assert.That(outcome.ExitCode, Is.Zero, outcome.Errors)

[<OneTimeTearDown>]
let remove () = Directory.Delete(folder, true)

let private generate flags =
    let outcome = Invocation.legato ([ "generate"; run () ] @ flags)
    Assert.That(outcome.ExitCode, Is.Zero, outcome.Errors)
    outcome.Output

[<Test>]
let ``greedy text is the same each time`` () =
    let say () = generate [ "--prompt"; "the "; "--max-tokens"; "20"; "--greedy" ]
    Assert.That(say (), Does.StartWith "the ")
    Assert.That(say (), Is.EqualTo(say ()))

[<Test>]
let ``a seed gives the same text, another seed another`` () =
    let say seed = generate [ "--prompt"; "the "; "--max-tokens"; "30"; "--seed"; seed ]
    Assert.That(say "5", Is.EqualTo(say "5"))
    Assert.That(say "5", Is.Not.EqualTo(say "6"))

[<Test>]
let ``a run's folder stands for its latest checkpoint`` () =
    let checkpoint = Path.Combine(run (), "checkpoints", "step-000003")
    let flags = [ "--greedy"; "--max-tokens"; "10" ]
    let outcome = Invocation.legato ([ "generate"; checkpoint ] @ flags)
    Assert.That(outcome.Output, Is.EqualTo(generate flags))

[<Test>]
let ``another tokenizer than the one trained with is refused`` () =
    let checkpoint = Path.Combine(folder, "swapped")
    Directory.CreateDirectory checkpoint |> ignore

    for file in Directory.GetFiles(Path.Combine(run (), "checkpoints", "step-000003")) do
        File.Copy(file, Path.Combine(checkpoint, Path.GetFileName file))

    File.Delete(Path.Combine(checkpoint, "tokenizer.json"))
    let text = Path.Combine(folder, "text.txt")

    let trained =
        Invocation.legato [ "tokenize"; "train"; text; "--kind"; "bytes"; "--out"; checkpoint; "--quiet" ]

    Assert.That(trained.ExitCode, Is.Zero, trained.Errors)
    let outcome = Invocation.legato [ "generate"; checkpoint; "--prompt"; "the " ]
    Assert.That(outcome.ExitCode, Is.EqualTo 2)
    Assert.That(outcome.Errors, Does.Contain "is not the one the checkpoint was trained with")

[<Test>]
let ``without a number of tokens the context is the end`` () =
    let output = generate [ "--greedy"; "--json" ]
    let tokens = JsonDocument.Parse(output).RootElement.GetProperty("samples").[0].GetProperty("tokens")
    Assert.That(tokens.GetArrayLength(), Is.EqualTo 127)

[<Test>]
let ``a seed is told where one is used, as readers of JSON can hold it`` () =
    let seed flags =
        JsonDocument.Parse(generate ([ "--max-tokens"; "2"; "--json" ] @ flags)).RootElement.GetProperty "seed"

    for _ in 1..3 do
        Assert.That((seed []).GetUInt64(), Is.LessThan(1UL <<< 53))

    Assert.That((seed [ "--greedy" ]).ValueKind, Is.EqualTo JsonValueKind.Null)
    let told flags = (Invocation.legato ([ "generate"; run (); "--max-tokens"; "2" ] @ flags)).Errors
    Assert.That(told [], Does.Contain "seed")
    Assert.That(told [ "--greedy" ], Does.Not.Contain "seed")

[<TestCase "bf16">]
[<TestCase "fp16">]
let ``half of the bits still speak`` (precision: string) =
    Assert.That(generate [ "--greedy"; "--max-tokens"; "5"; "--precision"; precision ], Is.Not.Empty)

[<Test>]
let ``programs read samples, tokens and timings`` () =
    let flags = [
        "--prompt"
        "the cat"
        "--max-tokens"
        "12"
        "--samples"
        "3"
        "--seed"
        "1"
        "--top-k"
        "5"
        "--top-p"
        "0.9"
    ]

    let json = JsonDocument.Parse(generate (flags @ [ "--json" ])).RootElement
    let samples = json.GetProperty("samples").EnumerateArray() |> List.ofSeq
    Assert.That(samples, Has.Length.EqualTo 3)
    Assert.That(samples |> List.map (fun s -> s.GetProperty("tokens").GetArrayLength()), Has.All.EqualTo 12)
    Assert.That(json.GetProperty("prompt_tokens").GetInt32(), Is.EqualTo 7)
    Assert.That(json.GetProperty("seed").GetInt32(), Is.EqualTo 1)

[<Test>]
let ``texts are told apart by their index, however many are written at a time`` () =
    let texts samples =
        let flags = [ "--prompt"; "the "; "--max-tokens"; "8"; "--seed"; "3"; "--samples"; string samples ]
        (generate flags).Split "--- " |> List.ofArray |> List.tail

    let many = texts 35
    Assert.That(many, Has.Length.EqualTo 35)
    Assert.That(many |> List.mapi (fun i text -> text.StartsWith $"{i + 1} of 35\nthe "), Has.All.True)
    let bodies (texts: string list) = texts |> List.map (fun text -> text.Substring(text.IndexOf '\n'))
    Assert.That(bodies (texts 20), Is.EqualTo<string list>(List.truncate 20 (bodies many)))
    Assert.That(List.distinct (bodies many), Has.Length.GreaterThan 20)

[<Test>]
let ``more texts than can be kept for a program are refused`` () =
    let kept available samples tokens = Action(fun () -> GenerateRun.requireKept available samples tokens)
    Assert.DoesNotThrow(kept (1L <<< 40) 65536 100)
    let refused = Assert.Throws<LegatoException>(kept (1L <<< 30) 65536 200)
    Assert.That(refused.Message, Does.Contain("--samples 41943 would fit").And.Contain "without --json")
    Assert.That(Assert.Throws<LegatoException>(kept 1280L 1 200).Message, Does.Contain "--max-tokens 10 or less")

[<Test>]
let ``text ends where it is told to stop`` () =
    let flags = [
        "--prompt"
        "the "
        "--max-tokens"
        "60"
        "--temperature"
        "1"
        "--seed"
        "2"
        "--stop"
        "a"
        "--stop"
        "e"
    ]

    let json = JsonDocument.Parse(generate (flags @ [ "--json" ])).RootElement
    let sample = json.GetProperty("samples").[0]
    Assert.That(sample.GetProperty("finish").GetString(), Is.EqualTo "stop")
    Assert.That(sample.GetProperty("text").GetString(), Does.Not.Contain("a").And.Not.Contain "e")

[<Test>]
let ``a prompt can stand in a file`` () =
    let file = Path.Combine(folder, "prompt.txt")
    File.WriteAllText(file, "the dog")
    Assert.That(generate [ "--prompt-file"; file; "--greedy"; "--max-tokens"; "4" ], Does.StartWith "the dog")

[<Test>]
let ``a prompt without an end is refused before it fills memory`` () =
    if OperatingSystem.IsLinux() then
        let outcome = Invocation.legato [ "generate"; run (); "--prompt-file"; "/dev/zero" ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2, outcome.Errors)
        Assert.That(outcome.Errors, Does.Contain("/dev/zero").And.Contain "doesn't say where it ends")

    let long = Path.Combine(folder, "long.txt")
    File.WriteAllText(long, String('a', 50_000_001))
    let outcome = Invocation.legato [ "generate"; run (); "--prompt-file"; long ]
    Assert.That(outcome.ExitCode, Is.EqualTo 2, outcome.Errors)
    Assert.That(outcome.Errors, Does.Contain(long).And.Contain("longer than 50000000 characters"))

[<Test>]
let ``a byte order mark is no part of a prompt`` () =
    let prompt name (text: string) =
        let file = Path.Combine(folder, name)
        File.WriteAllText(file, text)
        generate [ "--prompt-file"; file; "--greedy"; "--max-tokens"; "4" ]

    Assert.That(prompt "marked.txt" "\uFEFFthe dog", Is.EqualTo(prompt "plain.txt" "the dog"))

[<Test>]
let ``a speed is told of what was decoded alone`` () =
    let outcome flags = (Invocation.legato ([ "generate"; run (); "--prompt"; "the " ] @ flags)).Errors

    Assert.That(
        outcome [ "--max-tokens"; "1"; "--samples"; "3" ],
        Does.Contain("3 tokens, the first after").And.Not.Contain "tokens/s"
    )

    Assert.That(outcome [ "--max-tokens"; "2"; "--samples"; "3" ], Does.Contain "tokens/s")

let private mistakes =
    [
        "a preset", [ "llama-tiny" ], [ "has no weights"; "legato train" ]
        "no such folder", [ "nowhere/model" ], [ "no such folder" ]
        "a name of nothing", [ "nowhere" ], [ "no folder or file of that name"; "GGUF"; "run's" ]
        "a text", [ Path.Combine(Repository.root, "README.md") ], [ "this is a file, and no model"; "ends in .gguf" ]
        "a checkpoint's file",
        [ Path.Combine(Repository.root, "global.json") ],
        [ "a checkpoint is a folder"; "give the folder that it lies in" ]
    ]
    |> List.map (fun (name, words, parts) -> TestCaseData(words, parts).SetArgDisplayNames name)

let private refused words parts =
    let outcome = Invocation.legato ("generate" :: words)
    Assert.That(outcome.ExitCode, Is.EqualTo 2, outcome.Errors)
    Assert.That(outcome.Errors, Does.StartWith("error: ").And.Contain "remedy: ")

    for part: string in parts do
        Assert.That(outcome.Errors, Does.Contain part)

[<TestCaseSource(nameof mistakes)>]
let ``a model that can't speak is refused`` (words: string list) (parts: string list) = refused words parts

[<Test>]
let ``a folder of runs is told as one`` () = refused [ folder ] [ "holds runs"; $"give one of them: {run ()}" ]

let rec private copy (from: string) (place: string) =
    Directory.CreateDirectory place |> ignore

    for file in Directory.GetFiles from do
        File.Copy(file, Path.Combine(place, Path.GetFileName file))

    for inner in Directory.GetDirectories from do
        copy inner (Path.Combine(place, Path.GetFileName inner))

[<TestCase("config.json", "generate")>]
[<TestCase("model.safetensors", "generate")>]
[<TestCase("model.safetensors", "inspect")>]
[<TestCase("model.safetensors", "export")>]
let ``of a run whose newest checkpoint is damaged the whole one before it is named`` (name: string) (verb: string) =
    let home = Directory.CreateTempSubdirectory "legato-generate-"

    try
        let place = Path.Combine(home.FullName, "run")
        copy (run ()) place
        let checkpoint step = Path.Combine(place, "checkpoints", step)
        copy (checkpoint "step-000003") (checkpoint "step-000004")
        File.WriteAllText(Path.Combine(place, "latest"), "step-000004")
        let file = Path.Combine(checkpoint "step-000004", name)
        File.WriteAllBytes(file, File.ReadAllBytes(file)[..40])
        let out = if verb = "export" then [ "--out"; Path.Combine(home.FullName, "out") ] else []
        let outcome = Invocation.legato ([ verb; place ] @ out)
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain file)
        let remedy = $"""give {checkpoint "step-000003"}, the checkpoint before, which is whole"""
        Assert.That(outcome.Errors, Does.Contain remedy)
    finally
        home.Delete true

[<Test>]
let ``a run's folder names its tokenizer`` () =
    let text = Path.Combine(folder, "text.txt")
    let encoded path = Invocation.legato [ "tokenize"; "encode"; text; "--tokenizer"; path ]
    let own = encoded (run ())
    Assert.That(own.ExitCode, Is.Zero, own.Errors)
    Assert.That(own.Output, Is.EqualTo (encoded (Path.Combine(run (), "checkpoints", "step-000003"))).Output)

    let flags = [
        "--steps"
        "1"
        "--batch"
        "1"
        "--seq"
        "16"
        "--eval-every"
        "0"
        "--quiet"
        "--tokenizer"
        run ()
    ]

    let trained =
        Invocation.legato (
            [ "train"; "llama-tiny"; "--data"; text; "--out"; Path.Combine(folder, "other", "run") ] @ flags
        )

    Assert.That(trained.ExitCode, Is.Zero, trained.Errors)

[<Test>]
let ``a text longer than the context is refused`` () =
    refused [ run (); "--prompt"; "the "; "--max-tokens"; "125" ] [ "context of 128"; "--max-tokens 124" ]

[<Test>]
let ``one token is one`` () = refused [ run (); "--prompt"; "t"; "--max-tokens"; "128" ] [ "the prompt has 1 token;" ]

/// A copy of the checkpoint, with something done to its weights.
let private damaged name (damage: byte[] -> byte[]) =
    let copy = Directory.CreateDirectory(Path.Combine(folder, name)).FullName

    for file in Directory.GetFiles(Path.Combine(run (), "checkpoints", "step-000003")) do
        File.Copy(file, Path.Combine(copy, Path.GetFileName file))

    let weights = Path.Combine(copy, "model.safetensors")
    File.WriteAllBytes(weights, damage (File.ReadAllBytes weights))
    copy

let private replace (before: string) (after: string) (bytes: byte[]) =
    let text = Text.Encoding.Latin1
    text.GetBytes(text.GetString(bytes).Replace(before, after))

[<Test>]
let ``damaged weights are refused by name`` () =
    refused [ damaged "truncated" (fun bytes -> bytes[.. bytes.Length - 2]) ] [ "model.safetensors" ]

    refused [ damaged "corrupt" (fun bytes -> Array.append [| 255uy; 255uy; 255uy; 255uy |] bytes[4..]) ] [
        "model.safetensors"
    ]

    refused [ damaged "renamed" (replace "model.norm.weight" "model.nurm.weight") ] [
        "model.norm.weight"
        "model.nurm.weight"
    ]

[<Test>]
let ``weights that are no numbers are told with their folder`` () =
    let nothing (bytes: byte[]) =
        let header = 8 + int (BitConverter.ToInt64(bytes, 0))
        Array.append bytes[.. header - 1] (Array.create (bytes.Length - header) 255uy)

    let copy = damaged "no-numbers" nothing
    refused [ copy; "--prompt"; "the " ] [ "no finite number"; $"where: {copy}" ]

[<Test>]
let ``weights of another shape are refused by name`` () =
    let copy = damaged "misshapen" id
    let config = Path.Combine(copy, "config.json")

    File.WriteAllText(
        config,
        File.ReadAllText(config).Replace("\"intermediate_size\": 128", "\"intermediate_size\": 64")
    )

    refused [ copy ] [ "mlp.gate_proj.weight" ]
