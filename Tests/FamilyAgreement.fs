/// What holds a family's page to its forward pass in plain loops.
module Legato.Tests.FamilyAgreement

open NUnit.Framework
open Legato.Compiler
open Legato.Dsl
open Legato.Models
open Legato.Tests.FamilyReference

let tokens = [| 3; 1; 4; 1; 5; 9; 2; 6 |]
let embed, mlp, vocab = 16, 24, 11

let sourceTokens = [| 2; 7; 1; 8; 2; 8 |]

/// The logits of a family's page for texts of one length, in float64, its weights those of the reference.
let logitsOf (config: string) (texts: int array list) : Values =
    let model = Families.ofConfig config
    let length = Fixed(int64 texts.Head.Length)
    let source = Some(Fixed(int64 sourceTokens.Length))

    let sizes = {
        Batch = Fixed(int64 texts.Length)
        Sequence = length
        Context = length
        Source = source
        Dropout = 0.0
        IsCached = false
    }

    let call = ModelDef.elaborate sizes model
    let lines = model.Weights.Names |> List.map (fun line -> line.Path, line) |> Map.ofList
    let parameters = call.Parameters |> List.map (fun p -> p.Parameter.Path, p) |> Map.ofList
    let prefix = model.Weights.Prefixes.Head
    let tensor name row column = element (prefix + name) row column

    let bindings (node: Node) =
        match node.Op with
        | Op.Param(p, _) -> ModelLogitsTests.elements tensor lines[p.Path] parameters[p.Path]
        | Op.Input("tokens", _, _) -> texts |> Array.concat |> Array.map float
        | Op.Input("source", _, _) -> Array.map float sourceTokens
        | Op.Input("source_lengths", _, _) -> [| float sourceTokens.Length |]
        | _ -> Array.zeroCreate (node.Dims |> List.map ModelLogitsTests.size |> List.fold (*) 1)

    let width = model.Output |> List.map ModelLogitsTests.size |> List.fold (*) 1

    Evaluate.run bindings (fun name -> failwith name) [ call.Logits ]
    |> List.exactlyOne
    |> Array.chunkBySize width

/// The logits that the config's page gives are the reference's.
let agree config (reference: Values) =
    let found = logitsOf config [ tokens ]
    Assert.That(found.Length, Is.EqualTo reference.Length)
    let differences = Array.map2 (Array.map2 (fun a b -> abs (a - b))) found reference
    Assert.That(differences |> Array.map Array.max |> Array.max, Is.LessThan 1e-9)
    // Logits that are all alike would agree with much.
    Assert.That(Array.max reference[0] - Array.min reference[0], Is.GreaterThan 1e-3)
