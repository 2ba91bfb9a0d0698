/// MPT (MosaicML 2023): ALiBi, LayerNorm without biases, a GELU feed-forward, the head tied.
module Legato.Models.Mpt

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

let table c =
    let layer path name = named $"model.layers.{path}" $"blocks.{{0}}.{name}"
    let third n path = layer path "attn.Wqkv" |> nthPart 0 (c.Heads.Size * c.HeadDim.Size) n

    {
        Table.ofModules [
            named "model.tokens" "wte"
            layer "attn_norm" "norm_1"
            third 0 "attn.q"
            third 1 "attn.k"
            third 2 "attn.v"
            layer "attn.o" "attn.out_proj"
            layer "mlp_norm" "norm_2"
            layer "mlp.up" "ffn.up_proj"
            layer "mlp.down" "ffn.down_proj"
            named "model.norm" "norm_f"
        ] with
            Prefixes = [ "transformer."; "" ]
            Ignored = [ "lm_head.weight" ]
    }

let ofConfig json =
    Config.demand "tie_word_embeddings" true json
    Config.demand "no_bias" true json
    let widening = Config.intOr 4 [ "expansion_ratio" ] json

    let c =
        Decoder.ofConfig { Widening = Some widening; HeadSize = None; NormEpsilon = 1e-5; TiedHead = true } json

    let attention = Config.section [ "attn_config" ] json |> Option.defaultValue json
    Config.demand "alibi" true attention
    Config.demand "qk_ln" false attention
    Config.demand "prefix_lm" false attention

    if (Config.tryFloat [ "clip_qkv" ] attention).IsSome then
        Config.fail "clipped queries, keys and values are not supported" "clip_qkv" "leave clip_qkv out"

    let choices = {
        c with
            Norm = LayerNormUnbiased
            Alibi = Some(alibiOf (Config.floatOr 8.0 [ "alibi_bias_max" ] attention) 1.0 c.Heads)
            ScoreScale = Config.tryFloat [ "softmax_scale" ] attention
            FeedForward = { c.FeedForward with Gated = false; Activation = Gelu }
    }

    model "mpt" json (table c) choices
