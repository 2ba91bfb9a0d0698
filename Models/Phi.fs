/// Phi 1 and 2 (Gunasekar et al. 2023; Li et al. 2023): attention and feed-forward side by side behind one LayerNorm,
/// rotary positions on half of each head, biases throughout, the head's included.
module Legato.Models.Phi

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

let private layer path name = named $"model.layers.{path}" $"model.layers.{{0}}.{name}"

let table =
    Llama.tableWith [
        layer "attn.o" "self_attn.dense"
        layer "attn.q_norm" "self_attn.q_layernorm"
        layer "attn.k_norm" "self_attn.k_layernorm"
        layer "mlp.up" "mlp.fc1"
        layer "mlp.down" "mlp.fc2"
        named "model.norm" "model.final_layernorm"
    ]

let ofConfig json =
    let c =
        Decoder.ofConfig { Widening = Some 4; HeadSize = None; NormEpsilon = 1e-5; TiedHead = false } json

    let turns = RopeConfig.read { RopeConfig.plain with Turned = 0.5 } c.Context c.HeadDim json

    let choices = {
        rotary turns c with
            Norm = LayerNorm
            Order = Parallel
            QkvBias = true
            OutBias = true
            HeadBias = true
            QkNorm =
                if Config.boolOr false [ "qk_layernorm" ] json then
                    HeadNorm LayerNorm
                else
                    Unnormed
            FeedForward = {
                c.FeedForward with
                    Gated = false
                    Biased = true
                    Activation = Config.activation "gelu_new" [ "hidden_act" ] json
            }
    }

    model "phi" json table choices
