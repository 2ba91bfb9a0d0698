namespace Legato.Models

open System.Text.Json
open System.Text.Json.Nodes
open Legato.Dsl

/// From the text of a config.json to its model: model_type chooses the family.
[<RequireQualifiedAccess>]
module Families =
    /// Each family's model_type, and its model from a config.
    let all: (string * (ConfigJson -> ModelDef)) list = [
        "gpt2", Gpt2.ofConfig
        "llama", Llama.ofConfig
        "mistral", Mistral.ofConfig
        "mixtral", Mixtral.ofConfig
        "gpt_oss", GptOss.ofConfig
        "deepseek_v2", Deepseek.second
        "deepseek_v3", Deepseek.third
        "qwen2", Qwen.qwen2
        "qwen3", Qwen.qwen3
        "qwen2_moe", QwenMoe.qwen2
        "qwen3_moe", QwenMoe.qwen3
        "gemma", Gemma.gemma
        "gemma2", Gemma.gemma2
        "gemma3_text", Gemma.gemma3
        "phi", Phi.ofConfig
        "phi3", Phi3.ofConfig
        "olmo2", Olmo2.ofConfig
        "starcoder2", StarCoder2.ofConfig
        "cohere", Cohere.ofConfig
        "granite", Granite.ofConfig
        "smollm3", SmolLm3.ofConfig
        "glm4", Glm4.ofConfig
        "gptj", GptJ.ofConfig
        "mpt", Mpt.ofConfig
        "falcon", Falcon.ofConfig
        "bert", Bert.ofConfig
        "roberta", Roberta.ofConfig
        "t5", T5.ofConfig
        "bart", Bart.ofConfig
        "transformer", Transformer.ofConfig
        "gpt_neox", GptNeoX.ofConfig
        "opt", Opt.ofConfig
        "bloom", Bloom.ofConfig
    ]

    let private fail what where remedy = raise (ModelError(what, where, remedy))
    let private source = Config.place

    let private parse (text: string) =
        let options = JsonDocumentOptions(AllowDuplicateProperties = false)

        try
            match JsonNode.Parse(text, documentOptions = options) with
            | :? JsonObject as json -> json
            | _ -> fail "the config is no JSON object" source "check that this is a model's config.json"
        with :? JsonException as e ->
            let line = e.LineNumber.GetValueOrDefault() + 1L
            fail $"the config is no JSON: line {line} can't be read" source "check that this is a model's config.json"

    let private familyOf json =
        let modelType = Config.stringOr "" [ "model_type" ] json
        let known = all |> List.map fst |> String.concat ", "

        match all |> List.tryFind (fun (name, _) -> name = modelType) with
        | Some(_, ofConfig) -> ofConfig
        | None when modelType = "" -> fail "model_type is missing" $"{source}, model_type" $"set it to one of: {known}"
        | None ->
            let remedy =
                $"use one of: {known}; for a model that a script declares, `dotnet fsi SCRIPT.fsx` trains, generates and plans, and no other verb can"

            fail $"the family '{modelType}' is not known" $"{source}, model_type" remedy

    // A config has many keys that no family reads; one that is all but a key which the family misses is a mistake.
    let private refuseMisspelt (config: ConfigJson) =
        let asked = Set.ofSeq config.Asked

        for json, absent in config.Absent |> Seq.groupBy fst |> Seq.map (fun (json, keys) -> json, Seq.map snd keys) do
            for pair in json do
                if not (asked.Contains pair.Key) then
                    match Nearest.misspelt pair.Key absent with
                    | Some meant when isNull json[meant] ->
                        let what = $"no key of this family is called '{pair.Key}', and '{meant}' is missing"
                        fail what $"{source}, {pair.Key}" $"write {meant}, or leave the key out"
                    | _ -> ()

    let private modelOf isTrained json =
        let config = ConfigJson(json, isTrained)
        let model = familyOf config config
        refuseMisspelt config
        config, model

    /// The family that a config names.
    /// <exception cref="ModelError">The config can't be read.</exception>
    let modelType (text: string) : string = ConfigJson(parse text) |> Config.stringOr "" [ "model_type" ]

    /// <exception cref="ModelError">The config can't be read, its family is not known, or the family refuses it.</exception>
    let ofConfig (text: string) : ModelDef = parse text |> modelOf false |> snd

    /// The model with the parts that training alone computes: layers that tell later tokens.
    /// <exception cref="ModelError">As of ofConfig.</exception>
    let toTrain (text: string) : ModelDef = parse text |> modelOf true |> snd

    let private edit change text =
        let json = parse text
        change json
        Config.text json

    // What a person types: a JSON value, or else a text without its quotes.
    let private literal (value: string) =
        try
            JsonNode.Parse value
        with :? JsonException ->
            JsonValue.Create value

    // A key may stand inside an object of the config, such as rope_theta in rope_parameters.
    let private assign (key: string) value (json: JsonObject) =
        let inside = json |> Seq.choose (fun pair -> tryUnbox<JsonObject> pair.Value)

        match json :: List.ofSeq inside |> List.filter _.ContainsKey(key) with
        | [] -> json[key] <- literal value
        | homes ->
            for home in homes do
                home[key] <- literal value

    let private refuseUnknown (config: ConfigJson) key =
        let settable = config.Asked |> Seq.except [ "model_type" ] |> Seq.sort |> List.ofSeq

        if not (List.contains key settable) then
            match config.Overruling key with
            | Some other ->
                let what = $"{other} and {key} are spellings of one key, and {other} is the one that is read"
                fail what $"{source}, {key}" $"set {other} alone"
            | None ->
                let known = String.concat ", " settable

                fail
                    $"no key of this model is called '{key}'"
                    $"{source}, {key}"
                    $"the nearest: {Nearest.names 3 key settable}; all: {known}"

    /// The config with other values: a key must be one that the family reads, a value of the key's type.
    /// <exception cref="ModelError">An unknown key, a value that its key can't have.</exception>
    let withOverrides (pairs: (string * string) list) (text: string) : string =
        let json = parse text

        for key, value in pairs do
            assign key value json

        let config, _ = modelOf true json

        for key, _ in pairs do
            refuseUnknown config key

        Config.text json

    /// The config of weights that are read as plain numbers, whatever blocks they lie in.
    /// <exception cref="ModelError">The config can't be read.</exception>
    let unquantised (text: string) : string =
        let key = "quantization_config"

        match (parse text)[key] with
        | :? JsonObject as how when string how["quant_method"] = "mxfp4" ->
            text |> edit (fun json -> json.Remove key |> ignore)
        | _ -> text

    let private token (id: int) = JsonValue.Create id :> JsonNode

    /// The config for a tokenizer of `size` tokens.
    let withVocabulary (size: int) (text: string) : string = text |> edit (fun json -> json["vocab_size"] <- token size)

    /// The config with a tokenizer's token that fills up shorter texts, where the config has one at all.
    let withPadding (padding: int option) (text: string) : string =
        text
        |> edit (fun json ->
            if json.ContainsKey "pad_token_id" then
                json["pad_token_id"] <- padding |> Option.map token |> Option.toObj)

    /// The config with a tokenizer's tokens that begin and end a text.
    let withTokens (beginToken: int option) (endTokens: int list) (text: string) : string =
        let ends: JsonNode =
            match endTokens with
            | [] -> null
            | [ one ] -> token one
            | several -> JsonArray [| for one in several -> token one |]

        // A target that starts with the token that ends a text (BART) does so with any tokenizer's.
        let startsWithEnd (json: JsonObject) =
            json.ContainsKey "decoder_start_token_id"
            && JsonNode.DeepEquals(json["decoder_start_token_id"], json["eos_token_id"])

        text
        |> edit (fun json ->
            if startsWithEnd json && not endTokens.IsEmpty then
                json["decoder_start_token_id"] <- token endTokens.Head

            json["bos_token_id"] <- beginToken |> Option.map token |> Option.toObj
            json["eos_token_id"] <- ends)
