namespace Legato.Models

open System
open System.Text.Json.Nodes
open Legato.Dsl

/// Scaled rotary positions between config.json and GGUF, which names linear and yarn, and keeps as vectors what each
/// frequency is divided by: LLaMA 3's, and LongRoPE's two.
[<RequireQualifiedAccess>]
module GgufRope =
    let private llama3Tensor = "rope_freqs.weight"
    let private shortTensor, longTensor = "rope_factors_short.weight", "rope_factors_long.weight"

    /// The tensors of divisors.
    let tensors = [ llama3Tensor; shortTensor; longTensor ]

    /// What GGUF doesn't say of LLaMA 3's scaling: every published model has these.
    let private low, private high = 1.0, 4.0

    /// Where the file names no trained context: LLaMA 3's.
    let private trainedContext = 8192

    /// A divisor for each pair of a head's features (Grattafiori et al. 2024): 1 for short waves, the factor for long
    /// ones, between them an even change of frequency.
    let private divisors headDim theta factor low high (trained: int) : float list =
        let divisor pair =
            let wave = 2.0 * Math.PI * Math.Pow(theta, 2.0 * float pair / float headDim)
            let turns = float trained / wave
            let share = (turns - low) / (high - low) |> max 0.0 |> min 1.0
            1.0 / ((1.0 - share) / factor + share)

        List.init (headDim / 2) divisor

    let private fail what remedy = Config.fail what "rope_scaling" remedy

    // Gemma 3's layers with a window have positions of their own.
    let private inner (name: string) (json: JsonObject) = tryUnbox<JsonObject> json[name]

    let private sections (config: JsonObject) =
        [ "rope_parameters"; "rope_scaling" ] |> List.tryPick (fun key -> inner key config)

    /// The config's object of rotary positions, where it has one.
    let private section (config: JsonObject) =
        sections config |> Option.map (fun json -> inner "full_attention" json |> Option.defaultValue json)

    let private text (keys: string list) (json: JsonObject) =
        keys |> List.tryPick (fun key -> json[key] |> Option.ofObj) |> Option.map _.GetValue<string>()

    let private number (key: string) fallback (json: JsonObject) =
        match json[key] with
        | null -> fallback
        | value -> value.GetValue<float>()

    let private kindOf section = text [ "rope_type"; "type" ] section |> Option.defaultValue "default"

    /// The rotary base, in the section or beside it.
    let theta usual (config: JsonObject) =
        section config
        |> Option.bind (fun json -> json["rope_theta"] |> Option.ofObj)
        |> Option.orElse (config["rope_theta"] |> Option.ofObj)
        |> Option.map _.GetValue<float>()
        |> Option.defaultValue usual

    let private trainedKey = "original_max_position_embeddings"

    // Phi 3 has it beside the section.
    let private trainedContextOf (config: JsonObject) (json: JsonObject) =
        number trainedKey (number trainedKey 0.0 config) json |> int64

    let private elsewhere = "keep this model in the Hugging Face layout"

    let private requirePlainWindows (config: JsonObject) =
        match sections config |> Option.bind (inner "sliding_attention") with
        | Some local when number "rope_theta" 10000.0 local <> 10000.0 || kindOf local <> "default" ->
            fail "GGUF takes plain rotary positions of base 10000 in layers with a window for granted" elsewhere
        | _ -> ()

    let private weights = [ "mscale"; "mscale_all_dim" ]
    let private multiplier = "rope.scaling.yarn_log_multiplier"

    // DeepSeek weighs scores by YaRN's magnitude, and turned features by none: that is where both weights are one.
    let private scoreWeight (json: JsonObject) =
        match [ for key in weights -> number key 0.0 json ] with
        | [ one; all ] when one = all -> if all = 0.0 then [] else [ multiplier, Real(0.1 * all) ]
        | _ -> fail "GGUF can't tell that mscale and mscale_all_dim differ" elsewhere

    // What YaRN's readers take for granted beside the keys below.
    let private requireUsualYarn (architecture: GgufArchitecture) (json: JsonObject) =
        let truncates = isNull json["truncate"] || json["truncate"].GetValue<bool>()

        if truncates <> architecture.RoundsYarn then
            fail
                "GGUF's readers know by the architecture whether YaRN's bounds are whole; this config has it otherwise"
                elsewhere

        for key in "attention_factor" :: (if architecture.WeighsScores then [] else weights) do
            if not (isNull json[key]) then
                fail $"GGUF can't tell that {key} is {json[key].ToJsonString()}" elsewhere

    let private vector (key: string) (json: JsonObject) =
        match json[key] with
        | :? JsonArray as numbers -> [ for number in numbers -> float32 (number.GetValue<float>()) ]
        | _ -> fail $"{key} is missing" $"add {key} to rope_scaling"

    /// GGUF's keys, after the architecture's name, and the tensors of divisors where there are any.
    /// <exception cref="ModelError">GGUF can't say it.</exception>
    let write
        (architecture: GgufArchitecture)
        headDim
        theta
        (config: JsonObject)
        : (string * GgufValue) list * (string * float32 list) list =
        let share = number "partial_rotary_factor" 1.0 (section config |> Option.defaultValue config)

        if share <> 1.0 then
            fail $"GGUF turns whole heads, not {share} of one" elsewhere

        requirePlainWindows config
        let scaling kind = "rope.scaling.type", Word kind
        let factor (json: JsonObject) = "rope.scaling.factor", Real(number "factor" 1.0 json)
        let trained json = "rope.scaling.original_context_length", Whole(trainedContextOf config json)

        match section config |> Option.map (fun json -> kindOf json, json) with
        | None
        | Some("default", _) -> [], []
        | Some("linear", json) -> [ scaling "linear"; factor json ], []
        | Some("yarn", json) ->
            requireUsualYarn architecture json

            [
                scaling "yarn"
                factor json
                trained json
                "rope.scaling.yarn_beta_fast", Real(number "beta_fast" 32.0 json)
                "rope.scaling.yarn_beta_slow", Real(number "beta_slow" 1.0 json)
                if architecture.WeighsScores then
                    yield! scoreWeight json
            ],
            []
        | Some(("longrope" | "su"), json) ->
            let magnitude =
                json["attention_factor"]
                |> Option.ofObj
                |> Option.map (fun given -> "rope.scaling.attn_factor", Real(given.GetValue<float>()))

            trained json :: Option.toList magnitude,
            [ shortTensor, vector "short_factor" json; longTensor, vector "long_factor" json ]
        | Some("llama3", json) when
            number "low_freq_factor" low json = low && number "high_freq_factor" high json = high
            ->
            let context = trainedContextOf config json
            let vector = divisors headDim theta (number "factor" 1.0 json) low high (int context)
            [ trained json ], [ llama3Tensor, List.map float32 vector ]
        | Some(kind, _) -> fail $"GGUF has no way to tell this scaling of rotary positions, {kind}" elsewhere

    let private node (entries: (string * JsonNode) list) =
        let json = JsonObject()

        for key, value in entries do
            json[key] <- value

        json

    let private real (x: float) : JsonNode = JsonValue.Create x
    let private word (text: string) : JsonNode = JsonValue.Create text

    let private llama3 headDim theta (trained: int) (vector: float32 list) =
        let unknown () =
            let what = $"the divisors in {llama3Tensor} are not LLaMA 3's"
            raise (ModelError(what, llama3Tensor, "use the model in the Hugging Face layout"))

        if vector.IsEmpty || vector.Length <> headDim / 2 then
            unknown ()

        let factor = float (List.max vector)
        let isNear expected (found: float32) = abs (expected - float found) <= 1e-4 * expected

        if not (List.forall2 isNear (divisors headDim theta factor low high trained) vector) then
            unknown ()

        node [
            "rope_type", word "llama3"
            "factor", real factor
            "low_freq_factor", real low
            "high_freq_factor", real high
            trainedKey, JsonValue.Create trained
        ]

    /// The config's rope_scaling, where positions are scaled.
    /// <param name="value">A value of the file by its key after the architecture's name.</param>
    /// <param name="vectors">The tensors of divisors that the file has.</param>
    /// <exception cref="ModelError">The file scales in a way that Legato doesn't know.</exception>
    let read
        (architecture: GgufArchitecture)
        headDim
        theta
        (value: string -> GgufValue option)
        (vectors: (string * float32 list) list)
        : JsonObject option =
        let whole key fallback =
            match value $"rope.scaling.{key}" with
            | Some(Whole n) -> int n
            | _ -> fallback

        let entry name key : (string * JsonNode) list =
            match value $"rope.scaling.{key}" with
            | Some(Real x) -> [
                name, JsonNode.Parse((float32 x).ToString("R", Globalization.CultureInfo.InvariantCulture))
              ]
            | _ -> []

        let array (numbers: float32 list) : JsonNode =
            JsonArray [| for x in numbers -> JsonValue.Create x :> JsonNode |]

        let trained = whole "original_context_length" trainedContext

        // A tenth of the weight, as float32 rounds it.
        let scoreWeight: (string * JsonNode) list =
            match value multiplier with
            | Some(Real tenth) when architecture.WeighsScores -> [
                for key in weights -> key, real (Math.Round(10.0 * tenth, 6))
              ]
            | _ -> []

        match value "rope.scaling.type", value "rope.scaling.factor", vectors with
        | Some(Word "linear"), Some(Real factor), [] -> Some(node [ "rope_type", word "linear"; "factor", real factor ])
        | Some(Word "yarn"), Some(Real _), [] ->
            Some(
                node [
                    "rope_type", word "yarn"
                    yield! entry "factor" "factor"
                    trainedKey, JsonValue.Create trained
                    yield! entry "beta_fast" "yarn_beta_fast"
                    yield! entry "beta_slow" "yarn_beta_slow"
                    yield! scoreWeight
                    if not architecture.RoundsYarn then
                        "truncate", JsonValue.Create false
                ]
            )
        | (None | Some(Word("none" | "longrope"))),
          _,
          ([ (short, factors); (long, others) ] | [ (long, others); (short, factors) ]) when
            short = shortTensor && long = longTensor
            ->
            Some(
                node [
                    "rope_type", word "longrope"
                    "short_factor", array factors
                    "long_factor", array others
                    trainedKey, JsonValue.Create trained
                    yield! entry "attention_factor" "attn_factor"
                ]
            )
        | (None | Some(Word "none")), _, [ name, vector ] when name = llama3Tensor ->
            Some(llama3 headDim theta trained vector)
        | (None | Some(Word "none")), _, [] -> None
        | other, _, _ ->
            fail
                $"rotary positions are scaled in a way that is not known: %A{other}"
                "use the model in the Hugging Face layout"
