/// `legato bench`: its figures are there and mean something, at sizes too small to tell how fast anything is.
module Legato.Tests.BenchTests

open System.Text.Json
open System.Threading
open Legato.Cli
open NUnit.Framework

let private measured (words: string list) =
    let outcome = Invocation.legato ("bench" :: words @ [ "--rounds"; "1"; "--json" ])
    Assert.That(outcome.ExitCode, Is.Zero, outcome.Errors)
    JsonDocument.Parse(outcome.Output).RootElement

let private number (path: string list) (element: JsonElement) =
    (element, path)
    ||> List.fold (fun (inner: JsonElement) name -> inner.GetProperty name)
    |> _.GetDouble()

let private suites = [
    TestCaseData([ "gemm"; "--size"; "96" ], 4)
    TestCaseData([ "attention"; "--device"; "cpu" ], 4)
    TestCaseData([ "moe"; "--tokens"; "64"; "--experts"; "4"; "--embed"; "64"; "--mlp"; "96"; "--device"; "cpu" ], 4)
    TestCaseData([ "train"; "gpt2-tiny"; "--seq"; "32" ], 1)
    TestCaseData([ "prefill"; "llama-tiny"; "--tokens"; "32" ], 1)
    TestCaseData([ "train"; "llama-tiny"; "--seq"; "16"; "--set"; "num_hidden_layers=1" ], 1)
    TestCaseData([ "decode"; "llama-tiny"; "--tokens"; "8"; "--precision"; "bf16" ], 1)
    TestCaseData([ "tokenize" ], 5)
]

[<TestCaseSource(nameof suites); Category "Heavy">]
let ``a suite gives its figures`` (words: string list) (count: int) =
    let result = measured words
    let figures = List.ofSeq (result.GetProperty("figures").EnumerateArray())
    Assert.That(figures.Length, Is.EqualTo count)

    for figure in figures do
        let median, best = number [ "per_second"; "median" ] figure, number [ "per_second"; "best" ] figure
        Assert.That(median, Is.GreaterThan 0.0)
        Assert.That(best, Is.GreaterThanOrEqualTo median)

[<TestCase("train gpt2-tiny", 128); TestCase("prefill llama-tiny", 128); TestCase("decode llama-tiny --context 100", 28)>]
[<Category "Heavy">]
let ``a size that isn't given fits the model's context`` (words: string) (tokens: int) =
    let sizes = (measured (List.ofArray (words.Split ' '))).GetProperty "sizes"
    Assert.That(sizes.GetProperty("tokens").GetString(), Is.EqualTo(string tokens))

[<TestCase("train gpt2-124m --seq 64");
  TestCase("train demo --batch 8 --seq 128");
  TestCase("train demo --batch 2 --seq 128 --precision bf16");
  TestCase("decode demo");
  TestCase("prefill llama-100m --tokens 256");
  TestCase("decode llama-100m --tokens 16");
  Category "Heavy">]
let ``the device allocates what the plan foretells`` (words: string) =
    let memory = (measured (List.ofArray (words.Split ' '))).GetProperty "memory"
    let predicted, allocated = number [ "predicted" ] memory, number [ "allocated" ] memory
    Assert.That(allocated / predicted, Is.EqualTo(1.0).Within 0.01)

let private always rate : Rounds.Spread = { Median = rate; Best = rate }

[<Test>]
let ``what is slow at first lies behind when rounds begin`` () =
    let limits: Rounds.Limits = {
        Processor = ""
        Threads = 1
        Instructions = ""
        FlopsOneThread = always 1.0
        Flops = always 1.0
        ReadOneThread = always 1.0
        Read = always 1.0
        Best = None
    }

    let mutable runs = 0

    let run () =
        runs <- runs + 1
        Thread.Sleep(if runs <= 2 then 400 else 1)

    let subject: Rounds.Subject = { Name = ""; Unit = "runs"; Units = 1.0; Bound = Rounds.Bound.None; Run = [ run ] }

    let _, figures = Rounds.measureUnder limits 1 [ subject ]
    Assert.That(figures.Head.PerSecond.Median, Is.GreaterThan 25.0)

[<TestCase("B", 0.96, "96.0 %"); TestCase("B", 1.7, "from the cache"); TestCase("FLOP", 1.2, "120.0 %")>]
let ``what is read faster than memory gives it comes from the cache`` (unit: string) (share: float) (told: string) =
    let figure: Rounds.Figure = {
        Name = ""
        Unit = "rows"
        PerSecond = always 1.0
        WorkUnit = unit
        Work = Some(always 1.0)
        Share = Some(always share)
    }

    Assert.That(BenchPage.shareOf figure _.Median, Is.EqualTo told)
