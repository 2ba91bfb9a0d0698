/// The families' pages as they read, evaluated in float64, against the logits of reference checkpoints.
module Legato.Tests.ModelLogitsTests

open NUnit.Framework
open Legato.Compiler
open Legato.Dsl
open Legato.Models

let internal size (dim: Dim) =
    match dim.Size with
    | Fixed n -> int n
    | Dynamic name -> failwith $"the axis {dim.Name} is {name}"

/// The rows and columns that a parameter's own axes make up; a vector is one column.
let private matrix (parameter: Declared) =
    let own =
        parameter.Node.Dims
        |> List.map size
        |> List.rev
        |> List.truncate (List.sum parameter.Grouping)
        |> List.rev

    let rows, columns = List.splitAt parameter.Grouping.Head own
    List.fold (*) 1 rows, List.fold (*) 1 columns

/// A parameter's elements in the order of its axes, from those of tensors by name, row and column.
let internal elements (tensor: string -> int -> int -> float) (line: WeightName) (parameter: Declared) =
    let rows, columns = matrix parameter
    let all = parameter.Node.Dims |> List.map size |> List.fold (*) 1

    // Where an index of the parameter lies along an axis of the tensor.
    let place axis index =
        match line.Part with
        | Some { Period = Some period; Start = start; Length = length } when axis = 0 ->
            index / length * period + start + index % length
        | Some part when part.Axis = axis -> part.Start + index
        | _ -> index

    let number layer = if line.Numbers.IsEmpty then layer else line.Numbers[layer]

    [|
        for layer in 0 .. all / (rows * columns) - 1 do
            let element = tensor (line.Name.Replace("{0}", string (number layer)))

            for row in 0 .. rows - 1 do
                for column in 0 .. columns - 1 do
                    let i, j = if line.Transposed then column, row else row, column
                    element (place 0 i) (place 1 j)
    |]

let private read (weights: ModelGoldens.Tensors) prefix =
    elements (fun name ->
        let data, shape = weights.Floats(prefix + name), weights.Shape(prefix + name)
        let width = if shape.Length = 1 then 1 else int shape[1]
        fun row column -> data[row * width + column])

[<TestCase "gpt2">]
[<TestCase "llama">]
[<TestCase "llama3_rope">]
[<TestCase "mistral">]
[<TestCase "qwen2">]
[<TestCase "qwen3">]
[<TestCase "gemma2">]
[<TestCase "phi3">]
[<TestCase "gpt_neox">]
[<TestCase "opt">]
[<TestCase "bloom">]
let ``a page means what the reference computes`` (golden: string) =
    let model = Families.ofConfig (ModelGoldens.config golden)
    let weights = ModelGoldens.Tensors(golden, "model.safetensors")
    let expected = ModelGoldens.Tensors(golden, "expected.safetensors")
    let lines = model.Weights.Names |> List.map (fun line -> line.Path, line) |> Map.ofList
    let sizes = { Batch = Fixed 2L; Sequence = Fixed 24L; Context = Fixed 24L; Source = Some(Fixed 24L) }
    let call = ModelDef.elaborate sizes model
    let parameters = call.Parameters |> List.map (fun p -> p.Parameter.Path, p) |> Map.ofList

    let bindings (node: Node) =
        match node.Op with
        | Op.Param(p, _) -> read weights model.Weights.Prefixes.Head lines[p.Path] parameters[p.Path]
        | Op.Input("tokens", _, _) -> expected.Integers "input_ids"
        | _ -> Array.zeroCreate (node.Dims |> List.map size |> List.fold (*) 1)

    let logits = Evaluate.run bindings (fun name -> failwith name) [ call.Logits ] |> List.exactlyOne
    let largest = Array.map2 (fun a b -> abs (a - b)) logits (expected.Floats "logits") |> Array.max
    Assert.That(largest, Is.LessThan 1e-4)
    TestContext.Out.WriteLine $"the largest difference: {largest:E1}"
