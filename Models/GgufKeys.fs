/// The keys of GGUF's metadata that say a model's sizes, by family: their spellings in configs, what neither has to say, and what
/// GGUF takes for granted.
module internal Legato.Models.GgufKeys

open System.Text.Json
open System.Text.Json.Nodes
open Legato.Dsl

type Kind =
    | WholeNumber
    | RealNumber
    | YesOrNo

/// One key: its spellings in configs, its name in GGUF after the architecture's, and what a config that lacks it means.
type Key = {
    /// None for a number that follows from others.
    Config: string list
    Metadata: string
    Kind: Kind
    Default: JsonObject -> float option
    /// The number that stands for a config without the key.
    Absent: float option
    /// Whether null in a config turns off what GGUF can't turn off.
    NullIsOff: bool
    /// Whether neither needs it.
    IsOptional: bool
}

let key kind config metadata = {
    Config = config
    Metadata = metadata
    Kind = kind
    Default = fun _ -> None
    Absent = None
    NullIsOff = false
    IsOptional = false
}

let whole = key WholeNumber
let real = key RealNumber
let flag = key YesOrNo
let orElse make key = { key with Default = make >> Some }
let orElseNumber (x: float) = orElse (fun _ -> x)
let absent x key = { key with Absent = Some x }
let neverOff key = { key with NullIsOff = true }
let optional key = { key with IsOptional = true }

/// A whole number that no config has by itself.
let following metadata make = whole [] metadata |> orElse make

let asNumber (node: JsonNode) =
    match node.GetValueKind() with
    | JsonValueKind.True -> 1.0
    | JsonValueKind.False -> 0.0
    | _ -> node.GetValue<float>()

let number (keys: string list) (config: JsonObject) =
    keys |> List.tryPick (fun key -> config[key] |> Option.ofObj) |> Option.map asNumber

let required keys config =
    match number keys config with
    | Some value -> value
    | None -> Config.fail $"{List.head keys} is missing" (List.head keys) $"add {List.head keys} to the config"

let width = [ "hidden_size"; "n_embd" ]
let headDim (config: JsonObject) = required width config / required GgufNames.heads config

let headDims make =
    [ "attention.key_length"; "attention.value_length"; "rope.dimension_count" ]
    |> List.map (fun metadata -> whole [ "head_dim" ] metadata |> orElse make)

let epsilon = real [ "rms_norm_eps" ] "attention.layer_norm_rms_epsilon"

let llamaKeys = [
    whole [ "max_position_embeddings" ] "context_length"
    whole width "embedding_length"
    whole [ "num_hidden_layers"; "n_layer" ] "block_count"
    whole [ "intermediate_size" ] "feed_forward_length"
    whole GgufNames.heads "attention.head_count"
    whole GgufNames.keyHeads "attention.head_count_kv"
    yield! headDims headDim
    epsilon |> orElseNumber 1e-6
]

let gpt2Keys = [
    whole [ "n_positions"; "max_position_embeddings"; "n_ctx" ] "context_length"
    whole [ "n_embd"; "hidden_size" ] "embedding_length"
    whole [ "n_layer"; "num_hidden_layers" ] "block_count"
    whole [ "n_inner" ] "feed_forward_length" |> orElse (fun config -> 4.0 * required width config)
    whole [ "n_head"; "num_attention_heads" ] "attention.head_count"
    real [ "layer_norm_epsilon" ] "attention.layer_norm_epsilon" |> orElse (fun _ -> 1e-5)
]

let experts (count: string list) chosen = [
    whole count "expert_count"
    whole [ "num_experts_per_tok" ] "expert_used_count" |> orElseNumber chosen
]

let qwenExperts chosen =
    whole [ "moe_intermediate_size" ] "expert_feed_forward_length"
    :: experts [ "num_experts"; "num_local_experts" ] chosen

