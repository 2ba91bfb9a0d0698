/// The presets: their sizes against what was published, and that each is a model.
module Legato.Tests.ModelPresetTests

open NUnit.Framework
open Legato.Dsl
open Legato.Models

[<TestCase("gpt2-124m", 124_439_808L)>]
[<TestCase("gpt2-350m", 354_823_168L)>]
[<TestCase("gpt2-774m", 774_030_080L)>]
[<TestCase("gpt2-1.5b", 1_557_611_200L)>]
[<TestCase("llama-3-8b", 8_030_261_248L)>]
// 1,235,814,400 with its tied head.
[<TestCase("llama-3-1b", 1_235_814_400L + 128_256L * 2048L)>]
let ``a preset learns exactly as many numbers as the published model`` (name: string) (published: int64) =
    Assert.That(Presets.parameters (Presets.find name), Is.EqualTo published)

// Published in round figures only (Brown et al. 2020, table 2.1, and the names).
[<TestCase("gpt3-125m", 125e6)>]
[<TestCase("gpt3-350m", 356e6)>]
[<TestCase("gpt3-760m", 760e6)>]
[<TestCase("gpt3-1.3b", 1.3e9)>]
[<TestCase("gpt3-2.7b", 2.65e9)>]
[<TestCase("gpt3-6.7b", 6.7e9)>]
[<TestCase("gpt3-13b", 13.0e9)>]
[<TestCase("gpt3-175b", 175e9)>]
[<TestCase("llama-1b", 1.1e9)>]
[<TestCase("llama-100m", 100e6)>]
[<TestCase("gpt2-10m", 10.8e6)>]
[<TestCase("bert-110m", 110e6)>]
let ``a preset is as large as its name`` (name: string) (published: float) =
    let parameters = float (Presets.parameters (Presets.find name))
    Assert.That(parameters, Is.EqualTo(published).Within(1.5).Percent)

let private presetNames = Presets.all |> List.map _.Name

[<Test>]
let ``no two presets have one name`` () = Assert.That(presetNames, Is.Unique)

[<Test>]
let ``the demo's model is small enough to train in two minutes`` () =
    Assert.That(Presets.parameters (Presets.find "demo"), Is.LessThan 1_000_000L)

[<TestCaseSource(nameof presetNames)>]
let ``a preset gives logits over its vocabulary`` (name: string) =
    let model = Presets.model (Presets.find name)

    let sizes = {
        Batch = Fixed 2L
        Sequence = Dynamic "sequence"
        Context = Fixed 64L
        Source = Some(Fixed 16L)
        Dropout = 0.0
        IsCached = false
    }

    let call = ModelDef.elaborate sizes model

    let expected: Dim list = [
        { Name = "Batch"; Size = Fixed 2L }
        { Name = "Seq"; Size = Dynamic "sequence" }
        { Name = "Vocab"; Size = Fixed(int64 model.Vocabulary) }
    ]

    Assert.That(call.Logits.Dims, Is.EqualTo<Dim list> expected)

    let caches =
        match model.Task with
        | MaskedLm -> 0
        | SequenceToSequence -> 4
        | _ -> 2

    Assert.That(call.Updates.Length, Is.EqualTo caches, "keys and values, each of all layers, of the source too")
    Assert.That(model.Name, Is.EqualTo name)

[<TestCaseSource(nameof presetNames)>]
let ``a model's config gives the model again`` (name: string) =
    let once = Presets.model (Presets.find name)
    let twice = Families.ofConfig once.Config
    Assert.That(twice.Config, Is.EqualTo once.Config)
    Assert.That(twice.Weights, Is.EqualTo once.Weights)
    Assert.That((twice.BeginToken, twice.EndTokens), Is.EqualTo((once.BeginToken, once.EndTokens)))
    Assert.That(ModelDef.parameterCount twice, Is.EqualTo(ModelDef.parameterCount once))

[<Test>]
let ``GPT-2's matrices into the residual stream start smaller, by the root of twice the layers`` () =
    let sizes = {
        Batch = Fixed 1L
        Sequence = Fixed 8L
        Context = Fixed 8L
        Source = None
        Dropout = 0.0
        IsCached = false
    }

    let initial =
        (ModelDef.elaborate sizes (Presets.model (Presets.find "gpt2-124m"))).Parameters
        |> List.map (fun p -> p.Parameter.Path, p.Parameter.Initializer)
        |> Map.ofList

    Assert.That(initial["model.layers.mlp.up.weight"], Is.EqualTo(Normal 0.02))
    Assert.That(initial["model.layers.mlp.down.weight"], Is.EqualTo(Normal(0.02 / sqrt 24.0)))
    Assert.That(initial["model.layers.attn.o.weight"], Is.EqualTo(Normal(0.02 / sqrt 24.0)))
    Assert.That(initial["model.layers.attn.o.bias"], Is.EqualTo Zeros)
