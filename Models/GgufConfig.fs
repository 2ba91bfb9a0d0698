/// A model's sizes between config.json and the metadata of a GGUF file (the specification of GGUF, "Standardized
/// key-value pairs").
[<RequireQualifiedAccess>]
module Legato.Models.GgufConfig

open System
open System.Globalization
open System.Text.Json
open System.Text.Json.Nodes
open Legato.Dsl
open Legato.Models.GgufKeys

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

let private blockCount = "block_count"

/// The numbers of the blocks behind a model's own that tell later tokens (DeepSeek-AI 2024, V3, section 2.2); the count of blocks
/// counts them too.
/// <exception cref="ModelError">There are as many of them as blocks, or more.</exception>
let laterBlocks (architecture: GgufArchitecture) value : int list =
    let count name = read architecture value (whole [] name) |> Option.map (asNumber >> int64) |> Option.defaultValue 0L

    let name, blocks = "nextn_predict_layers", count blockCount

    match count name with
    | later when later = 0L || not (isLatent architecture) -> []
    | later when later < 0L || later >= blocks ->
        let key = $"{architecture.Name}.{name}"
        fail $"{key} is {later}; the model has {blocks} blocks" key
    | later -> [ int (blocks - later) .. int blocks - 1 ]

let private readLatent architecture value (config: JsonObject) =
    readHeads architecture value config

    for first in laterBlocks architecture value |> List.truncate 1 do
        config["num_hidden_layers"] <- JsonValue.Create first

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
        Config.fail $"GGUF can't turn {key.Config.Head} off" key.Config.Head keep

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
    | None -> Config.fail $"{key.Config.Head} is missing" key.Config.Head $"add {key.Config.Head} to the config"

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
            Config.fail what key keep

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