let turnedSize (config: JsonObject) = number [ "qk_rope_head_dim" ] config |> Option.defaultValue 64.0
let plainSize (config: JsonObject) = number [ "qk_nope_head_dim" ] config |> Option.defaultValue 128.0
let keyRank (config: JsonObject) = number [ "kv_lora_rank" ] config |> Option.defaultValue 512.0

let headKeys, headValues = "attention.key_length_mla", "attention.value_length_mla"

/// Latent attention as its readers compute it: one head of keys, a latent and the part that positions turn, whose queries are
/// multiplied with each head's matrix.
let latentKeys score scale = [
    following "attention.head_count_kv" (fun _ -> 1.0)
    following "attention.key_length" (fun config -> keyRank config + turnedSize config)
    following "attention.value_length" keyRank
    following headKeys (fun config -> plainSize config + turnedSize config)
    whole [ "v_head_dim" ] headValues |> orElseNumber 128.0
    whole [ "qk_rope_head_dim" ] "rope.dimension_count" |> orElse turnedSize
    whole [ "kv_lora_rank" ] "attention.kv_lora_rank" |> orElse keyRank
    whole [ "q_lora_rank" ] "attention.q_lora_rank" |> optional
    whole [ "moe_intermediate_size" ] "expert_feed_forward_length"
    whole [ "n_shared_experts" ] "expert_shared_count" |> orElseNumber 0.0
    whole [ "first_k_dense_replace" ] "leading_dense_block_count" |> orElseNumber 0.0
    whole [ "n_group" ] "expert_group_count" |> optional
    whole [ "topk_group" ] "expert_group_used_count" |> optional
    real [ "routed_scaling_factor" ] "expert_weights_scale" |> orElseNumber scale
    following "expert_gating_func" (fun _ -> float score)
    yield! experts [ "n_routed_experts"; "num_local_experts" ] 8.0
]

/// What a family has beside LLaMA's keys, or otherwise.
let ownKeys modelType =
    match modelType with
    | "deepseek_v2" ->
        (flag [ "norm_topk_prob" ] "expert_weights_norm" |> orElseNumber 0.0)
        :: latentKeys GgufNames.softmaxes 1.0
    | "deepseek_v3" ->
        (flag [ "norm_topk_prob" ] "expert_weights_norm" |> orElseNumber 1.0)
        :: latentKeys GgufNames.sigmoids 2.5
    | "gemma" -> headDims (fun _ -> 256.0)
    | "gemma2" -> [
        yield! headDims (fun _ -> 256.0)
        real [ "attn_logit_softcapping" ] "attn_logit_softcapping" |> orElseNumber 50.0 |> neverOff
        real [ "final_logit_softcapping" ] "final_logit_softcapping" |> orElseNumber 30.0 |> neverOff
        whole [ "sliding_window" ] "attention.sliding_window" |> orElseNumber 4096.0
      ]
    | "gemma3_text" -> [
        yield! headDims (fun _ -> 256.0)
        real [ "final_logit_softcapping" ] "final_logit_softcapping" |> optional
        whole [ "sliding_window" ] "attention.sliding_window" |> orElseNumber 4096.0
      ]
    | "gpt_oss" -> [
        yield! headDims (fun _ -> 64.0)
        epsilon |> orElseNumber 1e-5
        whole [ "sliding_window" ] "attention.sliding_window" |> orElseNumber 128.0
        whole [ "intermediate_size" ] "expert_feed_forward_length"
        yield! experts [ "num_local_experts"; "num_experts" ] 4.0
      ]
    | "phi3" -> [
        epsilon |> orElseNumber 1e-5
        whole [ "sliding_window" ] "attention.sliding_window" |> absent 0.0
      ]
    | "mixtral" -> [
        epsilon |> orElseNumber 1e-5
        for key in experts [ "num_local_experts" ] 2.0 do
            if key.Metadata = "expert_count" then key |> orElseNumber 8.0 else key
      ]
    | "qwen2_moe" -> whole [ "shared_expert_intermediate_size" ] "expert_shared_feed_forward_length" :: qwenExperts 4.0
    | "qwen3" -> headDims (fun _ -> 128.0)
    | "qwen3_moe" -> headDims (fun _ -> 128.0) @ qwenExperts 8.0
    | _ -> []

