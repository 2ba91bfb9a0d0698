/// Decoders with names of their own, each against its forward pass in plain loops.
module Legato.Tests.FamilyDecoderTests

open NUnit.Framework
open Legato.Tests.FamilyReference
open Legato.Tests.FamilyAgreement

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
