/// Dropout that a model's config asks for.
module Legato.Cli.ConfigDropout

open System.Text.Json
open System.Text.Json.Nodes

let private isDropout (key: string) = key.Contains "dropout" || key.EndsWith "pdrop"

let private share (value: JsonNode) =
    match value with
    | :? JsonValue as number when number.GetValueKind() = JsonValueKind.Number -> number.GetValue<float>()
    | _ -> 0.0

/// The keys that ask for some, and how much.
let asked (config: string) : (string * float) list = [
    for KeyValue(key, value) in JsonNode.Parse(config).AsObject() do
        if isDropout key && share value > 0.0 then
            key, share value
]
