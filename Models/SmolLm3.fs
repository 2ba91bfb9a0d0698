/// SmolLM 3 (Bakouch et al. 2025): LLaMA with every fourth layer without positions, the head tied.
module Legato.Models.SmolLm3

open Legato.Models.Decoder

let ofConfig json =
    let c =
        Llama.choicesOf { Llama.defaults with TiedHead = true } { RopeConfig.plain with Theta = 2000000.0 } json

    let interval = Config.intOr 4 [ "no_rope_layer_interval" ] json
    // The list's name says the opposite of its ones.
    let listed = Config.tryInts [ "no_rope_layers" ] json |> Option.defaultValue []

    let turns i =
        match List.tryItem i listed with
        | Some flag -> flag <> 0
        | None -> (i + 1) % interval <> 0

    let window =
        if Config.boolOr false [ "use_sliding_window" ] json then
            Config.tryInt [ "sliding_window" ] json
        else
            None

    {
        c with
            Kinds = c.Kinds |> List.mapi (fun i kind -> if turns i then kind else { kind with Rope = None })
    }
    |> sliding window (fun _ -> true) json
    |> model "smollm3" json Llama.table
