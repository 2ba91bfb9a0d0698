/// `legato models` and `legato inspect`.
module Legato.Tests.InspectTests

open System.IO
open System.Text.Json
open NUnit.Framework
open Legato.Models

let private json words =
    let outcome = Invocation.legato (words @ [ "--json" ])
    Assert.That(outcome.ExitCode, Is.Zero, outcome.Errors)
    JsonDocument.Parse(outcome.Output).RootElement

[<Test>]
let ``every family and every preset is listed with its size`` () =
    let models = json [ "models" ]

    let names = [
        for preset in models.GetProperty("presets").EnumerateArray() -> preset.GetProperty("name").GetString()
    ]

    Assert.That(names, Is.EqualTo<string list>(Presets.all |> List.map _.Name))
    Assert.That(models.GetProperty("families").GetArrayLength(), Is.EqualTo Families.all.Length)

    let gpt2 =
        models.GetProperty("presets").EnumerateArray()
        |> Seq.find (fun p -> p.GetProperty("name").GetString() = "gpt2-124m")

    Assert.That(gpt2.GetProperty("parameters").GetInt64(), Is.EqualTo 124_439_808L)
    Assert.That((Invocation.legato [ "models" ]).Output, Does.Contain("gpt2-124m").And.Contain "124,439,808")

[<Test>]
let ``a model's tree is held`` () =
    Golden.hold "inspect/gpt2-tiny.txt" (Invocation.legato [ "inspect"; "gpt2-tiny" ]).Output

[<Test>]
let ``the parts of a layer add up, and the files' bytes are told`` () =
    let checkpoint = Path.Combine(Repository.root, "Tests", "Goldens", "checkpoints", "llama")
    let model = json [ "inspect"; checkpoint ]

    let parts = [
        for part in model.GetProperty("parts").EnumerateArray() ->
            part.GetProperty("path").GetString(), part.GetProperty("parameters").GetInt64()
    ]

    let sizes = Map.ofList parts

    let inside (path: string) =
        parts
        |> List.filter (fun (p, _) -> p.StartsWith(path + ".") && not (p.Substring(path.Length + 1).Contains '.'))

    for path, size in parts do
        match inside path with
        | [] -> ()
        | children -> Assert.That(children |> List.sumBy snd, Is.EqualTo size, path)

    Assert.That(model.GetProperty("parameters").GetInt64(), Is.EqualTo sizes["model"])
    let stored = model.GetProperty("stored")[0]
    Assert.That(stored.GetProperty("bytes").GetInt64(), Is.EqualTo(4L * sizes["model"]))
    Assert.That(stored.GetProperty("type").GetString(), Is.EqualTo "F32")

[<TestCase("\"hidden_size\": 64", "\"hidden_size\": 32", "wrong shape")>]
[<TestCase("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "missing: ")>]
[<TestCase("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4", "and 12 more")>]
[<TestCase("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "unknown: ")>]
let ``weights that aren't those of the config are told, beside what both say`` before after part =
    TrainFixture.inFolder (fun folder ->
        let checkpoint = Path.Combine(Repository.root, "Tests", "Goldens", "checkpoints", "llama")
        File.Copy(Path.Combine(checkpoint, "model.safetensors"), Path.Combine(folder, "model.safetensors"))
        let config = File.ReadAllText(Path.Combine(checkpoint, "config.json"))
        Assert.That(config, Does.Contain(before: string))
        TrainFixture.write folder "config.json" (config.Replace(before, (after: string))) |> ignore
        let outcome = Invocation.legato [ "inspect"; folder ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Output, Does.Contain("total").And.Contain "stored: ")
        Assert.That(outcome.Errors, Does.Contain("does not fit the model").And.Contain(part: string))
        Assert.That(outcome.Errors.Split('\n').Length, Is.LessThan 12, "the first few, and how many more"))
