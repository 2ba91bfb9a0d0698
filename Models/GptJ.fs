/// GPT-J (Wang and Komatsuzaki 2021): attention and feed-forward side by side behind one LayerNorm, rotary positions
/// between neighbours, biases on the feed-forward and the head.
module Legato.Models.GptJ

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

let private layer path name = named $"model.layers.{path}" $"transformer.h.{{0}}.{name}"

let table = {
    Table.ofModules [
        named "model.tokens" "transformer.wte"
        layer "attn_norm" "ln_1"
        layer "attn.q" "attn.q_proj"
        layer "attn.k" "attn.k_proj"
        layer "attn.v" "attn.v_proj"
        layer "attn.o" "attn.out_proj"
        layer "mlp.up" "mlp.fc_in"
        layer "mlp.down" "mlp.fc_out"
        named "model.norm" "transformer.ln_f"
        named "model.head" "lm_head"
    ] with
        Ignored = [ "transformer.h.{0}.attn.bias"; "transformer.h.{0}.attn.masked_bias"; "lm_head.weight" ]
}

let ofConfig json =
    let c =
        Decoder.ofConfig { Widening = Some 4; HeadSize = None; NormEpsilon = 1e-5; TiedHead = false } json

    let turned =
        if Config.isNull "rotary_dim" json then
            None
        else
            Some(Config.intOr 64 [ "rotary_dim" ] json)

    let turns = { Rope.ofTheta 10000.0 with Rotary = turned; Interleaved = true }

    let choices = {
        rotary turns c with
            Norm = LayerNorm
            Order = Parallel
            HeadBias = true
            FeedForward = {
                c.FeedForward with
                    Gated = false
                    Biased = true
                    Activation = Config.activation "gelu_new" [ "activation_function" ] json
            }
    }

    model "gptj" json table choices
