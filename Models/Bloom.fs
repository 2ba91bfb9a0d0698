/// BLOOM (Le Scao et al. 2022): ALiBi in place of positions, a LayerNorm on the embeddings, biases throughout, the head
/// tied.
module Legato.Models.Bloom

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

/// Queries, keys and values lie head by head in one tensor.
let table (headDim: int) =
    let layer path name = named $"model.layers.{path}" $"h.{{0}}.{name}"
    let third n path = layer path "self_attention.query_key_value" |> every (3 * headDim) (n * headDim) headDim

    {
        Table.ofModules [
            named "model.tokens" "word_embeddings"
            named "model.embed_norm" "word_embeddings_layernorm"
            layer "attn_norm" "input_layernorm"
            third 0 "attn.q"
            third 1 "attn.k"
            third 2 "attn.v"
            layer "attn.o" "self_attention.dense"
            layer "mlp_norm" "post_attention_layernorm"
            layer "mlp.up" "mlp.dense_h_to_4h"
            layer "mlp.down" "mlp.dense_4h_to_h"
            named "model.norm" "ln_f"
        ] with
            Prefixes = [ "transformer."; "" ]
            Ignored = [ "lm_head.weight" ]
    }

let ofConfig json =
    Config.demand "tie_word_embeddings" true json
    Config.demand "apply_residual_connection_post_layernorm" false json

    let c =
        Decoder.ofEndless 2048 { Widening = Some 4; HeadSize = None; NormEpsilon = 1e-5; TiedHead = true } json

    let choices = {
        c with
            Norm = LayerNorm
            EmbedNorm = true
            Alibi = Some(alibi c.Heads)
            QkvBias = true
            OutBias = true
            FeedForward = { c.FeedForward with Gated = false; Biased = true; Activation = GeluTanh }
    }

    model "bloom" json (table c.HeadDim.Size) choices
