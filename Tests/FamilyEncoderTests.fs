/// Encoders, alone and before a decoder, each against its forward pass in plain loops.
module Legato.Tests.FamilyEncoderTests

open NUnit.Framework
open Legato.Tests.FamilyReference
open Legato.Tests.FamilyAgreement

let private encoderConfig modelType rest =
    $"""{{ "model_type": "{modelType}", "vocab_size": {vocab}, "max_position_embeddings": 32, "hidden_size": {embed},
    "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": {mlp} {rest} }}"""

// The features of each position, as BERT's encoder gives them.
let private encoded prefix segments firstPosition =
    let norm name x = layerNorm 1e-12 $"{prefix}.{name}" x
    let table name = $"{prefix}.embeddings.{name}.weight"

    let block i x =
        let part name = $"{prefix}.encoder.layer.{i}.{name}"
        let project name = biased (part $"attention.self.{name}") embed x
        let attended = attend 4 everything (project "query") (project "key") (project "value")

        let h =
            plus x (biased (part "attention.output.dense") embed attended)
            |> norm $"encoder.layer.{i}.attention.output.LayerNorm"

        let inner = biased (part "intermediate.dense") mlp h |> apply gelu
        plus h (biased (part "output.dense") embed inner) |> norm $"encoder.layer.{i}.output.LayerNorm"

    let zeros = Array.zeroCreate tokens.Length

    rows (table "word_embeddings") embed tokens
    |> plus (rows (table "position_embeddings") embed (Array.init tokens.Length ((+) firstPosition)))
    |> plus (rows (table "token_type_embeddings") embed zeros)
    |> norm "embeddings.LayerNorm"
    |> layers 2 block

[<Test>]
let ``RoBERTa`` () =
    encoded "roberta" 1 8
    |> biased "lm_head.dense" embed
    |> apply gelu
    |> layerNorm 1e-12 "lm_head.layer_norm"
    |> product "roberta.embeddings.word_embeddings.weight" 0 vocab
    |> Array.map (Array.mapi (fun o y -> y + element "lm_head.bias" o 0))
    |> agree (encoderConfig "roberta" ", \"type_vocab_size\": 1, \"pad_token_id\": 7")

let private head name =
    $", \"architectures\": [ \"{name}\" ], \"id2label\": {{ \"0\": \"a\", \"1\": \"b\", \"2\": \"c\" }}"

[<Test>]
let ``BERT scores a text's classes`` () =
    encoded "bert" 2 0
    |> Array.truncate 1
    |> biased "bert.pooler.dense" embed
    |> apply System.Math.Tanh
    |> biased "classifier" 3
    |> agree (encoderConfig "bert" (head "BertForSequenceClassification"))

[<Test>]
let ``BERT scores its tokens' classes`` () =
    encoded "bert" 2 0
    |> biased "classifier" 3
    |> agree (encoderConfig "bert" (head "BertForTokenClassification"))

[<Test>]
let ``RoBERTa scores a text's classes`` () =
    encoded "roberta" 1 8
    |> Array.truncate 1
    |> biased "classifier.dense" embed
    |> apply System.Math.Tanh
    |> biased "classifier.out_proj" 3
    |> agree (
        encoderConfig
            "roberta"
            (", \"type_vocab_size\": 1, \"pad_token_id\": 7" + head "RobertaForSequenceClassification")
    )

[<TestCase "bert">]
[<TestCase "roberta">]
let ``texts of several lengths share a batch, each as if alone`` (family: string) =
    let config padding = encoderConfig family $", \"pad_token_id\": {padding}"
    let short, filled = Array.truncate 5 tokens, Array.append (Array.truncate 5 tokens) [| 0; 0; 0 |]
    let together = logitsOf (config "0") [ filled; tokens ]

    let differs (one: Values) (other: Values) =
        Array.map2 (Array.map2 (fun a b -> abs (a - b))) one other |> Array.map Array.max |> Array.max

    Assert.That(differs (Array.truncate 5 together) (logitsOf (config "0") [ short ]), Is.LessThan 1e-12)
    Assert.That(differs (Array.skip 8 together) (logitsOf (config "0") [ tokens ]), Is.LessThan 1e-12)
    // Without a token that fills up, all are part of the text.
    let seen = logitsOf (config "10") [ filled ]
    Assert.That(differs (Array.truncate 5 together) (Array.truncate 5 seen), Is.GreaterThan 1e-3)

let private bartConfig modelType rest =
    $"""{{ "model_type": "{modelType}", "vocab_size": {vocab}, "max_position_embeddings": 32, "d_model": {embed},
    "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": {mlp}, "decoder_ffn_dim": {mlp} {rest} }}"""

// A transformer of BART's names: what positions add to a side's embeddings, and its activation.
let private translated (place: string -> Values -> Values) activation =
    let norm name x = layerNorm 1e-5 $"model.{name}" x
    let linear name count x = biased $"model.{name}" count x

    let attention name sees x (other: Values) =
        attend
            4
            sees
            (linear $"{name}.q_proj" embed x)
            (linear $"{name}.k_proj" embed other)
            (linear $"{name}.v_proj" embed other)
        |> linear $"{name}.out_proj" embed

    let feedForward layer x =
        plus x (linear $"{layer}.fc1" mlp x |> apply activation |> linear $"{layer}.fc2" embed)
        |> norm $"{layer}.final_layer_norm"

    let self layer sees x = plus x (attention $"{layer}.self_attn" sees x x) |> norm $"{layer}.self_attn_layer_norm"

    let memory =
        rows "model.shared.weight" embed sourceTokens
        |> place "encoder"
        |> layers 2 (fun i x -> let layer = $"encoder.layers.{i}" in self layer everything x |> feedForward layer)

    let decode i x =
        let layer = $"decoder.layers.{i}"
        let h = self layer causal x

        plus h (attention $"{layer}.encoder_attn" everything h memory)
        |> norm $"{layer}.encoder_attn_layer_norm"
        |> feedForward layer

    rows "model.shared.weight" embed tokens
    |> place "decoder"
    |> layers 3 decode
    |> product "model.shared.weight" 0 vocab

[<Test>]
let ``BART`` () =
    let place side (x: Values) =
        let positions = rows $"model.{side}.embed_positions.weight" embed (Array.init x.Length ((+) 2))
        plus x positions |> layerNorm 1e-5 $"model.{side}.layernorm_embedding"

    translated place gelu |> agree (bartConfig "bart" "")

[<Test>]
let ``the transformer of 2017`` () =
    let place _ (x: Values) =
        let wave position i =
            let angle = float position / 10000.0 ** (float (2 * (i / 2)) / float embed)
            if i % 2 = 0 then sin angle else cos angle

        x |> Array.mapi (fun position row -> row |> Array.mapi (fun i v -> v * 4.0 + wave position i))

    translated place relu |> agree (bartConfig "transformer" "")
