/// OPT (Zhang et al. 2022): GPT-2 with ReLU, its positions counted from 2, its matrices as [out, in]; the smallest but one
/// has its norms behind each part.
module Legato.Models.Opt

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

let private layer path name = named $"model.layers.{path}" $"decoder.layers.{{0}}.{name}"

let table = {
    Table.ofModules [
        named "model.tokens" "decoder.embed_tokens"
        named "model.positions" "decoder.embed_positions"
        layer "attn_norm" "self_attn_layer_norm"
        layer "attn.q" "self_attn.q_proj"
        layer "attn.k" "self_attn.k_proj"
        layer "attn.v" "self_attn.v_proj"
        layer "attn.o" "self_attn.out_proj"
        layer "mlp_norm" "final_layer_norm"
        layer "mlp.up" "fc1"
        layer "mlp.down" "fc2"
        named "model.norm" "decoder.final_layer_norm"
    ] with
        Prefixes = [ "model."; "" ]
        Ignored = [ "lm_head.weight" ]
}

let ofConfig json =
    Config.demand "tie_word_embeddings" true json
    Config.demand "layer_norm_elementwise_affine" true json
    let c = Decoder.ofConfig { Widening = None; HeadSize = None; NormEpsilon = 1e-5; TiedHead = true } json
    let inner = Config.intOr c.Embed.Size [ "word_embed_proj_dim" ] json

    if inner <> c.Embed.Size then
        Config.fail
            $"embeddings of {inner} features in a model of {c.Embed.Size} are not supported"
            "word_embed_proj_dim"
            "only the model's own width is"

    let isFirst = Config.boolOr true [ "do_layer_norm_before" ] json
    let bias = Config.boolOr true [ "enable_bias" ] json

    let choices = {
        c with
            Norm = LayerNorm
            Order = if isFirst then PreNorm else PostNorm
            FinalNorm = isFirst && not (Config.boolOr false [ "_remove_final_layer_norm" ] json)
            Learned = Some 2
            QkvBias = bias
            OutBias = bias
            FeedForward = {
                c.FeedForward with
                    Gated = false
                    Biased = bias
                    Activation = Config.activation "relu" [ "activation_function" ] json
            }
    }

    model "opt" json table choices
