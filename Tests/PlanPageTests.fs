/// `legato plan`: the page is held for two tiny models at a fixed speed, and its sums add up.
module Legato.Tests.PlanPageTests

open System.IO
open System.Text.Json
open NUnit.Framework
open Legato.Cli
open Legato.Compiler
open Legato.Runtime.Plans

let private speed =
    let attention = DeviceSpeed.always 50e9

    {
        Products = DeviceSpeed.always 80e9
        ProductBytes = DeviceSpeed.always 10e9
        Attention = [ { HeadSize = 64L; Forward = attention; Backward = attention } ]
        CacheBytes = DeviceSpeed.always 10e9
        Kernels = 25e9
        Bandwidth = 10e9
        LaunchSeconds = 0.0
    }

let private report preset (request: PlanRequest) =
    let model = ModelSource.find preset |> ModelSource.definition
    PlanReport.ofPlan speed (Compile.plan model request)

let private pages = [
    TestCaseData("gpt2-tiny", PlanRequest(Purpose.Train, 2L, 32L, 32L)).SetArgDisplayNames "gpt2-tiny-train"
    TestCaseData("llama-tiny", PlanRequest(Purpose.Decode, 1L, 1L, 64L, "bf16")).SetArgDisplayNames "llama-tiny-decode"
]

[<TestCaseSource(nameof pages)>]
let ``the page is held`` (preset: string) (request: PlanRequest) =
    let name = $"plan/{preset}-{request.Purpose.ToString().ToLowerInvariant()}.txt"
    Golden.hold name (PlanPage.page "a machine of 100 GFLOP/s and 10 GB/s" (report preset request))

[<TestCaseSource(nameof pages)>]
let ``what lives in the arena and its gaps make up the arena`` (preset: string) (request: PlanRequest) =
    let report = report preset request
    let sum (parts: ClassBytes list) = parts |> List.sumBy _.Bytes
    let memory = report.Memory
    Assert.That(sum memory.Arena + memory.Gaps, Is.EqualTo report.Plan.ArenaBytes)
    Assert.That(sum memory.Persistent + report.Plan.ArenaBytes, Is.EqualTo memory.Peak)
    Assert.That(memory.Gaps, Is.GreaterThanOrEqualTo 0L)

[<Test>]
let ``a loop costs what its body costs`` () =
    let rows = (report "llama-tiny" (PlanRequest(Purpose.Train, 1L, 16L, 16L))).Rows
    let at = rows |> List.findIndex (fun row -> row.Kind = "loop")
    let body = rows |> List.skip (at + 1) |> List.takeWhile (fun row -> row.Depth > 0)
    Assert.That(rows[at].Flops, Is.EqualTo(body |> List.sumBy _.Flops))
    Assert.That(body |> List.forall (fun row -> row.Times = 2L))

[<Test>]
let ``steps are named for the parameters and results that they work for`` () =
    let report = report "gpt2-tiny" (PlanRequest(Purpose.Train, 2L, 32L, 32L))
    let names = report.Rows |> List.map _.Name

    for parameter in report.Plan.Parameters do
        Assert.That(names, Has.Member $"update {parameter.Path}")

    for name in
        [
            "loss"
            "gradient_norm"
            "d model.tokens"
            "d model.layers.mlp.up.weight"
            "d model.layers.mlp.up.bias"
            "d model.layers.attn_norm.bias+gain"
            "model.layers.mlp.up.weight map"
        ] do
        Assert.That(names, Has.Member name)

    Assert.That(
        [
            for row in report.Rows do
                if row.Depth > 0 then
                    row.Name
        ],
        Has.None.EqualTo("map").Or.EqualTo "reduce"
    )

[<TestCase("a.b.gain a.b.bias", "a.b.gain+bias");
  TestCase("a.q.bias a.k.bias", "a.q.bias+k.bias");
  TestCase("a.b", "a.b")>]
[<TestCase("a.b a.b.c", "a.b+b.c"); TestCase("a b", "a+b")>]
let ``paths in one name share what they have in common`` (paths: string) (name: string) =
    Assert.That(Region.joined (List.ofArray (paths.Split ' ')), Is.EqualTo name)

