/// The families' pages as they read, evaluated in float64, against the logits of reference checkpoints.
module Legato.Tests.ModelLogitsTests

open System.Collections.Generic
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

/// The axes in front of a parameter's own, and what each index of them is: the tensor's name, and which of the blocks along
/// that tensor's first axis.
let internal tensors (line: WeightName) (parameter: Declared) : (string * int) list =
    let stacked =
        parameter.Node.Dims
        |> List.map size
        |> List.take (parameter.Node.Dims.Length - List.sum parameter.Grouping)

    (([ line.Name, 0 ], 0), stacked)
    ||> List.fold (fun (tensors, axis) count ->
        let index (name: string, block) i =
            let number = if axis = 0 && not line.Numbers.IsEmpty then line.Numbers[i] else i
            let hole = $"{{{axis}}}"

            if name.Contains hole then
                name.Replace(hole, string number), block
            else
                name, block * count + i

        List.collect (fun tensor -> List.init count (index tensor)) tensors, axis + 1)
    |> fst

/// A parameter's elements in the order of its axes, from those of tensors by name, row and column; the blocks of a tensor
/// lie row below row.
let internal elements (tensor: string -> int -> int -> float) (line: WeightName) (parameter: Declared) =
    let rows, columns = matrix parameter

    // Where an index of the parameter lies along an axis of the tensor.
    let place axis index =
        match line.Part with
        | Some { Axis = cut; Period = Some period; Start = start; Length = length } when axis = cut ->
            index / length * period + start + index % length
        | Some part when part.Axis = axis -> part.Start + index
        | _ -> index

    let blockRows =
        let own = if line.Transposed then columns else rows

        match line.Part with
        | Some { Axis = 0; Period = Some period; Length = length } -> own / length * period
        | _ -> own

    [|
        for name, block in tensors line parameter do
            for row in 0 .. rows - 1 do
                for column in 0 .. columns - 1 do
                    let i, j = if line.Transposed then column, row else row, column
                    tensor name (block * blockRows + place 0 i) (place 1 j)
    |]

let private read (weights: ModelGoldens.Tensors) prefix line (parameter: Declared) =
    let isVector = parameter.Grouping.Length = 1
    let floats = Dictionary<string, float array * int>()

    let tensor name =
        match floats.TryGetValue name with
        | true, found -> found
        | _ ->
            let width = if isVector then 1 else weights.Shape(prefix + name) |> List.last |> int
            floats[name] <- (weights.Floats(prefix + name), width)
            floats[name]

    elements
        (fun name row column ->
            let data, width = tensor name
            data[row * width + column])
        line
        parameter

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
[<TestCase "mixtral">]
[<TestCase "deepseek_v3">]
[<TestCase "gpt_oss">]
let ``a page means what the reference computes`` (golden: string) =
    let model = Families.ofConfig (ModelGoldens.config golden)
    let weights = ModelGoldens.Tensors(golden, "model.safetensors")
    let expected = ModelGoldens.Tensors(golden, "expected.safetensors")
    let lines = model.Weights.Names |> List.map (fun line -> line.Path, line) |> Map.ofList

    let sizes = {
        Batch = Fixed 2L
        Sequence = Fixed 24L
        Context = Fixed 24L
        Source = Some(Fixed 24L)
        Dropout = 0.0
        IsCached = false
    }

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
