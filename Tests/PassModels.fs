/// Small models that the tests of the passes train, and the processor that they do it on.
module Legato.Tests.PassModels

open Legato.Compiler
open Legato.Dsl
open Legato.Models
open Legato.Runtime.Plans
open Legato.Tests.GraphValues
open Legato.Tests.PassExecution
open NUnit.Framework

/// One for all tests: its workers spin.
let processor = lazy (cpu ())

let named nodes = nodes |> List.mapi (fun i node -> $"out{i}", node)

/// What these nodes mean is what they give on the interpreter and the processor.
let lowersWith given nodes = agrees processor.Value given (callOf (named nodes) [])

let lowers nodes = lowersWith [] nodes

[<SetUpFixture>]
type ProcessorsEnd() =
    [<OneTimeTearDown>]
    member _.``the processor's workers end``() =
        if processor.IsValueCreated then
            processor.Value.Dispose()

/// A preset with other sizes.
let preset overrides name =
    (Presets.find name).Config
    |> Families.withOverrides (("vocab_size", "23") :: overrides)
    |> Families.ofConfig

/// Like a fresh model's, only larger, so that every part counts; the same for every plan of a model.
let parametersOf (model: ModelDef) = [
    for i, p in List.indexed (Compile.declaredBy model) do
        let around =
            match p.Parameter.Initializer with
            | Ones -> 1.0
            | _ -> 0.0

        p.Parameter.Path, random (i + 3) (elements p.Node) |> List.map (fun v -> float (float32 (around + 0.3 * v)))
]

let tokensOf (model: ModelDef) seed count =
    random seed count |> List.map (fun v -> floor ((v + 1.0) / 2.0 * float model.Vocabulary))
