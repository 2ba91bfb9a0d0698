/// The command line: help that is held, flags and config files that become options, mistakes that say what to do.
module Legato.Tests.CommandLineTests

open System
open System.IO
open System.Text.Json
open Argu
open NUnit.Framework
open Legato.Cli
open Legato.Runtime

let private topics () =
    Program.helpTopics ()
    |> List.map (fun words -> TestCaseData(words).SetArgDisplayNames(String.Join(' ', "legato" :: words)))

[<TestCaseSource(nameof topics)>]
let ``the help text is held`` (words: string list) =
    let name = String.Join('-', "legato" :: words)
    Golden.hold $"help/{name}.txt" (Program.help words)

[<TestCaseSource(nameof topics)>]
let ``--help prints the help text and succeeds`` (words: string list) =
    let outcome = Invocation.legato (words @ [ "--help" ])
    Assert.That(outcome.ExitCode, Is.Zero)
    Assert.That(outcome.Output.Trim(), Is.EqualTo((Program.help words).Trim()))

[<Test>]
let ``the flags of every verb are well formed`` () =
    ArgumentParser.Create<Program.LegatoArgument>(checkStructure = true) |> ignore

let private mistakes =
    [
        "an unknown verb", [ "trian" ], [ "'trian'"; "did you mean train" ]
        "an unknown flag", [ "train"; "--stpes"; "3" ], [ "'--stpes'"; "did you mean --steps" ]
        "an unknown flag after a list", [ "train"; "--data"; "a"; "--stpes" ], [ "'--stpes'" ]
        "a word for a number", [ "train"; "--steps"; "many" ], [ "--steps"; "'many'" ]
        "a number out of range", [ "train"; "--steps"; "0" ], [ "--steps must be at least 1, not 0"; "legato train" ]
        "two mistakes at once", [ "train"; "--lr"; "0"; "--beta1"; "1" ], [ "--lr"; "--beta1" ]
        "no number at all", [ "train"; "--lr"; "nan" ], [ "--lr" ]
        "a flag given twice", [ "train"; "--steps"; "1"; "--steps"; "2" ], [ "--steps is given more than once" ]
        "half an assignment", [ "train"; "--set"; "layers" ], [ "'layers' has no value"; "--set KEY=VALUE" ]
        "no model", [ "generate" ], [ "MODEL is not given" ]
        "flags that contradict", [ "generate"; "m"; "--greedy"; "--temperature"; "1" ], [ "--greedy and --temperature" ]
        "two purposes", [ "plan"; "m"; "--train"; "--decode" ], [ "--train and --decode" ]
        "a cache for training",
        [ "plan"; "gpt2-tiny"; "--context"; "5" ],
        [ "--context means nothing with --train"; "--prefill, --decode" ]
        "a sequence for decoding",
        [ "plan"; "gpt2-tiny"; "--decode"; "--seq"; "5" ],
        [ "--seq means nothing with --decode" ]
        "no backward pass to compute again in",
        [ "plan"; "gpt2-tiny"; "--prefill"; "--remat"; "block" ],
        [ "--remat means nothing with --prefill"; "choose --train" ]
        "packed rows with a cache",
        [ "plan"; "gpt2-tiny"; "--decode"; "--pack" ],
        [ "--pack means nothing with --decode" ]
        "a graph beside JSON", [ "plan"; "gpt2-tiny"; "--json"; "--graph" ], [ "--json and --graph contradict" ]
        "more batches than a step can have",
        [ "train"; "--accumulate"; "2147483647" ],
        [ "--accumulate must lie between 1 and 65536" ]
        "no suite", [ "bench" ], [ "no suite"; "gemm" ]
        "an unknown suite", [ "bench"; "gem" ], [ "'gem'"; "did you mean gemm" ]
        "a flag of another suite",
        [ "bench"; "gemm"; "--experts"; "3" ],
        [ "--experts means nothing with gemm"; "choose moe" ]
        "a model for a suite without one", [ "bench"; "gemm"; "llama-100m" ], [ "a model means nothing with gemm" ]
        "a size beyond 64 bits",
        [ "bench"; "gemm"; "--size"; "2147483647" ],
        [ "beyond what 64 bits count"; "where: legato bench gemm"; "choose a smaller --size" ]
        "a product beyond all memory",
        [ "bench"; "gemm"; "--size"; "1000000" ],
        [ "of memory, and"; "are free"; "where: legato bench gemm"; "a smaller --size" ]
        "rows beyond all memory",
        [ "bench"; "norm"; "--tokens"; "10000000"; "--size"; "100000"; "--device"; "cpu" ],
        [ "of memory, and"; "where: legato bench norm"; "choose a smaller --tokens or --size" ]
        "experts beyond all memory",
        [ "bench"; "moe"; "--experts"; "100000"; "--device"; "cpu" ],
        [ "of memory, and"; "where: legato bench moe"; "--experts" ]
        "a model beyond all memory",
        [ "bench"; "train"; "gpt3-175b"; "--device"; "cpu" ],
        [ "of memory, and"; "where: legato bench train"; "choose a smaller model" ]
        "a benchmark's batch beyond all memory",
        [ "bench"; "prefill"; "llama-tiny"; "--tokens"; "128"; "--batch"; "9000000"; "--device"; "cpu" ],
        [ "of memory, and"; "where: legato bench prefill"; "remedy: --batch"; "would fit" ]
        "two sizes beyond 64 bits",
        [ "bench"; "norm"; "--tokens"; "2147483647"; "--size"; "2147483647"; "--device"; "cpu" ],
        [ "choose a smaller --tokens or --size" ]
        "experts beyond 64 bits", [ "bench"; "moe"; "--experts"; "2147483647" ], [ "--experts" ]
        "more experts a token than there are",
        [ "bench"; "moe"; "--top"; "9"; "--experts"; "8" ],
        [ "--top must be at most what --experts is, 8, not 9" ]
        "more samples than can be kept",
        [ "generate"; "m"; "--samples"; "2147483647" ],
        [ "--samples must lie between" ]
        "a template for plain text",
        [ "train"; "--data"; "own.txt"; "--chat-template"; "nofile" ],
        [ "--chat-template means nothing with plain text" ]
        "a vocabulary for characters",
        [ "train"; "--vocab"; "300"; "--tokenizer"; "char" ],
        [ "--vocab means nothing with this tokenizer"; "--tokenizer bpe" ]
        "a source for a decoder",
        [ "plan"; "gpt2-124m"; "--source"; "5" ],
        [ "--source means nothing with gpt2-124m"; "where: legato plan" ]
        "a batch of more rows than a product takes",
        [ "plan"; "gpt2-124m"; "--batch"; "16000000" ],
        [ "one matrix product would have 16384000000 rows" ]
        "the largest batch of all",
        [ "plan"; "gpt2-124m"; "--batch"; "2147483647"; "--train" ],
        [ "one matrix product would have"; "where: batch" ]
        "a number beyond 32 bits",
        [ "train"; "--steps"; "99999999999999" ],
        [ "--steps must be at most 2147483647, not 99999999999999" ]
        "a number beyond 64 bits",
        [ "generate"; "m"; "--seed"; "99999999999999999999" ],
        [ "--seed must be at most 18446744073709551615" ]
        "more threads than a team has",
        [ "generate"; "m"; "--threads"; "100000" ],
        [ "--threads must lie between 1 and 1024" ]
        "attention by the interpreter",
        [ "bench"; "attention"; "--device"; "interpreter" ],
        [ "--device interpreter means nothing with attention"; "cpu, cuda" ]
        "a file for a folder to save to",
        [ "plan"; "gpt2-tiny"; "--save"; Path.Combine(Repository.root, "README.md") ],
        [ "README.md is a file" ]
        "a file for a folder of records", [ "verify"; Path.Combine(Repository.root, "README.md") ], [ "this is a file" ]
        "no action", [ "tokenize" ], [ "subcommand" ]
        "no tokenizer", [ "tokenize"; "encode" ], [ "--tokenizer is not given" ]
        "a config that isn't there", [ "train"; "--config"; "nowhere.json" ], [ "nowhere.json" ]
    ]
    |> List.map (fun (name, words, parts) -> TestCaseData(words, parts).SetArgDisplayNames name)

