/// Gemma (Gemma Team 2024): LLaMA with GeGLU, gains that count from 1, embeddings scaled by √width and a tied head.
/// Gemma 2 adds norms behind each part, soft caps, and a window in every other layer; Gemma 3 drops the caps, norms
/// queries and keys, and keeps a wavelength of its own for the five of six layers that have a window.
module Legato.Models.Gemma

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

let private choices json =
    let c =
        Llama.choicesOf { Llama.defaults with HeadSize = Some 256; TiedHead = true } RopeConfig.plain json
    // Its first configs say gelu in hidden_act and mean the approximation.
    let activation = Config.activation "gelu_pytorch_tanh" [ "hidden_activation" ] json

    {
        c with
            Norm = RmsNormOffset
            EmbedScale = sqrt (float c.Embed.Size)
            FeedForward = { c.FeedForward with Activation = activation }
    }

let private sandwich =
    let layer path name = named $"model.layers.{path}" $"model.layers.{{0}}.{name}"

    Llama.tableWith [
        layer "post_attn_norm" "post_attention_layernorm"
        layer "mlp_norm" "pre_feedforward_layernorm"
        layer "post_mlp_norm" "post_feedforward_layernorm"
    ]

let private second json = {
    choices json with
        Order = SandwichNorm
        ScoreScale = Some(1.0 / sqrt (Config.floatOr 256.0 [ "query_pre_attn_scalar" ] json))
        ScoreCap = Config.tryFloat [ "attn_logit_softcapping" ] json
        LogitCap = Config.tryFloat [ "final_logit_softcapping" ] json
}

let gemma json = choices json |> model "gemma" json Llama.table

let gemma2 json =
    Config.demand "use_bidirectional_attention" false json

    let cap fallback key =
        if Config.isNull key json then
            None
        else
            Some(Config.floatOr fallback [ key ] json)

    {
        second json with
            ScoreCap = cap 50.0 "attn_logit_softcapping"
            LogitCap = cap 30.0 "final_logit_softcapping"
    }
    |> sliding (Some(Config.intOr 4096 [ "sliding_window" ] json)) (fun i -> i % 2 = 0) json
    |> model "gemma2" json sandwich

// The layers with a window keep the base and the wavelengths of the first Gemmas.
let private withTwoRopes json c =
    let section name = Config.section [ "rope_parameters" ] json |> Option.bind (Config.section [ name ])
    let own name = RopeConfig.ofSection (section name)
    let local = { RopeConfig.plain with Theta = Config.floatOr 10000.0 [ "rope_local_base_freq" ] json }
    let whole = { RopeConfig.plain with Theta = 1000000.0 }

    let full =
        match section "full_attention" with
        | Some _ -> own "full_attention" whole c.Context c.HeadDim json
        | None -> RopeConfig.read whole c.Context c.HeadDim json

    let turnsOf kind =
        match kind.Window, section "sliding_attention" with
        | None, _ -> full
        | Some _, Some _ -> own "sliding_attention" local c.Context c.HeadDim json
        | Some _, None -> Rope.ofTheta local.Theta

    {
        c with
            Kinds = c.Kinds |> List.map (fun kind -> { kind with Rope = Some(turnsOf kind) })
    }

let gemma3 json =
    Config.demand "use_bidirectional_attention" false json
    let pattern = Config.intOr 6 [ "sliding_window_pattern"; "_sliding_window_pattern" ] json
    let window = Some(Config.intOr 4096 [ "sliding_window" ] json)

    { second json with QkNorm = HeadNorm RmsNormOffset }
    |> sliding window (fun i -> (i + 1) % pattern <> 0) json
    |> withTwoRopes json
    |> model "gemma3_text" json sandwich
