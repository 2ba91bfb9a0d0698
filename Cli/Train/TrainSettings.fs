/// A run's settings, kept in its folder in the form of a config file: with them the run goes on by `--resume` alone.
module Legato.Cli.TrainSettings

open System.Text.Json
open System.Text.Json.Nodes
open Legato.Cli.TrainOptions
open Legato.Runtime.Checkpoints

let private text (value: string) = JsonValue.Create value :> JsonNode
let private number (value: 'T) = JsonValue.Create value :> JsonNode
let private word value = text ((string value).ToLowerInvariant())
let private given name value = value |> Option.map (fun node -> name, node) |> Option.toList

let private tokenizer source =
    match source with
    | TokenizerSource.Own -> None
    | TokenizerSource.Characters -> Some "char"
    | TokenizerSource.Bytes -> Some "bytes"
    | TokenizerSource.BytePairs -> Some "bpe"
    | TokenizerSource.Saved path -> Some(Runs.lasting path)

let private model name = if name = "" then None else Some(text (Runs.lasting name))

let private data (paths: string list) =
    match paths with
    | [] -> None
    | _ -> Some(JsonArray [| for path in paths -> text (Runs.lasting path) |] :> JsonNode)

let private overrides (pairs: (string * string) list) =
    match pairs with
    | [] -> None
    | _ -> Some(JsonArray [| for key, value in pairs -> text $"{key}={value}" |] :> JsonNode)

// What belongs to the machine and to one call alone (device, threads, output) is left out.
let private entries (options: TrainOptions) : (string * JsonNode) list = [
    yield! given "model" (model options.Model)
    yield! given "data" (data options.Data)
    yield! given "tokenizer" (tokenizer options.Tokenizer |> Option.map text)
    "vocab", number options.Vocabulary
    "steps", number options.Steps
    "batch", number options.Batch
    yield! given "seq" (Option.map number options.Sequence)
    "accumulate", number options.Accumulate
    "objective", word options.Objective
    yield! given "objective-rate" (Option.map number options.ObjectiveRate)
    if options.Pack then
        "pack", JsonValue.Create true :> JsonNode
    yield! given "separator" (Option.map text options.Separator)
    yield! given "chat-template" (options.ChatTemplate |> Option.map (Runs.lasting >> text))
    "lr", number options.LearningRate
    "min-lr-ratio", number options.MinLearningRateRatio
    "schedule", word options.Schedule
    yield! given "warmup" (Option.map number options.Warmup)
    yield! given "decay-steps" (Option.map number options.DecaySteps)
    "weight-decay", number options.WeightDecay
    "beta1", number options.Beta1
    "beta2", number options.Beta2
    "eps", number options.Epsilon
    "clip", number options.Clip
    "dropout", number options.Dropout
    "seed", number options.Seed
    "eval-every", number options.EvaluateEvery
    "eval-batches", number options.EvaluateBatches
    "checkpoint-every", number options.CheckpointEvery
    "keep", number options.Keep
    "precision", word options.Precision
    "remat", word options.Rematerialization
    yield! given "sample-prompt" (Option.map text options.SamplePrompt)
    yield! given "set" (overrides options.Overrides)
]

let private format = JsonSerializerOptions(WriteIndented = true)

/// Writes the settings into the run's folder.
let write folder (options: TrainOptions) =
    let json = JsonObject()

    for name, value in entries options do
        json[name] <- value

    AtomicWrite.Text(Runs.settingsFile folder, json.ToJsonString format + "\n")