[<TestCaseSource(nameof mistakes)>]
let ``a mistake ends with 2 and says what and where`` (words: string list) (parts: string list) =
    let outcome = Invocation.legato words
    Assert.That(outcome.ExitCode, Is.EqualTo 2)
    Assert.That(outcome.Output, Is.Empty)
    Assert.That(outcome.Errors, Does.StartWith("error: ").And.Contain("where: ").And.Contain("remedy: "))

    for part in parts do
        Assert.That(outcome.Errors, Does.Contain part)

let private trainOptions words = Train.options (ArgumentParser.Create<Train.TrainArgument>().Parse(Array.ofList words))

/// A config file of this text, and the options of a command line that starts with it.
let private withConfig (text: string) words =
    let path = Path.GetTempFileName()

    try
        File.WriteAllText(path, text)
        trainOptions ([ "--config"; path ] @ words)
    finally
        File.Delete path

let private ok result =
    match result with
    | Ok options -> options
    | Error(mistakes: LegatoException list) -> failwith $"%A{mistakes |> List.map _.Message}"

let private errors result =
    match result with
    | Ok _ -> []
    | Error(mistakes: LegatoException list) -> mistakes |> List.map _.Message

[<Test>]
let ``no flags are the main job`` () = Assert.That(ok (trainOptions []), Is.EqualTo TrainOptions.defaults)

