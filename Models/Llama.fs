/// LLaMA (Touvron et al. 2023; Grattafiori et al. 2024): RMSNorm before each part, rotary positions, grouped-query
/// attention, a SwiGLU feed-forward.
module Legato.Models.Llama

open Legato.Dsl

type Config = {
    Vocab: Axis<Vocab>
    Context: Axis<Context>
    Layers: Axis<Layers>
    Embed: Axis<Embed>
    Heads: Axis<Heads>
    KvHeads: Axis<KvHeads>
    HeadDim: Axis<HeadDim>
    Mlp: Axis<Mlp>
    Rope: Rope
    Activation: Activation
    Epsilon: float
    Tied: bool
    Deviation: float
}

let private matrix c = weightOf (Normal c.Deviation)

let attention c mask = layer "attn" {
    let! wq = matrix c "q" c.Embed (c.Heads ^* c.HeadDim)
    and! wk = matrix c "k" c.Embed (c.KvHeads ^* c.HeadDim)
    and! wv = matrix c "v" c.Embed (c.KvHeads ^* c.HeadDim)
    and! wo = matrix c "o" (c.Heads ^* c.HeadDim) c.Embed
    and! kv = cache "kv" c.Context c.KvHeads c.HeadDim

    return
        fun x ->
            let k, v = kv.Append(rope c.Rope (x *@ wk), x *@ wv)
            attend mask (rope c.Rope (x *@ wq)) k v *@ wo
}

/// A gated feed-forward (Shazeer 2020): SwiGLU where the activation is SiLU.
let mlp c = layer "mlp" {
    let! gate = matrix c "gate" c.Embed c.Mlp
    and! up = matrix c "up" c.Embed c.Mlp
    and! down = matrix c "down" c.Mlp c.Embed
    return fun x -> (activate c.Activation (x *@ gate) * (x *@ up)) *@ down
}

let block c = layer "layers" {
    let! attn = attention c causal
    and! mlp = mlp c
    and! n1 = rmsNormOf c.Epsilon "attn_norm" c.Embed
    and! n2 = rmsNormOf c.Epsilon "mlp_norm" c.Embed
    return fun x -> let h = x + attn (n1 x) in h + mlp (n2 h)
}

let private head c (tokens: Embedding<Vocab, Embed>) =
    if c.Tied then
        Layer.value tokens.Unembed
    else
        layer "head" {
            let! w = matrix c "weight" c.Embed c.Vocab
            return fun x -> x *@ w
        }

let decoder c = layer "model" {
    let! tokens = embeddingOf (Normal c.Deviation) "tokens" c.Vocab c.Embed
    and! blocks = stack c.Layers (block c)
    and! norm = rmsNormOf c.Epsilon "norm" c.Embed
    let! head = head c tokens
    return fun ids -> tokens.Lookup ids |> blocks |> norm |> head
}

let names c : WeightNames = {
    Names = [
        named "model.tokens" "model.embed_tokens.weight"
        named "model.layers.attn_norm.gain" "model.layers.{0}.input_layernorm.weight"
        named "model.layers.attn.q" "model.layers.{0}.self_attn.q_proj.weight"
        named "model.layers.attn.k" "model.layers.{0}.self_attn.k_proj.weight"
        named "model.layers.attn.v" "model.layers.{0}.self_attn.v_proj.weight"
        named "model.layers.attn.o" "model.layers.{0}.self_attn.o_proj.weight"
        named "model.layers.mlp_norm.gain" "model.layers.{0}.post_attention_layernorm.weight"
        named "model.layers.mlp.gate" "model.layers.{0}.mlp.gate_proj.weight"
        named "model.layers.mlp.up" "model.layers.{0}.mlp.up_proj.weight"
        named "model.layers.mlp.down" "model.layers.{0}.mlp.down_proj.weight"
        named "model.norm.gain" "model.norm.weight"
        if not c.Tied then
            named "model.head.weight" "lm_head.weight"
    ]
    Prefixes = [ "" ]
    Ignored = [
        "model.layers.{0}.self_attn.rotary_emb.inv_freq"
        if c.Tied then
            "lm_head.weight"
    ]
}

let ofConfig json =
    Config.demand "attention_bias" false json
    Config.demand "mlp_bias" false json
    let context = Config.axis<Context> [ "max_position_embeddings" ] json
    let embed = Config.axis<Embed> [ "hidden_size"; "n_embd" ] json
    let heads = Config.axis<Heads> [ "num_attention_heads"; "n_head" ] json

    let c = {
        Vocab = Config.axis [ "vocab_size" ] json
        Context = context
        Layers = Config.axis [ "num_hidden_layers"; "n_layer" ] json
        Embed = embed
        Heads = heads
        KvHeads = axis (Config.intOr heads.Size [ "num_key_value_heads" ] json)
        HeadDim = axis (Config.headDim embed heads json)
        Mlp = Config.axis [ "intermediate_size" ] json
        Rope = Config.rope context json
        Activation = Config.activation "silu" [ "hidden_act" ] json
        Epsilon = Config.floatOr 1e-6 [ "rms_norm_eps" ] json
        Tied = Config.boolOr false [ "tie_word_embeddings" ] json
        Deviation = Config.floatOr 0.02 [ "initializer_range" ] json
    }

    Family.model "llama" json c.Vocab c.Context (decoder c) (names c)
