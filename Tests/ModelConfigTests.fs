/// Configs: their spellings, what may be set, and what a user reads when one is wrong.
module Legato.Tests.ModelConfigTests

open System.Text.Json.Nodes
open NUnit.Framework
open Legato.Dsl
open Legato.Models

let private tiny = (Presets.find "llama-tiny").Config
let private tinyGpt2 = (Presets.find "gpt2-tiny").Config

let private edited change (config: string) =
    let json = JsonNode.Parse(config).AsObject()
    change json
    json.ToJsonString()

let private without (key: string) = edited (fun json -> json.Remove key |> ignore)

let private withValue (key: string) (value: string) = edited (fun json -> json[key] <- JsonNode.Parse value)

/// What a user reads of the mistake.
let private mistake (action: unit -> 'T) =
    try
        action () |> ignore
        "no error"
    with ModelError(what, where, remedy) ->
        $"{what} | {where} | {remedy}"

let private refused config = mistake (fun () -> Families.ofConfig config)

/// The operations of a graph in their order, those of loops included.
let rec private operations (roots: Node list) = [
    for node in Node.topological roots do
        match node.Op with
        | Op.Input(name, dims, kind) -> $"{name.Split('#')[0]} {dims} {kind}"
        | Op.Scan loop -> yield! operations loop.Results
        | op -> $"%A{op}"
]

let private graph config =
    let sizes = {
        Batch = Fixed 1L
        Sequence = Fixed 4L
        Context = Fixed 8L
        Source = None
        Dropout = 0.0
        IsCached = false
    }

    operations [ (ModelDef.elaborate sizes (Families.ofConfig config)).Logits ]

let private same one other = Assert.That<string list>(graph other, Is.EqualTo<string list>(graph one))

let private different one other = Assert.That<string list>(graph other, Is.Not.EqualTo<string list>(graph one))

let private olderRope = withValue "rope_scaling" """{ "type": "linear", "factor": 2.0 }""" tiny

let private newerRope =
    tiny
    |> without "rope_theta"
    |> withValue "rope_parameters" """{ "rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0 }"""

[<Test>]
let ``rotary positions are the same in the older and the newer spelling`` () =
    same olderRope newerRope
    different tiny olderRope
    same tiny (withValue "rope_scaling" "null" tiny)
    same tiny (withValue "rope_parameters" """{ "rope_type": "default" }""" tiny)
    different tiny (withValue "rope_theta" "500000.0" tiny)

[<Test>]
let ``keys that a config may leave out have the family's defaults`` () =
    same tiny (withValue "head_dim" "16" tiny)
    different tiny (withValue "head_dim" "32" tiny)
    same (withValue "num_key_value_heads" "4" tiny) (without "num_key_value_heads" tiny)
    same (withValue "tie_word_embeddings" "false" tiny) (without "tie_word_embeddings" tiny)
    same tinyGpt2 (without "tie_word_embeddings" tinyGpt2)
    same tinyGpt2 (withValue "n_inner" "256" tinyGpt2)
    different tinyGpt2 (withValue "n_inner" "128" tinyGpt2)

[<Test>]
let ``GPT-2's sizes may be spelled as other families' are`` () =
    tinyGpt2
    |> withValue "hidden_size" "64"
    |> without "n_embd"
    |> withValue "num_hidden_layers" "2"
    |> without "n_layer"
    |> same tinyGpt2

[<Test>]
let ``tokens come one, several or none, and those beyond the vocabulary are no tokens`` () =
    let ends = Families.withTokens (Some 3) [ 5; 6 ] tiny |> Families.ofConfig
    Assert.That((ends.BeginToken, ends.EndTokens), Is.EqualTo((Some 3, [ 5; 6 ])))
    let one = Families.withTokens None [ 7 ] tiny |> Families.ofConfig
    Assert.That((one.BeginToken, one.EndTokens), Is.EqualTo((None, [ 7 ])))
    let beyond = tiny |> withValue "eos_token_id" "50256" |> Families.ofConfig
    Assert.That(beyond.EndTokens, Is.Empty)
    Assert.That((Families.withVocabulary 300 tiny |> Families.ofConfig).Vocabulary, Is.EqualTo 300)

[<Test>]
let ``a key may be set to a value of its type, wherever the config keeps it`` () =
    let deeper = Families.withOverrides [ "num_hidden_layers", "3"; "tie_word_embeddings", "false" ] tiny
    same deeper (tiny |> withValue "num_hidden_layers" "3" |> withValue "tie_word_embeddings" "false")

    same
        (Families.withOverrides [ "rope_theta", "2e4" ] newerRope)
        (Families.withOverrides [ "rope_theta", "20000" ] olderRope)

    same (Families.withOverrides [ "hidden_act", "gelu" ] tiny) (withValue "hidden_act" "\"gelu\"" tiny)

let private settable =
    let known = mistake (fun () -> Families.withOverrides [ "no such key", "1" ] tiny)
    known.Substring(known.IndexOf "all: " + 5).Split(", ")

[<TestCaseSource(nameof settable)>]
let ``a value of another type is refused for every key, by the key's name`` (key: string) =
    let message = refused (withValue key "{}" tiny)

    if key.StartsWith "rope_scaling" || key = "rope_parameters" then
        Assert.That(message, Is.EqualTo "no error", "an object is what the key takes")
    else
        Assert.That(message, Does.Contain $"{key} is {{}}, not ")

let private mistakes = [
    TestCaseData("not JSON {", "the config is no JSON: ")
    TestCaseData(
        "[1, 2]",
        "the config is no JSON object | the model's config | check that this is a model's config.json"
    )
    TestCaseData("""{ "vocab_size": 1, "vocab_size": 2 }""", "the config is no JSON: ")
    TestCaseData("{}", "model_type is missing | the model's config, model_type | set it to one of: gpt2, llama")
    TestCaseData(
        """{ "model_type": "mamba" }""",
        "the family 'mamba' is not known | the model's config, model_type | use one of: gpt2, llama"
    )
    TestCaseData(
        without "hidden_size" tiny,
        "hidden_size is missing | the model's config, hidden_size | add hidden_size to the config"
    )
    TestCaseData(
        withValue "hidden_size" "\"wide\"" tiny,
        "hidden_size is \"wide\", not a whole number | the model's config, hidden_size | give hidden_size a whole number"
    )
    TestCaseData(
        tiny |> withValue "num_attention_heads" "3" |> withValue "num_key_value_heads" "3",
        "3 heads can't share a width of 64 evenly | the model's config, hidden_size | make the width a multiple of the heads, or give head_dim"
    )
    TestCaseData(
        withValue "num_key_value_heads" "3" tiny,
        "4 heads can't share 3 of keys and values evenly | the model's config, num_key_value_heads | give num_key_value_heads a divisor of 4"
    )
    TestCaseData(
        withValue "num_key_value_heads" "0" tiny,
        "4 heads can't share 0 of keys and values evenly | the model's config, num_key_value_heads | give num_key_value_heads a divisor of 4"
    )
    TestCaseData(
        withValue "head_dim" "0" tiny,
        "a head can't have 0 features | the model's config, head_dim | give head_dim a number from 1 to 65536"
    )
    TestCaseData(
        withValue "num_attention_heads" "0" tiny,
        "num_attention_heads is 0 | the model's config, num_attention_heads | give num_attention_heads a number above 0"
    )
    TestCaseData(
        withValue "scale_attn_by_inverse_layer_idx" "true" tinyGpt2,
        "scale_attn_by_inverse_layer_idx = true is not supported | the model's config, scale_attn_by_inverse_layer_idx | only scale_attn_by_inverse_layer_idx = false is"
    )
    TestCaseData(
        withValue "tie_word_embeddings" "false" tinyGpt2,
        "tie_word_embeddings = false is not supported | the model's config, tie_word_embeddings | only tie_word_embeddings = true is"
    )
    TestCaseData(
        withValue "hidden_act" "\"mish\"" tiny,
        "the activation 'mish' is not known | the model's config, hidden_act | use silu, gelu, gelu_new, relu or relu2"
    )
    TestCaseData(
        withValue "rope_scaling" """{ "rope_type": "spiral", "factor": 4.0 }""" tiny,
        "the rope type 'spiral' is not known | the model's config, rope_type | use default, linear, dynamic, llama3, yarn or longrope"
    )
    TestCaseData(
        withValue "rope_scaling" """{ "type": "spiral" }""" tiny,
        "the rope type 'spiral' is not known | the model's config, type | use default"
    )
    TestCaseData(
        withValue "head_dim" "7" tiny,
        "rotary positions can't turn 7 of a head's 7 features | the model's config, head_dim | turn an even number"
    )
    TestCaseData(
        withValue "partial_rotary_factor" "0.1" tiny,
        "rotary positions can't turn 1 of a head's 16 features | the model's config, partial_rotary_factor | turn an even number"
    )
    TestCaseData(
        withValue "hidden_size" "99999999999" tiny,
        "hidden_size is 99999999999, which is too large | the model's config, hidden_size | give hidden_size 2147483647 or less"
    )
    TestCaseData(
        withValue "rope_scaling" """{ "rope_type": "llama3" }""" tiny,
        "factor is missing | the model's config, factor | add factor to the config"
    )
]

[<TestCaseSource(nameof mistakes)>]
let ``a config's mistake is told with its key and the remedy`` (config: string) (expected: string) =
    Assert.That(refused config, Does.StartWith expected)

[<Test>]
let ``a model of a script's is told of with the verbs that work`` () =
    let message = refused """{ "model_type": "shakespeare" }"""
    Assert.That(message, Does.Contain "`dotnet fsi SCRIPT.fsx` trains, generates and plans")

[<Test>]
let ``an unknown key is refused with those that it may have meant`` () =
    let message = mistake (fun () -> Families.withOverrides [ "num_hiden_layers", "3" ] tiny)

    Assert.That(
        message,
        Does.StartWith
            "no key of this model is called 'num_hiden_layers' | the model's config, num_hiden_layers | the nearest: num_hidden_layers, "
    )

[<Test>]
let ``a key that the family does not read is unknown, even where the config has it`` () =
    let message =
        mistake (fun () -> Families.withOverrides [ "attn_pdrop", "0.5" ] (withValue "attn_pdrop" "0.1" tinyGpt2))

    Assert.That(message, Does.StartWith "no key of this model is called 'attn_pdrop'")

// A required key is told as missing; these have defaults, and would be ignored.
[<TestCase("tie_word_embeding", "tie_word_embeddings")>]
[<TestCase("tieWordEmbeddings", "tie_word_embeddings")>]
[<TestCase("num_key_value_head", "num_key_value_heads")>]
[<TestCase("rope_tehta", "rope_theta")>]
[<TestCase("hiden_act", "hidden_act")>]
[<TestCase("rms_normeps", "rms_norm_eps")>]
let ``a key that is all but one which is missing is refused`` (key: string) (meant: string) =
    Assert.That(
        tiny |> without meant |> withValue key "1" |> refused,
        Does.StartWith $"no key of this family is called '{key}', and '{meant}' is missing | the model's config, {key}"
    )

    // Beside the key that it resembles it is one of many that no family reads.
    same tiny (withValue key "1" tiny)

[<Test>]
let ``a misspelt key inside an object is found there`` () =
    let config =
        tiny
        |> withValue "rope_scaling" """{ "type": "yarn", "factor": 2.0, "original_max_position_embedings": 64 }"""

    Assert.That(
        refused config,
        Does.StartWith
            "no key of this family is called 'original_max_position_embedings', and 'original_max_position_embeddings' is missing"
    )

/// Keys as published configs have them, more than any family reads.
let private published = [
    """{ "_name_or_path": "gpt2", "model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 256, "n_ctx": 1024,
    "n_positions": 1024, "activation_function": "gelu_new", "attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1,
    "layer_norm_epsilon": 1e-05, "initializer_range": 0.02, "summary_activation": null, "summary_first_dropout": 0.1,
    "summary_proj_to_labels": true, "summary_type": "cls_index", "summary_use_proj": true, "bos_token_id": 5, "eos_token_id": 5,
    "task_specific_params": { "text-generation": { "do_sample": true, "max_length": 50 } } }"""
    """{ "model_type": "bloom", "apply_residual_connection_post_layernorm": false, "attention_dropout": 0.0,
    "attention_softmax_in_fp32": true, "bias_dropout_fusion": true, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3,
    "unk_token_id": 0, "hidden_dropout": 0.0, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05,
    "masked_softmax_fusion": true, "n_embed": 64, "n_inner": null, "n_layer": 2, "num_attention_heads": 4, "offset_alibi": 100,
    "pretraining_tp": 1, "seq_length": 2048, "skip_bias_add": true, "skip_bias_add_qkv": false, "use_cache": false,
    "vocab_size": 256 }"""
    """{ "model_type": "bert", "attention_probs_dropout_prob": 0.1, "classifier_dropout": null, "gradient_checkpointing": false,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 64, "initializer_range": 0.02, "intermediate_size": 128,
    "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "num_attention_heads": 4, "num_hidden_layers": 2,
    "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "mask_token_id": 3, "position_embedding_type": "absolute",
    "type_vocab_size": 2, "use_cache": true, "vocab_size": 256 }"""
    """{ "model_type": "falcon", "alibi": false, "apply_residual_connection_post_layernorm": false, "attention_dropout": 0.0,
    "auto_map": {}, "bias": false, "bos_token_id": 11, "eos_token_id": 11, "hidden_dropout": 0.0, "hidden_size": 64,
    "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "multi_query": true, "new_decoder_architecture": false,
    "num_attention_heads": 4, "num_hidden_layers": 2, "num_kv_heads": 1, "parallel_attn": true, "torch_dtype": "bfloat16",
    "vocab_size": 256 }"""
    """{ "model_type": "deepseek_v3", "attention_bias": false, "attention_dropout": 0.0, "auto_map": {}, "aux_loss_alpha": 0.001,
    "bos_token_id": 0, "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": 64,
    "initializer_range": 0.02, "intermediate_size": 128, "kv_lora_rank": 16, "max_position_embeddings": 163840,
    "moe_intermediate_size": 32, "moe_layer_freq": 1, "n_group": 2, "n_routed_experts": 4, "n_shared_experts": 1,
    "norm_topk_prob": true, "num_attention_heads": 4, "num_experts_per_tok": 2, "num_hidden_layers": 2,
    "num_key_value_heads": 4, "num_nextn_predict_layers": 1, "pretraining_tp": 1, "q_lora_rank": 32, "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8, "rms_norm_eps": 1e-06, "rope_scaling": { "beta_fast": 32, "beta_slow": 1, "factor": 40,
    "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096, "type": "yarn" }, "rope_theta": 10000,
    "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "seq_aux": true, "tie_word_embeddings": false, "topk_group": 1,
    "topk_method": "noaux_tc", "use_cache": true, "v_head_dim": 16, "vocab_size": 256 }"""
    """{ "model_type": "gemma3_text", "attention_bias": false, "attention_dropout": 0.0, "attn_logit_softcapping": null,
    "cache_implementation": "hybrid", "final_logit_softcapping": null, "head_dim": 16, "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 64, "initializer_range": 0.02, "intermediate_size": 128, "max_position_embeddings": 32768,
    "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 1, "query_pre_attn_scalar": 16,
    "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": 512,
    "_sliding_window_pattern": 6, "use_cache": true, "vocab_size": 256 }"""
    """{ "model_type": "bart", "_num_labels": 3, "activation_dropout": 0.1, "activation_function": "gelu", "add_bias_logits": false,
    "add_final_layer_norm": false, "attention_dropout": 0.1, "bos_token_id": 0, "classif_dropout": 0.1,
    "classifier_dropout": 0.0, "d_model": 64, "decoder_attention_heads": 4, "decoder_ffn_dim": 128, "decoder_layerdrop": 0.0,
    "decoder_layers": 2, "decoder_start_token_id": 2, "dropout": 0.1, "encoder_attention_heads": 4, "encoder_ffn_dim": 128,
    "encoder_layerdrop": 0.0, "encoder_layers": 2, "eos_token_id": 2, "forced_eos_token_id": 2, "init_std": 0.02,
    "is_encoder_decoder": true, "max_position_embeddings": 1024, "normalize_before": false, "normalize_embedding": true,
    "num_hidden_layers": 2, "pad_token_id": 1, "scale_embedding": false, "static_position_embeddings": false, "vocab_size": 256 }"""
]

[<TestCaseSource(nameof published)>]
let ``published configs have keys that no family reads`` (config: string) =
    Assert.That(refused config, Is.EqualTo "no error")

[<Test>]
let ``an unknown preset is refused with those that it may have meant`` () =
    let message = mistake (fun () -> Presets.find "gpt2-124M")
    Assert.That(message, Does.StartWith "no preset is called 'gpt2-124M' | gpt2-124M | the nearest: gpt2-124m, ")
    Assert.That(message, Does.EndWith "; `legato models` lists all")

[<TestCase("mistral-7b", "the nearest: mixtral-8x7b; `legato")>]
[<TestCase("gpt-2-small", "the nearest: gpt2-124m, gpt2-350m, gpt2-774m; `legato")>]
[<TestCase("bert", "the nearest: bert-")>]
[<TestCase("qwen", "qwen | `legato")>]
[<TestCase("", " | `legato")>]
let ``only presets that are like an unknown one are told`` (name: string) (part: string) =
    Assert.That(mistake (fun () -> Presets.find name), Does.Contain part)
