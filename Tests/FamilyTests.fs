/// Each family without a reference checkpoint, against its forward pass in plain loops.
module Legato.Tests.FamilyTests

open NUnit.Framework
open Legato.Compiler
open Legato.Dsl
open Legato.Models
open Legato.Tests.FamilyReference

let private tokens = [| 3; 1; 4; 1; 5; 9; 2; 6 |]
let private embed, mlp, vocab = 16, 24, 11

/// The logits of a family's page in float64, its weights those of the reference.
let private computed (config: string) =
    let model = Families.ofConfig config
    let length = Fixed(int64 tokens.Length)
    let call = ModelDef.elaborate { Batch = Fixed 1L; Sequence = length; Context = length } model
    let lines = model.Weights.Names |> List.map (fun line -> line.Path, line) |> Map.ofList
    let parameters = call.Parameters |> List.map (fun p -> p.Parameter.Path, p) |> Map.ofList
    let prefix = model.Weights.Prefixes.Head

    let bindings (node: Node) =
        match node.Op with
        | Op.Param(p, _) ->
            ModelLogitsTests.elements
                (fun tensor row column -> element (prefix + tensor) row column)
                lines[p.Path]
                parameters[p.Path]
        | Op.Input("tokens", _, _) -> Array.map float tokens
        | _ -> Array.zeroCreate (node.Dims |> List.map ModelLogitsTests.size |> List.fold (*) 1)

    Evaluate.run bindings (fun name -> failwith name) [ call.Logits ]
    |> List.exactlyOne
    |> Array.chunkBySize vocab

let private agree config (reference: Values) =
    let differences = Array.map2 (Array.map2 (fun a b -> abs (a - b))) (computed config) reference
    Assert.That(differences |> Array.map Array.max |> Array.max, Is.LessThan 1e-9)
    // Logits that are all alike would agree with much.
    Assert.That(Array.max reference[0] - Array.min reference[0], Is.GreaterThan 1e-3)

let private llamaLike modelType rest =
    $"""{{ "model_type": "{modelType}", "vocab_size": {vocab}, "max_position_embeddings": 32, "hidden_size": {embed},
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": {mlp} {rest} }}"""

let private embedded = rows "model.embed_tokens.weight" embed tokens
let private head name x = linear name vocab x
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
    |> head "lm_head"
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
    |> head "lm_head"
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
    |> head "lm_head"
    |> agree (llamaLike "glm4" ", \"head_dim\": 4")

[<Test>]
let ``GPT-J`` () =
    let layer i name = $"transformer.h.{i}.{name}"

    let attention i x =
        let part name = linear (layer i $"attn.{name}") 16 x
        let turn = turnHeads true 10000.0 2 4

        attend 4 causal (turn (part "q_proj")) (turn (part "k_proj")) (part "v_proj")
        |> linear (layer i "attn.out_proj") embed

    let block i x =
        let n = layerNorm 1e-5 (layer i "ln_1") x

        plus
            x
            (plus
                (attention i n)
                (biased (layer i "mlp.fc_in") 64 n |> apply geluTanh |> biased (layer i "mlp.fc_out") embed))

    rows "transformer.wte.weight" embed tokens
    |> layers 2 block
    |> layerNorm 1e-5 "transformer.ln_f"
    |> biased "lm_head" vocab
    |> agree
        $"""{{ "model_type": "gptj", "vocab_size": {vocab}, "n_positions": 32, "n_embd": {embed}, "n_layer": 2, "n_head": 4, "rotary_dim": 2 }}"""

// 2^(−8 (h + 1) / 4) of four heads; of six, the first four of those and every other slope of eight.
let private slopes = [| 0.25; 0.0625; 0.015625; 0.00390625; 0.5; 0.125 |]

let private mptConfig heads embed =
    $"""{{ "model_type": "mpt", "vocab_size": {vocab}, "max_seq_len": 32, "d_model": {embed}, "n_layers": 2, "n_heads": {heads}, "expansion_ratio": 2, "attn_config": {{ "alibi": true }} }}"""

