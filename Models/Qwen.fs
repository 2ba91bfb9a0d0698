/// Qwen 2 (Yang et al. 2024): LLaMA with biases on queries, keys and values; Qwen 3 (Yang et al. 2025): LLaMA with an
/// RMSNorm of each head's queries and keys.
module Legato.Models.Qwen

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

let private windowed json c =
    let window =
        if Config.boolOr false [ "use_sliding_window" ] json then
            Config.intUnlessNull 4096 "sliding_window" json
        else
            None

    let full = Config.intOr 28 [ "max_window_layers" ] json
    sliding window (fun i -> i >= full) json c

/// Qwen 2's choices.
let second json = { Llama.choices json with QkvBias = true; OutBias = false } |> windowed json

/// Qwen 3's choices.
let third json =
    let c = Llama.choicesOf { Llama.defaults with HeadSize = Some 128 } RopeConfig.plain json
    { c with QkNorm = HeadNorm RmsNorm } |> windowed json

let qwen2 json = second json |> model "qwen2" json Llama.table
let qwen3 json = third json |> model "qwen3" json Llama.table