let isGpt2 (architecture: GgufArchitecture) = architecture.Name = "gpt2"

let keysOf architecture =
    if isGpt2 architecture then
        gpt2Keys
    else
        ownKeys architecture.ModelType @ llamaKeys |> List.distinctBy _.Metadata

/// What GGUF takes for granted, and what a config that lacks the key means.
type Granted = { Key: string; Value: JsonNode; Missing: JsonNode }

let always key (value: JsonNode) = { Key = key; Value = value; Missing = value }

// The largest Gemma 2 and 3 alone have another scale than their heads' (their readers know them by their layers).
let scoreSize layers (config: JsonObject) =
    if number [ "num_hidden_layers" ] config = Some layers then
        headDim config
    else
        number [ "head_dim" ] config |> Option.defaultValue 256.0

let windowsBut nth (config: JsonObject) =
    // More than any model has are refused where the model is made.
    let layers = required [ "num_hidden_layers" ] config |> min 10_000.0 |> int

    JsonArray [|
        for i in 0 .. layers - 1 ->
            JsonValue.Create(if (i + 1) % nth = 0 then "full_attention" else "sliding_attention") :> JsonNode
    |]

// Made anew each time: a node of JSON has one parent.
let allSparse () = [ always "decoder_sparse_step" (JsonValue.Create 1.0); always "mlp_only_layers" (JsonArray()) ]

let grantedBy (architecture: GgufArchitecture) (config: JsonObject) =
    let text (word: string) : JsonNode = JsonValue.Create word
    let flag (value: bool) : JsonNode = JsonValue.Create value
    let normalised value = { Key = "norm_topk_prob"; Value = flag value; Missing = flag false }
    let silu = always "hidden_act" (text "silu")
    let gelu = always "hidden_activation" (text "gelu_pytorch_tanh")
    let unwindowed = always "use_sliding_window" (flag false)

    let scale layers = {
        Key = "query_pre_attn_scalar"
        Value = JsonValue.Create(scoreSize layers config)
        Missing = JsonValue.Create 256.0
    }

    let latent () = [
        silu
        always "attention_bias" (flag false)
        always "rope_interleave" (flag true)
        always "moe_layer_freq" (JsonValue.Create 1.0)
        always "num_key_value_heads" (JsonValue.Create(required GgufNames.heads config))
    ]

    let groups () =
        let isGrouped = number [ "n_group" ] config |> Option.exists (fun n -> n > 1.0)
        text (if isGrouped then "group_limited_greedy" else "greedy")

    match architecture.ModelType with
    | "deepseek_v2" -> { always "topk_method" (groups ()) with Missing = text "greedy" } :: latent ()
    | "deepseek_v3" -> latent ()
    | "gpt2" -> [ always "activation_function" (text "gelu_new") ]
    | "gemma" -> [ gelu ]
    | "gemma2" -> [ gelu; always "layer_types" (windowsBut 2 config); scale 46.0 ]
    | "gemma3_text" -> [
        gelu
        always "attn_logit_softcapping" null
        always "sliding_window_pattern" (JsonValue.Create 6.0)
        always "layer_types" (windowsBut 6 config)
        always "rope_local_base_freq" (JsonValue.Create 10000.0)
        scale 62.0
      ]
    | "gpt_oss" -> [
        silu
        always "layer_types" (windowsBut 2 config)
        always "attention_bias" (flag true)
        always "swiglu_limit" (JsonValue.Create 7.0)
      ]
    | "mixtral" -> [ silu; always "sliding_window" null ]
    | "qwen2"
    | "qwen3" -> [ silu; unwindowed ]
    | "qwen2_moe" -> silu :: unwindowed :: normalised false :: allSparse ()
    | "qwen3_moe" -> silu :: unwindowed :: normalised true :: allSparse ()
    | _ -> [ silu ]
