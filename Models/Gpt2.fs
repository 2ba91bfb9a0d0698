/// GPT-2 (Radford et al. 2019): learned positions, LayerNorm before each part, a GELU feed-forward, biases throughout, the
/// head tied to the embedding. GPT-3 (Brown et al. 2020) is the same at other sizes.
module Legato.Models.Gpt2

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

/// Matrices lie as [in, out]; one of them holds the queries, keys and values side by side.
let table c =
    let layer path name = named $"model.layers.{path}" $"h.{{0}}.{name}"
    let third n path = layer path "attn.c_attn" |> transposed |> nthPart 0 (c.Heads.Size * c.HeadDim.Size) n

    {
        Table.ofModules [
            named "model.tokens" "wte"
            named "model.positions" "wpe"
            layer "attn_norm" "ln_1"
            third 0 "attn.q"
            third 1 "attn.k"
            third 2 "attn.v"
            layer "attn.o" "attn.c_proj" |> transposed
            layer "mlp_norm" "ln_2"
            layer "mlp.up" "mlp.c_fc" |> transposed
            layer "mlp.down" "mlp.c_proj" |> transposed
            named "model.norm" "ln_f"
        ] with
            Prefixes = [ "transformer."; "" ]
            Ignored = [ "h.{0}.attn.bias"; "h.{0}.attn.masked_bias"; "lm_head.weight" ]
    }

let ofConfig json =
    Config.demand "tie_word_embeddings" true json
    Config.demand "scale_attn_weights" true json
    Config.demand "scale_attn_by_inverse_layer_idx" false json
    Config.demand "add_cross_attention" false json

    let c =
        Decoder.ofConfig { Widening = Some 4; HeadSize = None; NormEpsilon = 1e-5; TiedHead = true } json

    let choices = {
        c with
            Norm = LayerNorm
            Learned = Some 0
            QkvBias = true
            OutBias = true
            FeedForward = {
                Gated = false
                Clamp = None
                Biased = true
                Activation = Config.activation "gelu_new" [ "activation_function" ] json
                Deviation = c.Deviation
                // The residual stream sums 2 · layers of them (section 2.3).
                Projection = c.Deviation / sqrt (2.0 * float c.Kinds.Length)
            }
    }

    model "gpt2" json (table c) choices
