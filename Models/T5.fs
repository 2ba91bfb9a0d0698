/// T5 (Raffel et al. 2020): RMSNorm before each part, a learned bias of the scores by distance, no biases otherwise, scores
/// that are not scaled. Its version 1.1 has a gated feed-forward and an output head of its own.
module Legato.Models.T5

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.EncoderDecoder

let private attention side path part = [
    for name in [ "q"; "k"; "v"; "o" ] ->
        named $"model.{side}.layers.{path}.{name}" $"{side}.block.{{0}}.layer.{part}.{name}"
]

let private side name last = [
    let layer path tensor = named $"model.{name}.layers.{path}" $"{name}.block.{{0}}.layer.{tensor}"
    yield! attention name "attn" "0.SelfAttention"
    layer "attn_norm" "0.layer_norm"
    layer "mlp.gate" $"{last}.DenseReluDense.wi_0"
    layer "mlp.down" $"{last}.DenseReluDense.wo"
    layer "mlp_norm" $"{last}.layer_norm"
    named $"model.{name}.relative" $"{name}.block.0.layer.0.SelfAttention.relative_attention_bias"
    named $"model.{name}.norm" $"{name}.final_layer_norm"
]

let private table isGated =
    let up = if isGated then "wi_1" else "wi"

    {
        Table.ofModules [
            named "model.tokens" "shared"
            yield! side "encoder" 1
            named "model.encoder.layers.mlp.up" $"encoder.block.{{0}}.layer.1.DenseReluDense.{up}"
            yield! side "decoder" 2
            named "model.decoder.layers.mlp.up" $"decoder.block.{{0}}.layer.2.DenseReluDense.{up}"
            yield! attention "decoder" "cross" "1.EncDecAttention"
            named "model.decoder.layers.cross_norm" "decoder.block.{0}.layer.1.layer_norm"
            named "model.head" "lm_head"
        ] with
            Ignored = [ "encoder.embed_tokens.weight"; "decoder.embed_tokens.weight"; "lm_head.weight" ]
    }

let private feedForward json : FeedForward =
    let isGated, name =
        match Config.stringOr "relu" [ "feed_forward_proj" ] json with
        // What its authors called GELU is the approximation.
        | "gated-gelu" -> true, "gelu_new"
        | gated when gated.StartsWith "gated-" -> true, gated.Substring 6
        | plain -> false, plain

    {
        Gated = isGated
        Clamp = None
        Biased = false
        Activation = Config.activationNamed "feed_forward_proj" name
        Deviation = 0.02
        Projection = 0.02
    }

let ofConfig json =
    let embed = Config.axis<Embed> [ "d_model"; "hidden_size" ] json
    let layers = Config.int [ "num_layers"; "num_hidden_layers" ] json
    let feedForward = feedForward json
    let tied = Config.boolOr true [ "tie_word_embeddings" ] json
    let isScaled = Config.boolOr tied [ "scale_decoder_outputs" ] json
    let buckets = axis<Bucket>(Config.intOr 32 [ "relative_attention_num_buckets" ] json)

    model "t5" json (table feedForward.Gated) {
        Vocab = Config.axis [ "vocab_size" ] json
        Context = axis (Config.intOr 512 [ "n_positions" ] json)
        Layers = axis layers
        DecoderLayers = axis (Config.intOr layers [ "num_decoder_layers" ] json)
        Embed = embed
        Heads = Config.axis [ "num_heads"; "num_attention_heads" ] json
        HeadDim = Config.axis [ "d_kv" ] json
        Mlp = Config.axis [ "d_ff" ] json
        Norm = RmsNorm
        Epsilon = Config.floatOr 1e-6 [ "layer_norm_epsilon" ] json
        IsPreNorm = true
        EmbedNorm = false
        Positions = Relative(buckets, Config.intOr 128 [ "relative_attention_max_distance" ] json)
        Scale = 1.0
        Biased = false
        EmbedScale = 1.0
        LogitScale = if isScaled then 1.0 / sqrt (float embed.Size) else 1.0
        Tied = tied
        FeedForward = feedForward
    }
