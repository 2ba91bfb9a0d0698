/// Qwen's mixtures of many narrow experts: Qwen 2 (Yang et al. 2024, section 2.2.2) with an expert that every token is
/// sent to, weighed by a gate; Qwen 3 (Yang et al. 2025, section 2) without.
module Legato.Models.QwenMoe

open Legato.Dsl
open Legato.Models.Decoder
open Legato.Models.Experts

let private line path name = named $"model.layers.moe.{path}" $"model.layers.{{0}}.mlp.{name}"
let private matrices = [ "gate"; "up"; "down" ]

let private table =
    Llama.tableWith [
        line "router" "gate"
        line "shared.gate" "shared_expert_gate"
        for matrix in matrices do
            line $"mlp.{matrix}" $"experts.{{1}}.{matrix}_proj"
            line $"shared.mlp.{matrix}" $"shared_expert.{matrix}_proj"
    ]

/// Layers are dense where mlp_only_layers names them, and between every decoder_sparse_step-th.
let private isSparse json =
    let dense = Config.tryInts [ "mlp_only_layers" ] json |> Option.defaultValue []
    let step = Config.intOr 1 [ "decoder_sparse_step" ] json
    fun i -> not (List.contains i dense) && (i + 1) % step = 0

let private family modelType chosen shared c json =
    let router = Router.best (Config.intOr chosen [ "num_experts_per_tok" ] json)

    let mixture = {
        Router = {
            router with
                Normalised = Config.boolOr false [ "norm_topk_prob" ] json
                Balance = balance json
                Initializer = Normal c.Deviation
        }
        Experts = Config.axis [ "num_experts"; "num_local_experts" ] json
        Mlp = Config.axis [ "moe_intermediate_size" ] json
        Shared = shared
        SharedGate = Option.isSome shared
    }

    model modelType json table mixture (isSparse json) (attention c) c

let qwen2 json =
    let shared = Config.axis [ "shared_expert_intermediate_size" ] json
    let c = { Qwen.second json with QkvBias = Config.boolOr true [ "qkv_bias" ] json }
    family "qwen2_moe" 4 (Some shared) c json

let qwen3 json = family "qwen3_moe" 8 None (Qwen.third json) json
