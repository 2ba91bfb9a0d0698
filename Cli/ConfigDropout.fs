/// Dropout that a model's config asks for.
module Legato.Cli.ConfigDropout

open System.Text.Json
open System.Text.Json.Nodes

let private isDropout (key: string) = key.Contains "dropout" || key.EndsWith "pdrop"

let private isAboveZero (value: JsonNode) =
    match value with
    | :? JsonValue as number when number.GetValueKind() = JsonValueKind.Number -> number.GetValue<float>() > 0.0
    | _ -> false

/// The keys that ask for some.
let asked (config: string) : string list = [
    for KeyValue(key, value) in JsonNode.Parse(config).AsObject() do
        if isDropout key && isAboveZero value then
            key
]
