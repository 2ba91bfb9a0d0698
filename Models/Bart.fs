/// BART (Lewis et al. 2019): the transformer with learned positions, GELU, and a LayerNorm on the embeddings.
module Legato.Models.Bart

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.EncoderDecoder

let private side name = [
    let layer path tensor = named $"model.{name}.layers.{path}" $"{name}.layers.{{0}}.{tensor}"
    named $"model.{name}.positions" $"{name}.embed_positions"
    named $"model.{name}.embed_norm" $"{name}.layernorm_embedding"
    layer "attn.q" "self_attn.q_proj"
    layer "attn.k" "self_attn.k_proj"
    layer "attn.v" "self_attn.v_proj"
    layer "attn.o" "self_attn.out_proj"
    layer "attn_norm" "self_attn_layer_norm"
    layer "cross.q" "encoder_attn.q_proj"
    layer "cross.k" "encoder_attn.k_proj"
    layer "cross.v" "encoder_attn.v_proj"
    layer "cross.o" "encoder_attn.out_proj"
    layer "cross_norm" "encoder_attn_layer_norm"
    layer "mlp.up" "fc1"
    layer "mlp.down" "fc2"
    layer "mlp_norm" "final_layer_norm"
]

let table = {
    Table.ofModules [ named "model.tokens" "shared"; yield! side "encoder"; yield! side "decoder" ] with
        Prefixes = [ "model."; "" ]
        // The bias of the logits has always been zero.
        Ignored = [
            "encoder.embed_tokens.weight"
            "decoder.embed_tokens.weight"
            "lm_head.weight"
            "final_logits_bias"
        ]
}

// Both sides are alike in every model that was published.
let private both key json =
    let encoder, decoder = Config.int [ $"encoder_{key}" ] json, Config.int [ $"decoder_{key}" ] json

    if encoder <> decoder then
        Config.fail
            $"{encoder} and {decoder} of encoder and decoder differ"
            $"decoder_{key}"
            $"make encoder_{key} and decoder_{key} equal"

    encoder

/// The choices of the transformer of 2017, with the sizes that a config gives.
let choices json : EncoderDecoder.Config =
    let embed = Config.axis<Embed> [ "d_model" ] json
    let heads = axis<Heads>(both "attention_heads" json)
    let headDim = Config.headDim None embed heads json
    let deviation = Config.floatOr 0.02 [ "init_std" ] json
    let isScaled = Config.boolOr false [ "scale_embedding" ] json

    {
        Vocab = Config.axis [ "vocab_size" ] json
        Context = Config.axis [ "max_position_embeddings" ] json
        Layers = Config.axis [ "encoder_layers" ] json
        DecoderLayers = Config.axis [ "decoder_layers" ] json
        Embed = embed
        Heads = heads
        HeadDim = axis headDim
        Mlp = axis (both "ffn_dim" json)
        Norm = LayerNorm
        Epsilon = 1e-5
        IsPreNorm = false
        EmbedNorm = true
        Positions = LearnedFrom 2
        Scale = 1.0 / sqrt (float headDim)
        Biased = true
        EmbedScale = if isScaled then sqrt (float embed.Size) else 1.0
        LogitScale = 1.0
        Tied = true
        FeedForward = {
            Gated = false
            Clamp = None
            Biased = true
            Activation = Config.activation "gelu" [ "activation_function" ] json
            Deviation = deviation
            Projection = deviation
        }
    }

let ofConfig json =
    Config.demand "tie_word_embeddings" true json
    choices json |> model "bart" json table