[<Test>]
let ``flags become options`` () =
    let options =
        "gpt2-124m --data a --data b --resume --lr 3e-4 --no-pin --set layers=4 --set embed=256 --schedule wsd --tokenizer bpe"
        |> _.Split(' ')
        |> List.ofArray
        |> trainOptions
        |> ok

    let expected = {
        TrainOptions.defaults with
            Model = "gpt2-124m"
            Data = [ "a"; "b" ]
            Start = TrainOptions.Start.Latest
            LearningRate = 3e-4
            Pin = false
            Overrides = [ "layers", "4"; "embed", "256" ]
            Schedule = Schedule.Wsd
            Tokenizer = TrainOptions.TokenizerSource.BytePairs
    }

    Assert.That(options, Is.EqualTo expected)

let private config =
    """{ "model": "llama-1b", "steps": 10, "lr": 1e-2, "data": ["a", "b"],
  "set": { "layers": 4 }, "no-pin": true, "quiet": false, "schedule": "linear" }"""

let private configured = {
    TrainOptions.defaults with
        Model = "llama-1b"
        Steps = 10
        LearningRate = 1e-2
        Data = [ "a"; "b" ]
        Overrides = [ "layers", "4" ]
        Pin = false
        Schedule = Schedule.Linear
}

[<Test>]
let ``a config's keys are the flags' names`` () = Assert.That(ok (withConfig config []), Is.EqualTo configured)

[<Test>]
let ``flags go on top of the config, lists as a whole`` () =
    let options = ok (withConfig config [ "--steps"; "20"; "--data"; "c" ])

    Assert.That(options, Is.EqualTo { configured with Steps = 20; Data = [ "c" ] })

let private badConfigs =
    [
        "an unknown key", "{\n \"stpes\": 3 }", [ "unknown config key 'stpes'"; "line 2"; "did you mean steps" ]
        "a key twice", "{ \"steps\": 3, \"steps\": 4 }", [ "'steps' more than once" ]
        "a value of the wrong type", "{ \"steps\": \"many\" }", [ "\"many\" is no value"; "key 'steps'" ]
        "a number for a switch", "{ \"no-pin\": 1 }", [ "1 is no value"; "key 'no-pin'" ]
        "nothing for a number", "{ \"steps\": null }", [ "null is no value" ]
        "a value out of range", "{ \"steps\": 0 }", [ "--steps must be at least 1" ]
        "a config in a config", "{ \"config\": \"x\" }", [ "unknown config key 'config'" ]
        "broken JSON", "{\n \"steps\": \n", [ "isn't valid JSON"; "line " ]
        "a list", "[1]", [ "one JSON object" ]
    ]
    |> List.map (fun (name, text, parts) -> TestCaseData(text, parts).SetArgDisplayNames name)

[<TestCaseSource(nameof badConfigs)>]
let ``a mistake in a config says which key, where and what to do`` (text: string) (parts: string list) =
    let message = String.concat "\n" (errors (withConfig text []))
    Assert.That(message, Does.Contain "where: ")

    for part in parts do
        Assert.That(message, Does.Contain part)

[<Test>]
let ``doctor tells programs what it tells people`` () =
    let outcome = Invocation.legato [ "doctor"; "--json" ]
    let machine = JsonDocument.Parse(outcome.Output).RootElement
    Assert.That(outcome.ExitCode, Is.Zero)
    Assert.That(machine.GetProperty("processor").GetProperty("cores").GetInt32(), Is.EqualTo Environment.ProcessorCount)
    Assert.That(machine.GetProperty("memory").GetProperty("total").GetInt64(), Is.Positive)
    Assert.That((Invocation.legato [ "doctor" ]).Output, Does.Contain "processor")
