/// Models of random weights, and what a converted one is judged by.
module Legato.Tests.ConversionFixtures

open System
open System.IO
open System.Text.Json.Nodes
open NUnit.Framework
open Legato.Cli
open Legato.Compiler
open Legato.Models
open Legato.Runtime.Checkpoints
open Legato.Runtime.Cpu
open Legato.Runtime.Plans
open Legato.Runtime.Text.Training
open Legato.Runtime.Training

/// A reference checkpoint: one of the repository's own, or one that lies beside it.
let checkpoint name =
    let own = Path.Combine(Repository.root, "Tests", "Goldens", "checkpoints", name)
    if Directory.Exists own then own else Repository.shared $"goldens/{name}"

let inFolder (work: string -> unit) =
    let folder = Directory.CreateTempSubdirectory "legato-conversion-"

    try
        work folder.FullName
    finally
        folder.Delete true

let succeeds words =
    let outcome = Invocation.legato words
    Assert.That(outcome.ExitCode, Is.Zero, outcome.Output + outcome.Errors)
    outcome.Output

/// The logits of a few tokens.
let logits (model: string) =
    let source = ModelSource.find model
    let plans = CompiledModel(ModelSource.definition source) :> IPlanSource
    use device = new CpuDevice(CpuDeviceOptions(Nullable 1, false))
    use memory = new ModelMemory(device)
    use executable = memory.Compile(plans.Plan(PlanRequest(Purpose.Forward, 1L, 16L, 16L)))
    HubCheckpoint.Load(model, plans.Model, fun path -> memory.Parameter path)
    VerifyInference.forward executable [| for i in 0..15 -> 37 * i % 256 |]

let weights folder = File.ReadAllBytes(Path.Combine(folder, "model.safetensors"))

/// A folder with a model of random weights.
let made (model: Legato.Dsl.ModelDef) folder =
    let plans = CompiledModel model :> IPlanSource
    use device = new CpuDevice(CpuDeviceOptions(Nullable 1, false))
    use memory = new ModelMemory(device)
    use _ = memory.Compile(plans.Plan(PlanRequest(Purpose.Forward, 1L, 16L, 16L)))
    InitialParameters.Write(plans.Model, 1L, fun path -> memory.Parameter path)
    HubCheckpoint.Save(folder, plans.Model, fun path -> memory.Parameter path)

let sizes =
    """ "vocab_size": 256, "max_position_embeddings": 64, "hidden_size": 64, "intermediate_size": 96,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.1 """

/// A checkpoint with a tokenizer of bytes, as many as its vocabulary has.
let withTokenizer name folder =
    for file in [ "config.json"; "model.safetensors" ] do
        File.Copy(Path.Combine(checkpoint name, file), Path.Combine(folder, file))

    let tokenizer = TokenizerTrainer.Train(TokenizerKind.Byte, [])
    tokenizer.Save folder

let spoken model =
    let text = succeeds [ "generate"; model; "--prompt"; "abc"; "--greedy"; "--max-tokens"; "12"; "--json" ]
    let json = JsonNode.Parse text
    json["samples"].ToJsonString()
