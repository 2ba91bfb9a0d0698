/// Training as a person follows it, and as a program does.
module Legato.Cli.TrainProgress

open System
open System.Text.Encodings.Web
open System.Text.Json
open System.Text.Json.Nodes
open Legato.Runtime.Training

// Apostrophes and signs stay readable: nothing here goes into a page.
let private format = JsonSerializerOptions(Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping)

/// One JSON object a line on the standard output.
let printLine (entries: (string * JsonNode) list) =
    let json = JsonObject()

    for name, value in entries do
        json[name] <- value

    Console.Out.WriteLine(json.ToJsonString format)

// JSON has no NaN.
let private number (value: float) : JsonNode = if Double.IsFinite value then JsonValue.Create value else null

let private count (value: int64) : JsonNode = JsonValue.Create value
let private text (value: string) : JsonNode = JsonValue.Create value

/// A line of JSON for each step, evaluation, checkpoint and warning.
let forPrograms () = {
    new ITrainingObserver with
        member _.Stepped(metrics: inref<StepMetrics>) =
            printLine [
                "step", count metrics.Step
                "loss", number (float metrics.Loss)
                "gradient_norm", number (float metrics.GradientNorm)
                "rate", number metrics.Rate
                "tokens_per_second", number (Math.Round(metrics.TokensPerSecond, 1))
                "seconds", number (Math.Round(metrics.Seconds, 3))
            ]

        member _.Evaluated(step, result) =
            printLine [
                "step", count step
                "evaluation_loss", number result.Loss
                "perplexity", number result.Perplexity
            ]

        member _.CheckpointWritten(step, folder) = printLine [ "step", count step; "checkpoint", text folder ]

        member _.Warned(step, message) = printLine [ "step", count step; "warning", text message ]
}

/// Loss, speed and the loss on held-out text beside the bar; warnings and samples above it.
/// <param name="sample">A text of the model's at each evaluation, where one is asked for.</param>
let forPeople (display: Progress.Display) (sample: (unit -> string) option) =
    let heldOut = ref ""

    {
        new ITrainingObserver with
            member _.Stepped(metrics: inref<StepMetrics>) =
                let speed = metrics.TokensPerSecond.ToString "#,0"
                display.Advance metrics.Step $"loss {metrics.Loss:F3}{heldOut.Value}  {speed} tokens/s"

            member _.Evaluated(step, result) =
                heldOut.Value <- $"  held out {result.Loss:F3}"
                sample |> Option.iter (fun speak -> display.Note $"step {step}: {speak ()}")

            member _.Warned(_, message) = display.Note $"warning: {message}"
    }