[<TestCase 4; TestCase 6>]
let ``MPT`` (count: int) =
    let embed = 4 * count
    let layer i name = $"transformer.blocks.{i}.{name}"
    let fall head i j score = score - slopes[head] * float (i - j)

    let attention i x =
        let part n = product (layer i "attn.Wqkv.weight") (n * embed) embed x
        attendWith 4 0.5 causal fall (part 0) (part 1) (part 2) |> linear (layer i "attn.out_proj") embed

    let block i x =
        let h = plus x (attention i (layerNormPlain 1e-5 (layer i "norm_1") x))

        plus
            h
            (linear (layer i "ffn.up_proj") (2 * embed) (layerNormPlain 1e-5 (layer i "norm_2") h)
             |> apply gelu
             |> linear (layer i "ffn.down_proj") embed)

    rows "transformer.wte.weight" embed tokens
    |> layers 2 block
    |> layerNormPlain 1e-5 "transformer.norm_f"
    |> product "transformer.wte.weight" 0 vocab
    |> agree (mptConfig count embed)

let private falconLayer i name = $"transformer.h.{i}.{name}"
let private falconEmbedded = rows "transformer.word_embeddings.weight" embed tokens
let private falconHead x = layerNorm 1e-5 "transformer.ln_f" x |> product "transformer.word_embeddings.weight" 0 vocab

let private falconMlp i x =
    linear (falconLayer i "mlp.dense_h_to_4h") 64 x
    |> apply gelu
    |> linear (falconLayer i "mlp.dense_4h_to_h") embed

let private falconConfig rest =
    $"""{{ "model_type": "falcon", "vocab_size": {vocab}, "hidden_size": {embed}, "num_hidden_layers": 2, "num_attention_heads": 4 {rest} }}"""

// Rows of the fused tensor: for each head, from where on.
let private fused i (starts: int list) (x: Values) : Values =
    starts
    |> List.map (fun first -> product (falconLayer i "self_attention.query_key_value.weight") first 4 x)
    |> List.reduce (Array.map2 Array.append)

[<Test>]
let ``Falcon with one key head`` () =
    let turn = turnHeads false 10000.0 4 4

    let block i x =
        let n = layerNorm 1e-5 (falconLayer i "input_layernorm") x

        let attention =
            attend 4 causal (turn (fused i [ 0; 4; 8; 12 ] n)) (turn (fused i [ 16 ] n)) (fused i [ 20 ] n)

        plus x (plus (linear (falconLayer i "self_attention.dense") embed attention) (falconMlp i n))

    falconEmbedded |> layers 2 block |> falconHead |> agree (falconConfig "")

[<Test>]
let ``Falcon with groups and a norm for each part`` () =
    let turn = turnHeads false 10000.0 4 4

    let block i x =
        let n = layerNorm 1e-5 (falconLayer i "ln_attn") x
        let q, k, v = fused i [ 0; 4; 16; 20 ] n, fused i [ 8; 24 ] n, fused i [ 12; 28 ] n

        let attention =
            attend 4 causal (turn q) (turn k) v |> linear (falconLayer i "self_attention.dense") embed

        plus x (plus attention (falconMlp i (layerNorm 1e-5 (falconLayer i "ln_mlp") x)))

    falconEmbedded
    |> layers 2 block
    |> falconHead
    |> agree (falconConfig ", \"new_decoder_architecture\": true, \"num_kv_heads\": 2")

[<Test>]
let ``Falcon with ALiBi`` () =
    let fall head i j score = score - slopes[head] * float (i - j) * 0.5

    let block i x =
        let n = layerNorm 1e-5 (falconLayer i "input_layernorm") x
        let q, k, v = fused i [ 0; 12; 24; 36 ] n, fused i [ 4; 16; 28; 40 ] n, fused i [ 8; 20; 32; 44 ] n

        let h =
            plus x (attendWith 4 0.5 causal fall q k v |> linear (falconLayer i "self_attention.dense") embed)

        plus h (falconMlp i (layerNorm 1e-5 (falconLayer i "post_attention_layernorm") h))

    falconEmbedded
    |> layers 2 block
    |> falconHead
    |> agree (falconConfig ", \"alibi\": true, \"multi_query\": false, \"parallel_attn\": false")
