/// Decoders with LLaMA's names, each against its forward pass in plain loops.
module Legato.Tests.FamilyTests

open NUnit.Framework
open Legato.Tests.FamilyReference
open Legato.Tests.FamilyAgreement

let private llamaLike modelType rest =
    $"""{{ "model_type": "{modelType}", "vocab_size": {vocab}, "max_position_embeddings": 32, "hidden_size": {embed},
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": {mlp} {rest} }}"""

let private embedded = rows "model.embed_tokens.weight" embed tokens
let private scores name x = linear name vocab x
let private tied x = product "model.embed_tokens.weight" 0 vocab x
let private layer i name = $"model.layers.{i}.{name}"

let private gated f i x =
    times (linear (layer i "mlp.gate_proj") mlp x |> apply f) (linear (layer i "mlp.up_proj") mlp x)
    |> linear (layer i "mlp.down_proj") embed

let private projections i x =
    linear (layer i "self_attn.q_proj") 16 x,
    linear (layer i "self_attn.k_proj") 8 x,
    linear (layer i "self_attn.v_proj") 8 x

let private output i x = linear (layer i "self_attn.o_proj") embed x

// Attention as LLaMA has it, with its own rotary positions.
let private rotary interleaved theta turned i x =
    let q, k, v = projections i x
    let turn = turnHeads interleaved theta turned 4
    attend 4 causal (turn q) (turn k) v |> output i

let private activations = [
    "silu", silu
    "gelu", gelu
    "gelu_new", geluTanh
    "relu", relu
    "relu2", (fun x -> relu x * relu x)
]

let private activationNames = List.map fst activations

[<TestCaseSource(nameof activationNames)>]
let ``LLaMA with each activation`` (name: string) =
    let _, f = activations |> List.find (fst >> (=) name)

    let block i x =
        let h = plus x (rotary false 10000.0 4 i (rms 1e-6 (layer i "input_layernorm") x))
        plus h (gated f i (rms 1e-6 (layer i "post_attention_layernorm") h))

    embedded
    |> layers 3 block
    |> rms 1e-6 "model.norm"
    |> scores "lm_head"
    |> agree (llamaLike "llama" $", \"hidden_act\": \"{name}\"")

[<Test>]
let ``Gemma`` () =
    let norm name x = rmsOf 1.0 1e-6 name x

    let block i x =
        let h = plus x (rotary false 10000.0 4 i (norm (layer i "input_layernorm") x))
        plus h (gated geluTanh i (norm (layer i "post_attention_layernorm") h))

    embedded
    |> scaled 4.0
    |> layers 3 block
    |> norm "model.norm"
    |> tied
    |> agree (llamaLike "gemma" ", \"head_dim\": 4")

[<Test>]
let ``Gemma 3`` () =
    let norm name x = rmsOf 1.0 1e-6 name x

    let attention i x =
        let q, k, v = projections i x
        let isLocal = (i + 1) % 2 <> 0

        let each name =
            heads 4 (fun position _ h ->
                (norm (layer i $"self_attn.{name}") [| h |])[0]
                |> turn false (if isLocal then 10000.0 else 1e6) 4 position)

        let sees = if isLocal then window 3 else causal
        attendWith 4 0.25 sees unchanged (each "q_norm" q) (each "k_norm" k) v |> output i

    let block i x =
        let h =
            plus x (attention i (norm (layer i "input_layernorm") x) |> norm (layer i "post_attention_layernorm"))

        plus
            h
            (gated geluTanh i (norm (layer i "pre_feedforward_layernorm") h)
             |> norm (layer i "post_feedforward_layernorm"))

    embedded
    |> scaled 4.0
    |> layers 3 block
    |> norm "model.norm"
    |> tied
    |> agree (
        llamaLike
            "gemma3_text"
            ", \"head_dim\": 4, \"query_pre_attn_scalar\": 16, \"sliding_window\": 3, \"sliding_window_pattern\": 2"
    )

[<Test>]
let ``Phi`` () =
    let attention i x =
        let part name = biased (layer i $"self_attn.{name}") 16 x
        let turn = turnHeads false 10000.0 2 4

        attend 4 causal (turn (part "q_proj")) (turn (part "k_proj")) (part "v_proj")
        |> biased (layer i "self_attn.dense") embed

    let block i x =
        let n = layerNorm 1e-5 (layer i "input_layernorm") x
        let mlp = biased (layer i "mlp.fc1") mlp n |> apply geluTanh |> biased (layer i "mlp.fc2") embed
        plus x (plus (attention i n) mlp)

    embedded
    |> layers 3 block
    |> layerNorm 1e-5 "model.final_layernorm"
    |> biased "lm_head" vocab
    |> agree (
        llamaLike "phi" ", \"partial_rotary_factor\": 0.5"
        |> fun c -> c.Replace("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 4")
    )

