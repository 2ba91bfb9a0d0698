/// Gemma (Gemma Team 2024): LLaMA with GeGLU, gains that count from 1, embeddings scaled by √width and a tied head.
/// Gemma 2 adds norms behind each part, soft caps, and a window in every other layer; Gemma 3 drops the caps, norms
/// queries and keys, and keeps a wavelength of its own for the five of six layers that have a window.
module Legato.Models.Gemma

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

let private choices json =
    let c = Llama.choicesOf { Llama.defaults with HeadDim = Some 256; Tied = true } RopeConfig.plain json
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

let private cap fallback key json =
    if json |> Config.isNull key then
        None
    else
        Some(Config.floatOr fallback [ key ] json)

let private second caps json =
    let c = choices json

    {
        c with
            Order = SandwichNorm
            ScoreScale = Some(1.0 / sqrt (Config.floatOr 256.0 [ "query_pre_attn_scalar" ] json))
            ScoreCap = caps |> Option.bind (fun (score, _) -> cap score "attn_logit_softcapping" json)
            LogitCap = caps |> Option.bind (fun (_, logit) -> cap logit "final_logit_softcapping" json)
    }

let gemma json = choices json |> model "gemma" json Llama.table

let gemma2 json =
    Config.demand "use_bidirectional_attention" false json

    second (Some(50.0, 30.0)) json
    |> sliding (Some(Config.intOr 4096 [ "sliding_window" ] json)) (fun i -> i % 2 = 0) json
    |> model "gemma2" json sandwich
