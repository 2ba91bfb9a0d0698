/// DeepSeek (DeepSeek-AI 2024, V2 and V3): LLaMA with attention over latents of low rank, mixtures of many narrow experts,
/// and layers that tell later tokens.
module Legato.Models.Deepseek

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder
open Legato.Models.Experts

let private moe path name = named $"model.layers.moe.{path}" $"model.layers.{{0}}.mlp.{name}"

let private table latent = {
    Llama.tableWith [
        yield! LatentAttention.modules latent
        moe "router" "gate"
        for matrix in [ "gate"; "up"; "down" ] do
            moe $"mlp.{matrix}" $"experts.{{1}}.{matrix}_proj"
            moe $"shared.mlp.{matrix}" $"shared_experts.{matrix}_proj"
    ] with
        Tensors = [ moe "router.correction" "gate.e_score_correction_bias" ]
}

let private family modelType router json =
    let c =
        Llama.choicesOf { Llama.defaults with HeadSize = Some 64 } RopeConfig.plain json
        |> LaterTokens.choices json

    let latent = LatentAttention.ofConfig c json
    let width = Config.int [ "moe_intermediate_size" ] json
    let shared = Config.tryInt [ "n_shared_experts" ] json |> Option.filter (fun n -> n > 0)

    let mixture = {
        Router = { router json with Initializer = Normal c.Deviation }
        Experts = Config.axis [ "n_routed_experts"; "num_local_experts" ] json
        Mlp = axis width
        Shared = shared |> Option.map (fun n -> axis (n * width))
        SharedGate = false
    }

    let dense = Config.intOr 0 [ "first_k_dense_replace" ] json
    let step = Config.intOr 1 [ "moe_layer_freq" ] json
    let isSparse i = i >= dense && i % step = 0
    let table = LaterTokens.table json c (table latent)
    model modelType json table mixture isSparse (LatentAttention.attention c latent) c

let private groups best json = {
    Count = Config.int [ "n_group" ] json
    Chosen = Config.int [ "topk_group" ] json
    Best = best
}

/// V2: weights by softmax; experts from the groups whose best expert is likeliest (section 2.2.2).
let second json =
    let router json =
        let groups =
            match Config.stringOr "greedy" [ "topk_method" ] json with
            | "greedy" -> None
            | "group_limited_greedy" -> Some(groups 1 json)
            | other ->
                let remedy = "use greedy or group_limited_greedy"
                Config.fail $"the choice of experts '{other}' is not known" "topk_method" remedy

        {
            Router.best (Config.int [ "num_experts_per_tok" ] json) with
                Normalised = false
                Scale = Config.floatOr 1.0 [ "routed_scaling_factor" ] json
                Groups = groups
        }

    Config.demand "norm_topk_prob" false json
    family "deepseek_v2" router json

/// V3: weights by sigmoids, a correction in the place of a balancing loss, and groups by their two best (section 2.1.2).
let third json =
    let router json = {
        Router.best (Config.intOr 8 [ "num_experts_per_tok" ] json) with
            Scoring = Sigmoid
            Normalised = Config.boolOr true [ "norm_topk_prob" ] json
            Scale = Config.floatOr 2.5 [ "routed_scaling_factor" ] json
            Groups = Some(groups 2 json)
            // The speed that V3 was trained with for most of its tokens (section 4.2).
            Correction = Some 0.001
    }

    family "deepseek_v3" router json
