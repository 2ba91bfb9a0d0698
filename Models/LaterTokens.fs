/// Layers behind a model's own that tell later tokens (DeepSeek-AI 2024, V3, section 2.2): what a config says of them, and
/// where they lie in a checkpoint. They are for training alone.
module Legato.Models.LaterTokens

open Legato.Dsl
open Legato.Models.Decoder

let private key = "num_nextn_predict_layers"
let private count json = Config.intOr 0 [ key ] json

/// The choices with the layers that the config names, where the model is to be trained.
let choices json c =
    let later = count json

    if later < 0 || later > c.Kinds.Length then
        Config.fail
            $"{key} is {later}; the model has {c.Kinds.Length} layers"
            key
            "give 0, or at most as many as the model has layers"

    // V3 trained with 0.3, and with 0.1 at the end (section 4.2).
    let weight = Config.floatOr 0.3 [ "nextn_predict_loss_weight" ] json

    {
        c with
            Foretelling = { Tokens = (if json.IsTrained then later else 0); Weight = weight }
    }

let private own path name = named $"model.{path}" $"model.layers.{{0}}.{name}"

/// What a layer that tells a later token has beside a layer's parts.
let private beside (embed: Axis<Embed>) = [
    own "token" "eh_proj" |> part 1 0 embed.Size
    own "state" "eh_proj" |> part 1 embed.Size embed.Size
    own "token_norm" "enorm"
    own "state_norm" "hnorm"
    own "norm" "shared_head.norm"
]

/// Lines of a layer, told of those that follow on the model's own.
let private following count (c: Decoder.Config) (lines: WeightName list) = [
    for n in 1..count do
        for line in lines do
            let name = line.Name.Replace("{0}", string (c.Kinds.Length + n - 1)).Replace("{1}", "{0}")

            {
                line with
                    Path = "model" + String.replicate n ".ahead" + line.Path.Substring "model".Length
                    Name = name
            }
]

/// A table with the lines of the layers, which are built as the model's own are.
let table json (c: Decoder.Config) (table: Table) =
    let following = following (count json) c
    let layers = table.Modules |> List.filter _.Path.StartsWith("model.layers.")
    let modules, tensors = following (beside c.Embed @ layers), following table.Tensors
    // They hold copies of what they share with the model.
    let shared = [ "embed_tokens"; "shared_head.head" ] |> List.map (own "") |> following
    let stored (lines: WeightName list) = [ for line in lines -> line.Name + ".weight" ]

    let unused =
        if c.Foretelling.Tokens > 0 then
            []
        else
            stored modules @ [ for line in tensors -> line.Name ]

    {
        table with
            Modules = modules @ table.Modules
            Tensors = tensors @ table.Tensors
            Ignored = stored shared @ unused @ table.Ignored
    }