[<Test>]
let ``of a table of embeddings the rows count that are looked up`` () =
    let report = report "llama-tiny" (PlanRequest(Purpose.Decode, 1L, 1L, 64L, "bf16"))
    let row = report.Rows |> List.find (fun row -> row.Name = "model.tokens" && row.Kind = "kernel")
    // Two rows of 64 in 16 bits, the one that is read and its copy, and what tells which.
    Assert.That(row.Bytes, Is.InRange(256.0, 400.0))

[<TestCase(1.0, 10.0); TestCase(1e3, 10.0); TestCase(1e4, 20.0); TestCase(1e5, 30.0); TestCase(1e9, 30.0)>]
let ``between two points a speed goes by the logarithm of the work`` (work: float) (perSecond: float) =
    let curve = [ { Work = 1e3; PerSecond = 10.0 }; { Work = 1e5; PerSecond = 30.0 } ]
    Assert.That(DeviceSpeed.at curve work, Is.EqualTo(perSecond).Within 1e-9)

[<Test>]
let ``launches take their time beside the steps`` () =
    let report = report "llama-tiny" (PlanRequest(Purpose.Decode, 1L, 1L, 64L, "bf16"))
    let launched = PlanReport.onDevice { speed with LaunchSeconds = 1e-3 } 7L 5 report
    Assert.That(launched.Seconds - report.Seconds, Is.EqualTo(5e-3).Within 1e-9)
    Assert.That(launched.Memory.Peak - report.Memory.Peak, Is.EqualTo 7L)

let private tinyPlan = [ "plan"; "llama-tiny"; "--decode"; "--context"; "32" ]

[<Test>]
let ``a program reads the plan as JSON`` () =
    let outcome = Invocation.legato (tinyPlan @ [ "--json" ])
    use document = JsonDocument.Parse outcome.Output
    Assert.That(outcome.ExitCode, Is.Zero)
    Assert.That(document.RootElement.GetProperty("parameters").GetInt64(), Is.EqualTo 90432L)
    Assert.That(document.RootElement.GetProperty("steps").GetArrayLength(), Is.GreaterThan 5)

[<TestCase("--graph", "tokens")>]
[<TestCase("--kernels", "kernel ")>]
let ``graph and kernels are printed on request`` (flag: string) (part: string) =
    let outcome = Invocation.legato (tinyPlan @ [ flag ])
    Assert.That(outcome.ExitCode, Is.Zero)
    Assert.That(outcome.Output, Does.Contain part)

[<Test>]
let ``a saved plan reads back as the plan that was made`` () =
    let folder = Directory.CreateTempSubdirectory "legato-plan-"

    try
        let outcome = Invocation.legato (tinyPlan @ [ "--save"; folder.FullName ])
        let request = PlanRequest(Purpose.Decode, 1L, 1L, 32L)
        let made = Compile.plan (ModelSource.find "llama-tiny" |> ModelSource.definition) request
        Assert.That(outcome.ExitCode, Is.Zero)
        Assert.That(PlanFile.Write(SavedPlans(folder.FullName).Plan request), Is.EqualTo(PlanFile.Write made))
    finally
        folder.Delete true

[<Test>]
let ``plans of two models don't share a folder`` () =
    let folder = Directory.CreateTempSubdirectory "legato-plans-"

    try
        let save model = Invocation.legato [ "plan"; model; "--decode"; "--save"; folder.FullName ]
        Assert.That((save "llama-tiny").ExitCode, Is.Zero)
        let other = save "gpt2-tiny"
        Assert.That(other.ExitCode, Is.EqualTo 2)
        Assert.That(other.Errors, Does.Contain "plans of another model")
    finally
        folder.Delete true

[<Test>]
let ``plans aren't saved among what isn't theirs`` () =
    let folder = Directory.CreateTempSubdirectory "legato-plans-"

    try
        File.WriteAllText(Path.Combine(folder.FullName, "settings.json"), "{}")
        let outcome = Invocation.legato (tinyPlan @ [ "--save"; folder.FullName ])
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain "what it holds are no saved plans")
        Assert.That(folder.GetFiles(), Has.Length.EqualTo 1)
    finally
        folder.Delete true

/// The folder that tests without the compiler run from.
[<Test>]
let ``saved plans are held`` () =
    let folder = Directory.CreateTempSubdirectory "legato-plan-"
    let model = ModelSource.find "llama-tiny" |> ModelSource.definition

    try
        SavedPlans.Save(
            folder.FullName,
            CompiledModel model,
            [
                PlanRequest(Purpose.Prefill, 1L, 32L, 32L)
                PlanRequest(Purpose.Decode, 1L, 1L, 32L)
                PlanRequest(Purpose.Train, 2L, 32L, 32L)
            ]
        )

        for file in folder.GetFiles() do
            Golden.hold $"saved/llama-tiny/{file.Name}" (File.ReadAllText file.FullName)
    finally
        folder.Delete true

