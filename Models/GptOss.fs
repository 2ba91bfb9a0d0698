/// gpt-oss (OpenAI 2025): mixtures of experts whose gates are clamped, a sink in every head, a window in every other
/// layer, its context by YaRN.
module Legato.Models.GptOss

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder
open Legato.Models.Experts

// One tensor holds all experts, as [in, out]; gate and up take turns in its columns.
let private expert path name = [
    for weight, suffix in [ "weight", ""; "bias", "_bias" ] do
        named $"model.layers.moe.mlp.{path}.{weight}" $"model.layers.{{0}}.mlp.experts.{name}{suffix}"
        |> transposed
]

let private table = {
    Llama.tableWith [ named "model.layers.moe.router" "model.layers.{0}.mlp.router" ] with
        Tensors = [
            named "model.layers.attn.sinks" "model.layers.{0}.self_attn.sinks"
            yield! expert "gate" "gate_up_proj" |> List.map (every 2 0 1)
            yield! expert "up" "gate_up_proj" |> List.map (every 2 1 1)
            yield! expert "down" "down_proj"
        ]
}

let ofConfig json =
    let defaults = { Llama.defaults with NormEpsilon = 1e-5; HeadSize = Some 64 }
    let c = Llama.choicesOf defaults { RopeConfig.plain with Theta = 150000.0 } json
    let bias = Config.boolOr true [ "attention_bias" ] json
    let clamp = { Limit = Config.floatOr 7.0 [ "swiglu_limit" ] json; Slope = 1.702 }

    let choices =
        {
            c with
                QkvBias = bias
                OutBias = bias
                Sinks = true
                FeedForward = { c.FeedForward with Biased = true; Clamp = Some clamp }
        }
        |> sliding (Config.intUnlessNull 128 "sliding_window" json) (fun i -> i % 2 = 0) json

    let mixture = {
        Router = {
            Router.best (Config.intOr 4 [ "num_experts_per_tok"; "experts_per_token" ] json) with
                Biased = true
                Balance = balance json
                Initializer = Normal c.Deviation
        }
        Experts = axis (Config.intOr 128 [ "num_local_experts"; "num_experts" ] json)
        Mlp = axis c.Mlp.Size
        Shared = None
        SharedGate = false
    }

    model "gpt_oss" json table mixture (fun _ -> true) (attention choices) choices
