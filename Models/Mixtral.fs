/// Mixtral (Jiang et al. 2024): Mistral with mixtures of experts, two of them for each token.
module Legato.Models.Mixtral

open Legato.Dsl
open Legato.Models.Decoder
open Legato.Models.Experts

let private expert path name =
    named $"model.layers.moe.mlp.{path}" $"model.layers.{{0}}.block_sparse_moe.experts.{{1}}.{name}"

let private table =
    Llama.tableWith [
        named "model.layers.moe.router" "model.layers.{0}.block_sparse_moe.gate"
        expert "gate" "w1"
        expert "down" "w2"
        expert "up" "w3"
    ]

let ofConfig json =
    let window = Config.tryInt [ "sliding_window" ] json
    let positions = { RopeConfig.plain with Theta = 1e6 }

    let c =
        Llama.choicesOf { Llama.defaults with NormEpsilon = 1e-5 } positions json
        |> sliding window (fun _ -> true) json

    let mixture = {
        Router = {
            Router.best (Config.intOr 2 [ "num_experts_per_tok" ] json) with
                Balance = balance json
                Initializer = Normal c.Deviation
        }
        Experts = axis (Config.intOr 8 [ "num_local_experts" ] json)
        Mlp = axis c.Mlp.Size
        Shared = None
        SharedGate = false
    }

    model "mixtral" json table mixture (fun _ -> true) (attention c) c