[<Test>]
let ``OLMo 2`` () =
    let attention i x =
        let q, k, v = projections i x
        let turn name x = rms 1e-5 (layer i $"self_attn.{name}") x |> turnHeads false 10000.0 4 4
        attend 4 causal (turn "q_norm" q) (turn "k_norm" k) v |> output i

    let block i x =
        let h = plus x (attention i x |> rms 1e-5 (layer i "post_attention_layernorm"))
        plus h (gated silu i h |> rms 1e-5 (layer i "post_feedforward_layernorm"))

    embedded
    |> layers 3 block
    |> rms 1e-5 "model.norm"
    |> scores "lm_head"
    |> agree (llamaLike "olmo2" "")

[<Test>]
let ``StarCoder 2`` () =
    let attention i x =
        let part name count = biased (layer i $"self_attn.{name}") count x
        let turn = turnHeads false 10000.0 4 4

        attend 4 (window 3) (turn (part "q_proj" 16)) (turn (part "k_proj" 8)) (part "v_proj" 8)
        |> biased (layer i "self_attn.o_proj") embed

    let block i x =
        let h = plus x (attention i (layerNorm 1e-5 (layer i "input_layernorm") x))
        let n = layerNorm 1e-5 (layer i "post_attention_layernorm") h
        plus h (biased (layer i "mlp.c_fc") mlp n |> apply geluTanh |> biased (layer i "mlp.c_proj") embed)

    embedded
    |> layers 3 block
    |> layerNorm 1e-5 "model.norm"
    |> tied
    |> agree (llamaLike "starcoder2" ", \"sliding_window\": 3")

[<Test>]
let ``Command R`` () =
    let block i x =
        let n = layerNormPlain 1e-5 (layer i "input_layernorm") x
        plus x (plus (rotary true 10000.0 4 i n) (gated silu i n))

    embedded
    |> layers 3 block
    |> layerNormPlain 1e-5 "model.norm"
    |> tied
    |> scaled 0.0625
    |> agree (llamaLike "cohere" "")

[<Test>]
let ``Command R with norms of queries and keys`` () =
    let attention i x =
        let q, k, v = projections i x

        let normed name =
            heads 4 (fun position head h ->
                let mean = Array.average h
                let deviation = sqrt (Array.averageBy (fun y -> (y - mean) ** 2.0) h + 1e-5)

                h
                |> Array.mapi (fun d y -> (y - mean) / deviation * element (layer i $"self_attn.{name}.weight") head d)
                |> turn true 10000.0 4 position)

        attend 4 causal (normed "q_norm" q) (normed "k_norm" k) v |> output i

    let block i x =
        let n = layerNormPlain 1e-5 (layer i "input_layernorm") x
        plus x (plus (attention i n) (gated silu i n))

    embedded
    |> layers 3 block
    |> layerNormPlain 1e-5 "model.norm"
    |> tied
    |> scaled 0.5
    |> agree (llamaLike "cohere" ", \"use_qk_norm\": true, \"logit_scale\": 0.5")

[<Test>]
let ``Granite`` () =
    let attention i x =
        let q, k, v = projections i x
        let turn = turnHeads false 10000.0 4 4
        attendWith 4 0.125 causal unchanged (turn q) (turn k) v |> output i

    let block i x =
        let h = plus x (attention i (rms 1e-6 (layer i "input_layernorm") x) |> scaled 0.25)
        plus h (gated silu i (rms 1e-6 (layer i "post_attention_layernorm") h) |> scaled 0.25)

    embedded
    |> scaled 12.0
    |> layers 3 block
    |> rms 1e-6 "model.norm"
    |> scores "lm_head"
    |> scaled 0.2
    |> agree (
        llamaLike
            "granite"
            ", \"embedding_multiplier\": 12, \"attention_multiplier\": 0.125, \"residual_multiplier\": 0.25, \"logits_scaling\": 5"
    )

[<Test>]
let ``SmolLM 3`` () =
    let attention i x =
        let q, k, v = projections i x
        let turn = if (i + 1) % 2 <> 0 then turnHeads false 2e6 4 4 else id
        attend 4 causal (turn q) (turn k) v |> output i

    let block i x =
        let h = plus x (attention i (rms 1e-6 (layer i "input_layernorm") x))
        plus h (gated silu i (rms 1e-6 (layer i "post_attention_layernorm") h))

    embedded
    |> layers 3 block
    |> rms 1e-6 "model.norm"
    |> tied
    |> agree (llamaLike "smollm3" ", \"no_rope_layer_interval\": 2")

[<Test>]
let ``GLM 4`` () =
    let norm i name x = rms 1.5625e-7 (layer i name) x

    let feedForward i x =
        let tensor = layer i "mlp.gate_up_proj.weight"

        times (product tensor 0 mlp x |> apply silu) (product tensor mlp mlp x)
        |> linear (layer i "mlp.down_proj") embed

    let block i x =
        let h =
            plus x (rotary true 10000.0 2 i (norm i "input_layernorm" x) |> norm i "post_self_attn_layernorm")

        plus h (feedForward i (norm i "post_attention_layernorm" h) |> norm i "post_mlp_layernorm")

    embedded
    |> layers 3 block
    |> rms 1.5625e-7 "model.norm"
    |> scores "lm_head"
    |> agree (llamaLike "glm4" ", \"head_dim\": 4")