let private mistakes = [
    TestCaseData([ "plan"; "gpt2-tiney" ], "gpt2-tiny").SetArgDisplayNames "an unknown preset"
    TestCaseData([ "plan"; "./nowhere" ], "no such folder").SetArgDisplayNames "no folder"
    TestCaseData([ "plan"; "gpt2-tiny"; "--seq"; "4096" ], "128").SetArgDisplayNames "a sequence beyond the context"
    TestCaseData([ "plan"; "gpt2-tiny"; "--precision"; "fp8" ], "bf16").SetArgDisplayNames "an unknown precision"
]

[<TestCaseSource(nameof mistakes)>]
let ``a mistake ends with 2 and its remedy`` (words: string list) (part: string) =
    let outcome = Invocation.legato words
    Assert.That(outcome.ExitCode, Is.EqualTo 2)
    Assert.That(outcome.Output, Is.Empty)
    Assert.That(outcome.Errors, Does.Contain(part).And.Contain "remedy: ")

[<Test>]
let ``a prompt fills the cache that is given, if nothing else is said`` () =
    let outcome = Invocation.legato [ "plan"; "llama-tiny"; "--prefill"; "--context"; "10"; "--json" ]
    use document = JsonDocument.Parse outcome.Output
    let dimensions = document.RootElement.GetProperty("dimensions")
    Assert.That([ for size in dimensions.EnumerateObject() -> size.Value.GetInt64() ], Has.All.AtMost 10L)

[<Test>]
let ``a card that isn't there is planned for`` () =
    let outcome = Invocation.legato (tinyPlan @ [ "--gpu"; "rtx 4090"; "--json" ])
    use document = JsonDocument.Parse outcome.Output
    Assert.That(outcome.ExitCode, Is.Zero, outcome.Errors)
    let root = document.RootElement
    Assert.That(root.GetProperty("speed_of_the_machine").GetString(), Does.StartWith "RTX 4090")
    Assert.That(root.GetProperty("memory").GetProperty("kernels_own").GetInt64(), Is.GreaterThan 0L)

[<Test>]
let ``a plan that a card has no memory for says so`` () =
    let page more = (Invocation.legato ([ "plan"; "llama-1b"; "--gpu"; "RTX 4090" ] @ more)).Output
    Assert.That(page [ "--train"; "--batch"; "8" ], Does.Contain "it doesn't fit: RTX 4090 has 24.0 GiB of memory")
    Assert.That(page [ "--decode" ], Does.Contain("predicted: ").And.Not.Contain "fit")

[<TestCase("--gpu GTX", "no GPU is known");
  TestCase("--gpu H100 --device cuda", "contradict");
  TestCase("--device interpreter", "cpu, cuda")>]
let ``a card must be known`` (flags: string) (what: string) =
    let outcome = Invocation.legato (tinyPlan @ List.ofArray (flags.Split ' '))
    Assert.That(outcome.ExitCode, Is.EqualTo 2)
    Assert.That(outcome.Errors, Does.Contain(what).And.Contain "remedy: ")

[<TestCase(0)>]
[<TestCase(1)>]
let ``the first debug level shows each plan once`` (level: int) =
    use output = new StringWriter()

    let plans =
        ShownPlans.write level output (CompiledModel(ModelSource.find "llama-tiny" |> ModelSource.definition))

    let decode, evaluate =
        PlanRequest(Purpose.Decode, 1L, 1L, 64L), PlanRequest(Purpose.Evaluate, 1L, 8L, 8L)

    let given = [ decode; evaluate; decode ] |> List.map (plans.Plan >> _.Purpose)
    Assert.That(given, Is.EqualTo(box [ Purpose.Decode; Purpose.Evaluate; Purpose.Decode ]))

    let titles =
        output.ToString().Split '\n'
        |> Array.filter _.StartsWith("llama-tiny: ")
        |> Array.map _.Split(',').[0]

    let expected = if level = 1 then [ "llama-tiny: decode"; "llama-tiny: evaluate" ] else []
    Assert.That(List.ofArray titles, Is.EqualTo(box expected))
