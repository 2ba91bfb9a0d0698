/// LLaMA (Touvron et al. 2023; Grattafiori et al. 2024): RMSNorm before each part, rotary positions, grouped-query
/// attention, a SwiGLU feed-forward: choices of `Decoder.fs`, where the layers stand. Code Llama (Rozière et al. 2023) is the
/// same with a larger base of the positions.
module Legato.Models.Llama

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

let private layer path name = named $"model.layers.{path}" $"model.layers.{{0}}.{name}"

/// The names that most families of LLaMA's kind share.
let modules = [
    named "model.tokens" "model.embed_tokens"
    layer "attn_norm" "input_layernorm"
    layer "attn.q" "self_attn.q_proj"
    layer "attn.k" "self_attn.k_proj"
    layer "attn.v" "self_attn.v_proj"
    layer "attn.o" "self_attn.o_proj"
    layer "attn.q_norm" "self_attn.q_norm"
    layer "attn.k_norm" "self_attn.k_norm"
    layer "mlp_norm" "post_attention_layernorm"
    layer "mlp.gate" "mlp.gate_proj"
    layer "mlp.up" "mlp.up_proj"
    layer "mlp.down" "mlp.down_proj"
    named "model.norm" "model.norm"
    named "model.head" "lm_head"
]

/// The shared names, some of them others: the first line of a path counts.
let tableWith (own: WeightName list) = {
    Table.ofModules (own @ modules) with
        Ignored = [ "model.layers.{0}.self_attn.rotary_emb.inv_freq"; "lm_head.weight" ]
}

let table = tableWith []
let defaults = { Widening = None; HeadSize = None; NormEpsilon = 1e-6; TiedHead = false }

/// The choices of a family of LLaMA's kind, for its own defaults.
let choicesOf defaults rope json =
    let c = Decoder.ofConfig defaults json
    let turns = RopeConfig.read rope c.Context c.HeadDim json
    let bias = Config.boolOr false [ "attention_bias" ] json

    let feedForward = {
        c.FeedForward with
            Biased = Config.boolOr false [ "mlp_bias" ] json
            Activation = Config.activation "silu" [ "hidden_act"; "hidden_activation" ] json
    }

    { rotary turns c with QkvBias = bias; OutBias = bias; FeedForward = feedForward }

let choices json = choicesOf defaults RopeConfig.plain json
let ofConfig json = choices json |> model "llama" json table
