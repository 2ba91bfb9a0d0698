/// Every family's table of names, against the headers of checkpoints that others wrote.
module Legato.Tests.ModelNamesTests

open NUnit.Framework
open Legato.Dsl
open Legato.Models

let private size (dim: Dim) =
    match dim.Size with
    | Fixed n -> n
    | Dynamic name -> failwith $"the parameter's axis {dim.Name} is {name}"

let private product = List.fold (*) 1L

/// A checkpoint's tensor, and what of it one line of the table fills.
type private Slice = {
    Tensor: string
    /// Which of the matrices or vectors along the tensor's first axis, in order; one that is alone is no axis.
    Blocks: int list
    Shape: int64 list
    Part: Part option
}

let private slices (parameter: Declared) (source: WeightName) =
    let own =
        let all = parameter.Node.Dims |> List.map size
        List.skip (all.Length - List.sum parameter.Grouping) all

    let grouped =
        (own, parameter.Grouping)
        ||> List.mapFold (fun rest count -> product (List.take count rest), List.skip count rest)
        |> fst

    [
        for tensor, blocks in ModelLogitsTests.tensors source parameter |> List.groupBy fst do
            {
                Tensor = tensor
                Blocks = blocks |> List.map snd
                Shape = if source.Transposed then List.rev grouped else grouped
                Part = source.Part
            }
    ]

let private slicesOf (model: ModelDef) =
    let lines = model.Weights.Names |> List.map (fun line -> line.Path, line) |> Map.ofList

    let parameters = ModelDef.parameters model
    Assert.That(Map.keys lines, Is.EquivalentTo(parameters |> List.map _.Parameter.Path))
    parameters |> List.collect (fun p -> slices p lines[p.Parameter.Path])

/// Slices of one block joined along the axis that they were cut along.
let private joinedBlock (slices: Slice list) =
    let parts = slices |> List.choose _.Part |> List.sortBy _.Start

    match parts with
    | [] -> (List.exactlyOne slices).Shape
    | first :: _ ->
        let ends = parts |> List.map (fun part -> part.Start + part.Length)
        Assert.That((parts |> List.map _.Start) = 0 :: List.take (ends.Length - 1) ends, "the parts leave no gap")

        match first.Period with
        | Some period ->
            Assert.That(List.last ends, Is.EqualTo period)
            let size = slices.Head.Shape[first.Axis] / int64 first.Length * int64 period
            slices.Head.Shape |> List.updateAt first.Axis size
        | None -> slices.Head.Shape |> List.updateAt first.Axis (int64 (List.last ends))

/// The whole tensor's shape.
let private joined (slices: Slice list) =
    let blocks = slices |> List.map _.Blocks |> List.distinct |> List.exactlyOne
    Assert.That(blocks, Is.EqualTo<int list> [ 0 .. blocks.Length - 1 ])
    let block = joinedBlock slices
    if blocks.Length = 1 then block else int64 blocks.Length :: block

[<TestCase("gpt2", "model.safetensors")>]
[<TestCase("llama", "model.safetensors")>]
[<TestCase("llama3_rope", "model.safetensors")>]
[<TestCase("mistral", "model.safetensors")>]
[<TestCase("qwen2", "model.safetensors")>]
[<TestCase("qwen3", "model.safetensors")>]
[<TestCase("gemma2", "model.safetensors")>]
[<TestCase("phi3", "model.safetensors")>]
[<TestCase("gpt_neox", "model.safetensors")>]
[<TestCase("opt", "model.safetensors")>]
[<TestCase("bloom", "model.safetensors")>]
[<TestCase("bert", "model.safetensors")>]
[<TestCase("mixtral", "model.safetensors")>]
[<TestCase("deepseek_v3", "model.safetensors")>]
[<TestCase("gpt_oss", "model.safetensors")>]
[<TestCase("t5", "model.safetensors")>]
[<TestCase("train_gpt2", "initial.safetensors")>]
[<TestCase("train_llama", "final.safetensors")>]
let ``a checkpoint's tensors are those of the table, in their shapes`` (golden: string) (file: string) =
    let tensors = ModelGoldens.Tensors(golden, file)
    let expected = [ for name in tensors.Names -> name, tensors.Shape name ]
    let model = Families.ofConfig (ModelGoldens.config golden)
    let prefix = List.head model.Weights.Prefixes

    let found =
        slicesOf model
        |> List.groupBy _.Tensor
        |> List.map (fun (tensor, slices) -> prefix + tensor, joined slices)

    Assert.That(List.sort found, Is.EqualTo<(string * int64 list) list>(List.sort expected))

[<Test>]
let ``tensors of a GPT-2 checkpoint are cut into queries, keys and values in this order`` () =
    let model = Families.ofConfig (Presets.find "gpt2-tiny").Config

    let starts = [
        for line in model.Weights.Names do
            match line.Part with
            | Some part -> line.Path.Replace("model.layers.attn.", ""), (part.Axis, part.Start)
            | None -> ()
    ]

    let expected = [
        for n, path in List.indexed [ "q"; "k"; "v" ] do
            $"{path}.weight", (1, 64 * n)
            $"{path}.bias", (0, 64 * n)
    ]

    Assert.That(starts, Is.EquivalentTo expected)
