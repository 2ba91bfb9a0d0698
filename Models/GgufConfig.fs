/// A model's sizes between config.json and the metadata of a GGUF file (the specification of GGUF, "Standardized
/// key-value pairs").
[<RequireQualifiedAccess>]
module Legato.Models.GgufConfig

open System
open System.Globalization
open System.Text.Json.Nodes
open Legato.Dsl

/// One key: its spellings in configs, its name in GGUF after the architecture's, and what a config that lacks it means.
type private Key = {
    Config: string list
    Metadata: string
    IsWhole: bool
    Default: JsonObject -> float option
}

let private key isWhole config metadata = {
    Config = config
    Metadata = metadata
    IsWhole = isWhole
    Default = fun _ -> None
}

let private whole = key true
let private real = key false
let private orElse make key = { key with Default = make >> Some }

let private number (keys: string list) (config: JsonObject) =
    keys |> List.tryPick (fun key -> config[key] |> Option.ofObj) |> Option.map _.GetValue<float>()

let private required keys config =
    match number keys config with
    | Some value -> value
    | None -> raise (ModelError($"{List.head keys} is missing", List.head keys, $"add {List.head keys} to the config"))

let private width = [ "hidden_size"; "n_embd" ]
let private headDim (config: JsonObject) = required width config / required GgufNames.heads config

let private llamaKeys = [
    whole [ "max_position_embeddings" ] "context_length"
    whole width "embedding_length"
    whole [ "num_hidden_layers"; "n_layer" ] "block_count"
    whole [ "intermediate_size" ] "feed_forward_length"
    whole GgufNames.heads "attention.head_count"
    whole GgufNames.keyHeads "attention.head_count_kv"
    whole [ "head_dim" ] "attention.key_length" |> orElse headDim
    whole [ "head_dim" ] "attention.value_length" |> orElse headDim
    whole [ "head_dim" ] "rope.dimension_count" |> orElse headDim
    real [ "rms_norm_eps" ] "attention.layer_norm_rms_epsilon" |> orElse (fun _ -> 1e-6)
]

let private gpt2Keys = [
    whole [ "n_positions"; "max_position_embeddings"; "n_ctx" ] "context_length"
    whole [ "n_embd"; "hidden_size" ] "embedding_length"
    whole [ "n_layer"; "num_hidden_layers" ] "block_count"
    whole [ "n_inner" ] "feed_forward_length" |> orElse (fun config -> 4.0 * required width config)
    whole [ "n_head"; "num_attention_heads" ] "attention.head_count"
    real [ "layer_norm_epsilon" ] "attention.layer_norm_epsilon" |> orElse (fun _ -> 1e-5)
]

let private isGpt2 (architecture: GgufArchitecture) = architecture.Name = "gpt2"
let private keysOf architecture = if isGpt2 architecture then gpt2Keys else llamaKeys

/// What GGUF takes for granted: a config must say the same, or nothing.
let private granted architecture =
    if isGpt2 architecture then
        "activation_function", "gelu_new"
    else
        "hidden_act", "silu"

let private architectureName = "general.architecture"

/// What a file holds beside its metadata.
type Facts = {
    /// Rows of the embedding.
    Vocabulary: int
    /// Whether the output head is a tensor of its own.
    HasHead: bool
    /// GgufRope.tensor, where there is one.
    RopeDivisors: float32 list option
}

let private fail what where = raise (ModelError(what, where, "convert the model to GGUF anew"))

/// The architecture of a file.
/// <param name="value">A value of the file's metadata by its key.</param>
/// <exception cref="ModelError">It is missing or not known.</exception>
let architecture (value: string -> GgufValue option) =
    match value architectureName with
    | Some(Word name) -> GgufNames.ofName name
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
    | Some(Whole n) when key.IsWhole -> Some(literal (string n))
    | Some(Real x) when not key.IsWhole && Double.IsFinite x -> Some(literal (digits x))
    | None -> None
    | Some other -> fail $"{name} is %A{other}, not a number of its kind" name

let private tokens = [ "bos_token_id"; "eos_token_id" ]

/// The text of the config.json that says the same.
/// <exception cref="ModelError">A value is missing, or of the wrong type, or says what Legato doesn't know.</exception>
let ofMetadata (value: string -> GgufValue option) (facts: Facts) : string =
    let architecture = architecture value
    let config = JsonObject()
    let set (key: string) (node: JsonNode) = config[key] <- node
    set "model_type" (JsonValue.Create architecture.ModelType)

    for key in keysOf architecture |> List.distinctBy _.Config do
        read architecture value key |> Option.iter (set key.Config.Head)

    set "vocab_size" (JsonValue.Create facts.Vocabulary)
    set "tie_word_embeddings" (JsonValue.Create(isGpt2 architecture || not facts.HasHead))
    let key, word = granted architecture
    set key (JsonValue.Create word)

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
        let size = number [ "head_dim" ] config |> Option.defaultWith (fun () -> headDim config)

        GgufRope.read (int size) theta (fun key -> value $"{architecture.Name}.{key}") facts.RopeDivisors
        |> Option.iter (set "rope_scaling")

    Config.text config

let private write (config: JsonObject) (key: Key) =
    match number key.Config config |> Option.orElseWith (fun () -> key.Default config) with
    | Some x -> key.Metadata, (if key.IsWhole then Whole(int64 x) else Real x)
    | None ->
        raise (ModelError($"{key.Config.Head} is missing", key.Config.Head, $"add {key.Config.Head} to the config"))

/// The metadata that says what a config says, and the divisors of rotary frequencies where there are any.
/// <exception cref="ModelError">GGUF can't say it.</exception>
let toMetadata (text: string) : (string * GgufValue) list * float32 list option =
    let config = JsonNode.Parse(text).AsObject()
    let architecture = GgufNames.ofModelType (config["model_type"].GetValue<string>())
    let key, word = granted architecture

    match config[key] with
    | null -> ()
    | value when value.GetValue<string>() = word -> ()
    | value ->
        let what = $"GGUF takes {key} = {word} for granted; the config has {value.ToJsonString()}"
        raise (ModelError(what, key, "keep this model in the Hugging Face layout"))

    let sizes = keysOf architecture |> List.map (write config)

    let rope, divisors =
        if isGpt2 architecture then
            [], None
        else
            let size = number [ "head_dim" ] config |> Option.defaultWith (fun () -> headDim config)
            let scaling, divisors = GgufRope.write (int size) config
            ("rope.freq_base", Real(GgufRope.theta config)) :: scaling, divisors

    let own =
        sizes @ [ "vocab_size", Whole(int64 (required [ "vocab_size" ] config)) ] @ rope
        |> List.map (fun (key, value) -> $"{architecture.Name}.{key}", value)

    (architectureName, Word architecture.Name) :: own, divisors
