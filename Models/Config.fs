namespace Legato.Models

open System.Text.Json
open System.Text.Json.Nodes
open Legato.Dsl

/// Reads a Hugging Face config.json: keys under any of their spellings, with errors that name the key.
[<RequireQualifiedAccess>]
module Config =
    let private fail what key remedy = raise (ModelError(what, $"config.json, {key}", remedy))

    let private node (keys: string list) (json: JsonObject) =
        keys |> List.tryPick (fun key -> match json[key] with null -> None | value -> Some(key, value))

    let private value<'T> (keys: string list) (json: JsonObject) : 'T option =
        node keys json
        |> Option.map (fun (key, value) ->
            try
                value.GetValue<'T>()
            with _ ->
                fail $"{key} is {value.ToJsonString()}, not a {typeof<'T>.Name}" key $"give {key} a value of that type")

    let private required key value =
        match value with
        | Some v -> v
        | None -> fail $"{key} is missing" key $"add {key} to the config"

    /// An integer under the first of the keys that is there.
    let int keys (json: JsonObject) = value<int> keys json |> required (List.head keys)
    let intOr fallback keys json = value<int> keys json |> Option.defaultValue fallback
    let floatOr fallback keys json = value<float> keys json |> Option.defaultValue fallback
    let boolOr fallback keys json = value<bool> keys json |> Option.defaultValue fallback
    let stringOr fallback keys json = value<string> keys json |> Option.defaultValue fallback
    let tryInt keys json = value<int> keys json

    /// A sub-object, where there is one.
    let section (key: string) (json: JsonObject) =
        match json[key] with
        | :? JsonObject as section -> Some section
        | _ -> None

    /// One end token or a list of them.
    let endTokens (json: JsonObject) =
        match json["eos_token_id"] with
        | null -> []
        | :? JsonArray as several -> [ for one in several -> one.GetValue<int>() ]
        | one -> [ one.GetValue<int>() ]

    /// An activation by its name in configs.
    let activation (name: string) : Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat> =
        match name with
        | "silu"
        | "swish" -> silu
        | "gelu" -> gelu
        | "gelu_new"
        | "gelu_pytorch_tanh"
        | "gelu_fast" -> geluTanh
        | "relu" -> relu
        | other -> fail $"the activation '{other}' is not known" "hidden_act" "use silu, gelu, gelu_new or relu"

    /// What must not differ from what a family computes: anything else is refused rather than ignored.
    let demand key (expected: bool) (json: JsonObject) =
        if boolOr expected [ key ] json <> expected then
            fail $"{key} = {not expected} is not supported" key $"only {key} = {expected} is"

    let text (json: JsonObject) =
        json.ToJsonString(JsonSerializerOptions(WriteIndented = true)) + "\n"
