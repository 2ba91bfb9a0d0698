/// GLM 4 (GLM Team 2024, the models of 2025): LLaMA with norms before and behind each part, rotary positions between the
/// neighbours of half of each head, gate and up in one tensor.
module Legato.Models.Glm4

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

let table c =
    let layer path name = named $"model.layers.{path}" $"model.layers.{{0}}.{name}"

    Llama.tableWith [
        layer "post_attn_norm" "post_self_attn_layernorm"
        layer "post_mlp_norm" "post_mlp_layernorm"
        layer "mlp.gate" "mlp.gate_up_proj" |> nthPart 0 c.Mlp.Size 0
        layer "mlp.up" "mlp.gate_up_proj" |> nthPart 0 c.Mlp.Size 1
    ]

let ofConfig json =
    let rope = { RopeConfig.plain with Turned = 0.5; Interleaved = true }
    let c = Llama.choicesOf { Llama.defaults with HeadSize = Some 128; NormEpsilon = 1.5625e-7 } rope json
    model "glm4" json (table c) { c with Order = SandwichNorm; OutBias = false }
