/// GPT-NeoX (Black et al. 2022): LayerNorm, attention and feed-forward side by side with a norm each, rotary positions on
/// a quarter of each head, an output head of its own.
module Legato.Models.GptNeoX

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

/// Queries, keys and values lie head by head in one tensor.
let table (headDim: int) =
    let layer path name = named $"model.layers.{path}" $"gpt_neox.layers.{{0}}.{name}"
    let third n path = layer path "attention.query_key_value" |> every (3 * headDim) (n * headDim) headDim

    {
        Table.ofModules [
            named "model.tokens" "gpt_neox.embed_in"
            layer "attn_norm" "input_layernorm"
            third 0 "attn.q"
            third 1 "attn.k"
            third 2 "attn.v"
            layer "attn.o" "attention.dense"
            layer "mlp_norm" "post_attention_layernorm"
            layer "mlp.up" "mlp.dense_h_to_4h"
            layer "mlp.down" "mlp.dense_4h_to_h"
            named "model.norm" "gpt_neox.final_layer_norm"
            named "model.head" "embed_out"
        ] with
            Ignored = [
                "gpt_neox.layers.{0}.attention.bias"
                "gpt_neox.layers.{0}.attention.masked_bias"
                "gpt_neox.layers.{0}.attention.rotary_emb.inv_freq"
                "embed_out.weight"
            ]
    }

let ofConfig json =
    let c = Decoder.ofConfig { Widening = None; HeadSize = None; NormEpsilon = 1e-5; TiedHead = false } json
    let turns = RopeConfig.read { RopeConfig.plain with Turned = 0.25 } c.Context c.HeadDim json
    let bias = Config.boolOr true [ "attention_bias" ] json

    let choices = {
        rotary turns c with
            Norm = LayerNorm
            Order =
                if Config.boolOr true [ "use_parallel_residual" ] json then
                    ParallelNorms
                else
                    PreNorm
            QkvBias = bias
            OutBias = bias
            FeedForward = {
                c.FeedForward with
                    Gated = false
                    Biased = true
                    Activation = Config.activation "gelu" [ "hidden_act" ] json
            }
    }

    model "gpt_neox" json (table c.HeadDim.Size) choices
