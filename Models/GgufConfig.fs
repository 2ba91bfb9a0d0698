/// A model's sizes between config.json and the metadata of a GGUF file (the specification of GGUF, "Standardized
/// key-value pairs").
[<RequireQualifiedAccess>]
module Legato.Models.GgufConfig

open System
open System.Globalization
open System.Text.Json
open System.Text.Json.Nodes
open Legato.Dsl

type private Kind =
    | WholeNumber
    | RealNumber
    | YesOrNo

/// One key: its spellings in configs, its name in GGUF after the architecture's, and what a config that lacks it means.
type private Key = {
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

let private key kind config metadata = {
    Config = config
    Metadata = metadata
    Kind = kind
    Default = fun _ -> None
    Absent = None
    NullIsOff = false
    IsOptional = false
}

let private whole = key WholeNumber
let private real = key RealNumber
let private flag = key YesOrNo
let private orElse make key = { key with Default = make >> Some }
let private orElseNumber (x: float) = orElse (fun _ -> x)
let private absent x key = { key with Absent = Some x }
let private neverOff key = { key with NullIsOff = true }
let private optional key = { key with IsOptional = true }

/// A whole number that no config has by itself.
let private following metadata make = whole [] metadata |> orElse make

let private asNumber (node: JsonNode) =
    match node.GetValueKind() with
    | JsonValueKind.True -> 1.0
    | JsonValueKind.False -> 0.0
    | _ -> node.GetValue<float>()

let private number (keys: string list) (config: JsonObject) =
    keys |> List.tryPick (fun key -> config[key] |> Option.ofObj) |> Option.map asNumber

let private required keys config =
    match number keys config with
    | Some value -> value
    | None -> raise (ModelError($"{List.head keys} is missing", List.head keys, $"add {List.head keys} to the config"))

let private width = [ "hidden_size"; "n_embd" ]
let private headDim (config: JsonObject) = required width config / required GgufNames.heads config

let private headDims make =
    [ "attention.key_length"; "attention.value_length"; "rope.dimension_count" ]
    |> List.map (fun metadata -> whole [ "head_dim" ] metadata |> orElse make)

let private epsilon = real [ "rms_norm_eps" ] "attention.layer_norm_rms_epsilon"

let private llamaKeys = [
    whole [ "max_position_embeddings" ] "context_length"
    whole width "embedding_length"
    whole [ "num_hidden_layers"; "n_layer" ] "block_count"
    whole [ "intermediate_size" ] "feed_forward_length"
    whole GgufNames.heads "attention.head_count"
    whole GgufNames.keyHeads "attention.head_count_kv"
    yield! headDims headDim
    epsilon |> orElseNumber 1e-6
]

let private gpt2Keys = [
    whole [ "n_positions"; "max_position_embeddings"; "n_ctx" ] "context_length"
    whole [ "n_embd"; "hidden_size" ] "embedding_length"
    whole [ "n_layer"; "num_hidden_layers" ] "block_count"
    whole [ "n_inner" ] "feed_forward_length" |> orElse (fun config -> 4.0 * required width config)
    whole [ "n_head"; "num_attention_heads" ] "attention.head_count"
    real [ "layer_norm_epsilon" ] "attention.layer_norm_epsilon" |> orElse (fun _ -> 1e-5)
]

let private experts (count: string list) chosen = [
    whole count "expert_count"
    whole [ "num_experts_per_tok" ] "expert_used_count" |> orElseNumber chosen
]

let private qwenExperts chosen =
    whole [ "moe_intermediate_size" ] "expert_feed_forward_length"
    :: experts [ "num_experts"; "num_local_experts" ] chosen

let private turnedSize (config: JsonObject) = number [ "qk_rope_head_dim" ] config |> Option.defaultValue 64.0
let private plainSize (config: JsonObject) = number [ "qk_nope_head_dim" ] config |> Option.defaultValue 128.0
let private keyRank (config: JsonObject) = number [ "kv_lora_rank" ] config |> Option.defaultValue 512.0

let private headKeys, private headValues = "attention.key_length_mla", "attention.value_length_mla"

/// Latent attention as its readers compute it: one head of keys, a latent and the part that positions turn, whose queries are
/// multiplied with each head's matrix.
let private latentKeys score scale = [
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
let private ownKeys modelType =
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

let private isGpt2 (architecture: GgufArchitecture) = architecture.Name = "gpt2"

let private keysOf architecture =
    if isGpt2 architecture then
        gpt2Keys
    else
        ownKeys architecture.ModelType @ llamaKeys |> List.distinctBy _.Metadata

/// What GGUF takes for granted, and what a config that lacks the key means.
type private Granted = { Key: string; Value: JsonNode; Missing: JsonNode }

let private always key (value: JsonNode) = { Key = key; Value = value; Missing = value }

// The largest Gemma 2 and 3 alone have another scale than their heads' (their readers know them by their layers).
let private scoreSize layers (config: JsonObject) =
    if number [ "num_hidden_layers" ] config = Some layers then
        headDim config
    else
        number [ "head_dim" ] config |> Option.defaultValue 256.0

let private windowsBut nth (config: JsonObject) =
    // More than any model has are refused where the model is made.
    let layers = required [ "num_hidden_layers" ] config |> min 10_000.0 |> int

    JsonArray [|
        for i in 0 .. layers - 1 ->
            JsonValue.Create(if (i + 1) % nth = 0 then "full_attention" else "sliding_attention") :> JsonNode
    |]

// Made anew each time: a node of JSON has one parent.
let private allSparse () = [
    always "decoder_sparse_step" (JsonValue.Create 1.0)
    always "mlp_only_layers" (JsonArray())
]

let private grantedBy (architecture: GgufArchitecture) (config: JsonObject) =
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

let private isSame (a: JsonNode) (b: JsonNode) =
    let isNumber (x: JsonNode) = not (isNull x) && x.GetValueKind() = JsonValueKind.Number

    if isNumber a && isNumber b then
        a.GetValue<float>() = b.GetValue<float>()
    else
        JsonNode.DeepEquals(a, b)

let private shown (node: JsonNode) = if isNull node then "null" else node.ToJsonString()

let private architectureName = "general.architecture"

/// What a file holds beside its metadata.
type Facts = {
    /// Rows of the embedding.
    Vocabulary: int
    /// Whether the output head is a tensor of its own.
    HasHead: bool
    /// Those of GgufRope.tensors that there are.
    RopeDivisors: (string * float32 list) list
}

let private fail what where = raise (ModelError(what, where, "convert the model to GGUF anew"))

/// The architecture of a file.
/// <param name="value">A value of the file's metadata by its key.</param>
/// <exception cref="ModelError">It is missing or not known.</exception>
let architecture (value: string -> GgufValue option) =
    match value architectureName with
    | Some(Word name) -> GgufNames.ofName name (fun key -> value $"{name}.{key}")
    | _ -> fail $"the file doesn't say what it is" architectureName

let private literal (text: string) = JsonNode.Parse text

// A float32's own digits, not those of its neighbour in float64.
let private digits (x: float) =
    if float (float32 x) = x then
        (float32 x).ToString("R", CultureInfo.InvariantCulture)
    else
        x.ToString("R", CultureInfo.InvariantCulture)

let private read (architecture: GgufArchitecture) value (key: Key) : JsonNode option =
    let name = $"{architecture.Name}.{key.Metadata}"

    match value name with
    | Some(Whole n) when key.Kind = WholeNumber && Some(float n) = key.Absent -> None
    | Some(Whole n) when key.Kind = WholeNumber -> Some(literal (string n))
    | Some(Real x) when key.Kind = RealNumber && Double.IsFinite x -> Some(literal (digits x))
    | Some(Flag yes) when key.Kind = YesOrNo -> Some(JsonValue.Create yes)
    | None -> None
    | Some other -> fail $"{name} is %A{other}, not a number of its kind" name

let private isLatent (architecture: GgufArchitecture) = architecture.Name = "deepseek2"

/// The sizes of a head that latent attention expands; files of before they had keys of their own have them where others do.
let private readHeads (architecture: GgufArchitecture) value (config: JsonObject) =
    let size keys =
        keys
        |> List.tryPick (fun key -> read architecture value (whole [] key))
        |> Option.defaultWith (fun () ->
            fail $"the file doesn't say {List.last keys}" $"{architecture.Name}.{List.last keys}")

    let keys = asNumber (size [ headKeys; "attention.key_length" ])
    config["qk_nope_head_dim"] <- JsonValue.Create(int (keys - required [ "qk_rope_head_dim" ] config))
    config["v_head_dim"] <- size [ headValues; "attention.value_length" ]

/// What readers of latent attention take a key for that isn't there.
let private unsaid: (string * JsonNode) list = [
    "norm_topk_prob", JsonValue.Create false
    "routed_scaling_factor", literal "1.0"
    "n_group", literal "1"
    "topk_group", literal "1"
]

let private readLatent architecture value (config: JsonObject) =
    readHeads architecture value config

    for key, node in unsaid do
        if not (config.ContainsKey key) then
            config[key] <- node.DeepClone()

let private tokens = [ "bos_token_id"; "eos_token_id" ]

let private turnedFeatures architecture config =
    if isLatent architecture then
        turnedSize config
    else
        number [ "head_dim" ] config |> Option.defaultWith (fun () -> headDim config)

/// The text of the config.json that says the same.
/// <exception cref="ModelError">A value is missing, or of the wrong type, or says what Legato doesn't know.</exception>
let ofMetadata (value: string -> GgufValue option) (facts: Facts) : string =
    let architecture = architecture value
    let config = JsonObject()
    let set (key: string) (node: JsonNode) = config[key] <- node
    set "model_type" (JsonValue.Create architecture.ModelType)

    for key in keysOf architecture |> List.distinctBy _.Config do
        for name in List.truncate 1 key.Config do
            read architecture value key |> Option.iter (set name)

    if isLatent architecture then
        readLatent architecture value config

    set "vocab_size" (JsonValue.Create facts.Vocabulary)
    set "tie_word_embeddings" (JsonValue.Create(isGpt2 architecture || not facts.HasHead))

    for granted in grantedBy architecture config do
        set granted.Key granted.Value

    for token in tokens do
        match value $"tokenizer.ggml.{token}" with
        | Some(Whole id) when id >= 0L && id < int64 facts.Vocabulary -> set token (JsonValue.Create id)
        | _ -> ()

    if not (isGpt2 architecture) then
        let theta =
            match value $"{architecture.Name}.rope.freq_base" with
            | Some(Real theta) when Double.IsFinite theta -> theta
            | _ -> 10000.0

        set "rope_theta" (literal (digits theta))

        GgufRope.read
            architecture
            (int (turnedFeatures architecture config))
            theta
            (fun key -> value $"{architecture.Name}.{key}")
            facts.RopeDivisors
        |> Option.iter (set "rope_scaling")

    Config.text config

let private keep = "keep this model in the Hugging Face layout"

let private write (config: JsonObject) (key: Key) =
    if
        key.NullIsOff
        && key.Config |> List.exists (fun name -> config.ContainsKey name && isNull config[name])
    then
        raise (ModelError($"GGUF can't turn {key.Config.Head} off", key.Config.Head, keep))

    match
        number key.Config config
        |> Option.orElseWith (fun () -> key.Default config)
        |> Option.orElse key.Absent
    with
    | Some x ->
        let value =
            match key.Kind with
            | WholeNumber -> Whole(int64 x)
            | RealNumber -> Real x
            | YesOrNo -> Flag(x <> 0.0)

        Some(key.Metadata, value)
    | None when key.IsOptional -> None
    | None ->
        raise (ModelError($"{key.Config.Head} is missing", key.Config.Head, $"add {key.Config.Head} to the config"))

let private usualTheta (architecture: GgufArchitecture) =
    match architecture.ModelType with
    | "mixtral"
    | "gemma3_text" -> 1e6
    | "gpt_oss" -> 150000.0
    | _ -> 10000.0

/// The metadata that says what a config says, and the tensors of divisors of rotary frequencies where there are any.
/// <exception cref="ModelError">GGUF can't say it.</exception>
let toMetadata (text: string) : (string * GgufValue) list * (string * float32 list) list =
    let config = JsonNode.Parse(text).AsObject()
    let architecture = GgufNames.ofModelType (config["model_type"].GetValue<string>())

    for granted in grantedBy architecture config do
        let key = granted.Key
        let means = if isNull config[key] then granted.Missing else config[key]

        if not (isSame means granted.Value) then
            let what = $"GGUF takes {key} = {shown granted.Value} for granted; the config means {shown means}"
            raise (ModelError(what, key, keep))

    let sizes = keysOf architecture |> List.choose (write config)

    let rope, divisors =
        if isGpt2 architecture then
            [], []
        else
            let size = turnedFeatures architecture config
            let theta = GgufRope.theta (usualTheta architecture) config
            let scaling, divisors = GgufRope.write architecture (int size) theta config
            ("rope.freq_base", Real theta) :: scaling, divisors

    let own =
        sizes @ [ "vocab_size", Whole(int64 (required [ "vocab_size" ] config)) ] @ rope
        |> List.map (fun (key, value) -> $"{architecture.Name}.{key}", value)

    (architectureName, Word architecture.Name) :: own, divisors
