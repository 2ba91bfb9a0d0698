/// Phi 3 (Abdin et al. 2024): LLaMA with one tensor for queries, keys and values and one for gate and up, perhaps in a
/// sliding window, its long context by LongRoPE.
module Legato.Models.Phi3

open Legato.Dsl
open Legato.Models.Decoder

let table c =
    let layer path name = named $"model.layers.{path}" $"model.layers.{{0}}.{name}"
    let queries, keys = c.Heads.Size * c.HeadDim.Size, c.KvHeads.Size * c.HeadDim.Size

    Llama.tableWith [
        layer "attn.q" "self_attn.qkv_proj" |> part 0 0 queries
        layer "attn.k" "self_attn.qkv_proj" |> part 0 queries keys
        layer "attn.v" "self_attn.qkv_proj" |> part 0 (queries + keys) keys
        layer "mlp.gate" "mlp.gate_up_proj" |> nthPart 0 c.Mlp.Size 0
        layer "mlp.up" "mlp.gate_up_proj" |> nthPart 0 c.Mlp.Size 1
    ]

let ofConfig json =
    let c = Llama.choicesOf { Llama.defaults with NormEpsilon = 1e-5 } RopeConfig.plain json
    let window = Config.tryInt [ "sliding_window" ] json

    { c with Context = RopeConfig.contextOf c.Context json }
    |> sliding window (fun _ -> true) json
    |> model "phi3" json (table c)
