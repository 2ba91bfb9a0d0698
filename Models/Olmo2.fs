/// OLMo 2 (OLMo Team 2024): LLaMA with its norms behind each part, and an RMSNorm of all queries and of all keys.
module Legato.Models.Olmo2

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

let private layer path name = named $"model.layers.{path}" $"model.layers.{{0}}.{name}"

let table =
    Llama.tableWith [ layer "attn_norm" "post_attention_layernorm"; layer "mlp_norm" "post_feedforward_layernorm" ]

let ofConfig json =
    let c = Llama.choicesOf { Llama.defaults with NormEpsilon = 1e-5 } RopeConfig.plain json
    model "olmo2" json table { c with Order = OutputNorm; QkNorm = WholeNorm RmsNorm }
