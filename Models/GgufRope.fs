namespace Legato.Models

open System
open System.Text.Json.Nodes
open Legato.Dsl

/// Scaled rotary positions between config.json and GGUF, which names linear and yarn, and keeps LLaMA 3's as a vector of
/// what each frequency is divided by.
[<RequireQualifiedAccess>]
module GgufRope =
    /// The tensor of the divisors.
    let tensor = "rope_freqs.weight"

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

    let private fail what remedy = raise (ModelError(what, "rope_scaling", remedy))

    /// The config's object of rotary positions, where it has one.
    let private section (config: JsonObject) =
        [ "rope_parameters"; "rope_scaling" ] |> List.tryPick (fun key -> tryUnbox<JsonObject> config[key])

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

    let private originalContext (json: JsonObject) = int (number "original_max_position_embeddings" 0.0 json)

    /// GGUF's keys, after the architecture's name, and the divisors where there are any.
    /// <exception cref="ModelError">GGUF can't say it.</exception>
    let write headDim theta (config: JsonObject) : (string * GgufValue) list * float32 list option =
        let share = number "partial_rotary_factor" 1.0 (section config |> Option.defaultValue config)

        if share <> 1.0 then
            fail $"GGUF turns whole heads, not {share} of one" "keep this model in the Hugging Face layout"

        match section config |> Option.map (fun json -> kindOf json, json) with
        | None
        | Some("default", _) -> [], None
        | Some("linear", json) ->
            [ "rope.scaling.type", Word "linear"; "rope.scaling.factor", Real(number "factor" 1.0 json) ], None
        | Some("llama3", json) when
            number "low_freq_factor" low json = low && number "high_freq_factor" high json = high
            ->
            let trained = originalContext json
            let vector = divisors headDim theta (number "factor" 1.0 json) low high trained
            [ "rope.scaling.original_context_length", Whole(int64 trained) ], Some(List.map float32 vector)
        | Some(kind, _) ->
            fail
                $"GGUF has no way to tell this scaling of rotary positions, {kind}"
                "keep this model in the Hugging Face layout"

    let private node (entries: (string * JsonValue) list) =
        let json = JsonObject()

        for key, value in entries do
            json[key] <- value

        json

    let private llama3 headDim theta trained (vector: float32 list) =
        let unknown () = fail $"the divisors in {tensor} are not LLaMA 3's" "use the model in the Hugging Face layout"

        if vector.IsEmpty || vector.Length <> headDim / 2 then
            unknown ()

        let factor = float (List.max vector)
        let isNear expected (found: float32) = abs (expected - float found) <= 1e-4 * expected

        if not (List.forall2 isNear (divisors headDim theta factor low high trained) vector) then
            unknown ()

        node [
            "rope_type", JsonValue.Create "llama3"
            "factor", JsonValue.Create factor
            "low_freq_factor", JsonValue.Create low
            "high_freq_factor", JsonValue.Create high
            "original_max_position_embeddings", JsonValue.Create trained
        ]

    /// The config's rope_scaling, where positions are scaled.
    /// <param name="value">A value of the file by its key after the architecture's name.</param>
    /// <exception cref="ModelError">The file scales in a way that Legato doesn't know.</exception>
    let read headDim theta (value: string -> GgufValue option) (vector: float32 list option) : JsonObject option =
        let trained =
            match value "rope.scaling.original_context_length" with
            | Some(Whole n) -> int n
            | _ -> trainedContext

        match value "rope.scaling.type", value "rope.scaling.factor", vector with
        | Some(Word "linear"), Some(Real factor), None ->
            Some(node [ "rope_type", JsonValue.Create "linear"; "factor", JsonValue.Create factor ])
        | (None | Some(Word "none")), _, Some vector -> Some(llama3 headDim theta trained vector)
        | (None | Some(Word "none")), _, None -> None
        | other, _, _ ->
            fail
                $"rotary positions are scaled in a way that is not known: %A{other}"
                "use the model in the Hugging Face layout"
