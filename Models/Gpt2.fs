/// GPT-2 (Radford et al. 2019): learned positions, LayerNorm before each part, a GELU feed-forward, biases throughout, the
/// head tied to the embedding. GPT-3 (Brown et al. 2020) is the same at other sizes. Dropout is not applied.
module Legato.Models.Gpt2

open Legato.Dsl

type Config = {
    Vocab: Axis<Vocab>
    Context: Axis<Context>
    Layers: Axis<Layers>
    Embed: Axis<Embed>
    Heads: Axis<Heads>
    HeadDim: Axis<HeadDim>
    Mlp: Axis<Mlp>
    Activation: Activation
    Epsilon: float
    Deviation: float
}

let private linearOf deviation name input output = layer name {
    let! w = weightOf (Normal deviation) "weight" input output
    and! b = bias "bias" output
    return fun x -> x *@ w + b
}

let private linear c = linearOf c.Deviation

/// A matrix that ends in the residual stream, which sums 2 · layers of them (Radford et al. 2019, section 2.3).
let private projection c = linearOf (c.Deviation / sqrt (2.0 * float c.Layers.Size))

let attention c = layer "attn" {
    let! q = linear c "q" c.Embed (c.Heads ^* c.HeadDim)
    and! k = linear c "k" c.Embed (c.Heads ^* c.HeadDim)
    and! v = linear c "v" c.Embed (c.Heads ^* c.HeadDim)
    and! o = projection c "o" (c.Heads ^* c.HeadDim) c.Embed
    and! kv = cache "kv" c.Context c.Heads c.HeadDim

    return
        fun x ->
            let keys, values = kv.Append(k x, v x)
            attend causal (q x) keys values |> o
}

let mlp c = layer "mlp" {
    let! up = linear c "up" c.Embed c.Mlp
    and! down = projection c "down" c.Mlp c.Embed
    return fun x -> up x |> activate c.Activation |> down
}

let block c = layer "layers" {
    let! attn = attention c
    and! mlp = mlp c
    and! n1 = layerNormOf c.Epsilon "attn_norm" c.Embed
    and! n2 = layerNormOf c.Epsilon "mlp_norm" c.Embed
    return fun x -> let h = x + attn (n1 x) in h + mlp (n2 h)
}

let decoder c = layer "model" {
    let! tokens = embeddingOf (Normal c.Deviation) "tokens" c.Vocab c.Embed
    and! places = embeddingOf (Normal c.Deviation) "positions" c.Context c.Embed
    and! blocks = stack c.Layers (block c)
    and! norm = layerNormOf c.Epsilon "norm" c.Embed
    return fun ids -> tokens.Lookup ids + places.Lookup(positions ids) |> blocks |> norm |> tokens.Unembed
}

/// Matrices lie as [in, out]; one of them holds the queries, keys and values side by side.
let names c : WeightNames =
    let width = c.Heads.Size * c.HeadDim.Size

    let linear path name = [
        named $"model.layers.{path}.weight" $"h.{{0}}.{name}.weight" |> transposed
        named $"model.layers.{path}.bias" $"h.{{0}}.{name}.bias"
    ]

    // The weight is cut along its second axis, the bias along its only one.
    let third n path = List.map2 (fun axis -> nthPart axis width n) [ 1; 0 ] (linear $"attn.{path}" "attn.c_attn")

    let norm path name = [ named $"{path}.gain" $"{name}.weight"; named $"{path}.bias" $"{name}.bias" ]

    {
        Names = [
            named "model.tokens" "wte.weight"
            named "model.positions" "wpe.weight"
            yield! norm "model.layers.attn_norm" "h.{0}.ln_1"
            yield! [ "q"; "k"; "v" ] |> List.mapi third |> List.concat
            yield! linear "attn.o" "attn.c_proj"
            yield! norm "model.layers.mlp_norm" "h.{0}.ln_2"
            yield! linear "mlp.up" "mlp.c_fc"
            yield! linear "mlp.down" "mlp.c_proj"
            yield! norm "model.norm" "ln_f"
        ]
        Prefixes = [ "transformer."; "" ]
        Ignored = [ "h.{0}.attn.bias"; "h.{0}.attn.masked_bias"; "lm_head.weight" ]
    }

let ofConfig json =
    Config.demand "tie_word_embeddings" true json
    Config.demand "scale_attn_weights" true json
    Config.demand "scale_attn_by_inverse_layer_idx" false json
    Config.demand "add_cross_attention" false json
    let embed = Config.axis<Embed> [ "n_embd"; "hidden_size" ] json
    let heads = Config.axis<Heads> [ "n_head"; "num_attention_heads" ] json

    let c = {
        Vocab = Config.axis [ "vocab_size" ] json
        Context = Config.axis [ "n_positions"; "max_position_embeddings"; "n_ctx" ] json
        Layers = Config.axis [ "n_layer"; "num_hidden_layers" ] json
        Embed = embed
        Heads = heads
        HeadDim = axis (Config.headDim embed heads json)
        Mlp = axis (Config.intOr (4 * embed.Size) [ "n_inner" ] json)
        Activation = Config.activation "gelu_new" [ "activation_function" ] json
        Epsilon = Config.floatOr 1e-5 [ "layer_norm_epsilon" ] json
        Deviation = Config.floatOr 0.02 [ "initializer_range" ] json
    }

    Family.model "gpt2" json c.Vocab c.Context (decoder c) (names c)
