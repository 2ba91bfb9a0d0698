/// Mistral (Jiang et al. 2023): LLaMA whose queries see a sliding window.
module Legato.Models.Mistral

open Legato.Models.Decoder

let ofConfig json =
    let window = Config.intUnlessNull 4096 "sliding_window" json
    Llama.choices json |> sliding window (fun _ -> true) json |> model "mistral" json Llama.table
