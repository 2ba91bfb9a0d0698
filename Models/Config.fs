namespace Legato.Models

open System.Collections.Generic
open System.Text.Json
open System.Text.Json.Nodes
open Legato.Dsl

/// The function between a feed-forward's matrices.
type Activation =
    | Silu
    | Gelu
    | GeluTanh
    | Relu
    /// The square of ReLU (So et al. 2021).
    | ReluSquared

/// A Hugging Face config.json, which remembers the keys that a family asks for: those are the keys that may be set.
[<Sealed>]
type ConfigJson
    private
    (
        json: JsonObject,
        asked: HashSet<string>,
        absent: List<JsonObject * string>,
        overruled: Dictionary<string, string>,
        isTrained: bool
    ) =
    new(json, isTrained) = ConfigJson(json, HashSet<string>(), List(), Dictionary(), isTrained)
    new(json) = ConfigJson(json, false)
    member _.Json = json

    /// Whether the model is to have the parts that training alone computes.
    member _.IsTrained = isTrained

    /// Spellings of keys that were asked for and found under none, with the object that lacks them.
    member _.Absent: (JsonObject * string) seq = absent

    /// The keys asked for so far, in this object and in those inside it.
    member _.Asked: string seq = asked

    member internal _.Item
        with get (key: string) =
            asked.Add key |> ignore
            json[key]

    /// Of a key that isn't read, since another says the same, that other one.
    member _.Overruling(key: string) : string option =
        match overruled.TryGetValue key with
        | true, other -> Some other
        | _ -> None

    member internal _.Inner(section: JsonObject) = ConfigJson(section, asked, absent, overruled, isTrained)
    member internal _.Lacks(keys: string list) = absent.AddRange [ for key in keys -> json, key ]

    member internal _.Reads(found: string, spellings: string list) =
        for other in List.skipWhile ((<>) found) spellings |> List.tail do
            overruled[other] <- found

/// Reads a config: keys under any of their spellings, with errors that name the key. A key that is null is a key that
/// isn't there.
[<RequireQualifiedAccess>]
module Config =
    /// What errors call a config whose file they don't know.
    let place = "the model's config"

    let internal fail what key remedy = raise (ModelError(what, $"{place}, {key}", remedy))

    let private find (keys: string list) (json: ConfigJson) =
        match keys |> List.tryPick (fun key -> json[key] |> Option.ofObj |> Option.map (fun value -> key, value)) with
        | None ->
            json.Lacks keys
            None
        | Some(key, _) as found ->
            json.Reads(key, keys)
            found

    let private read<'T> (kind: string) (key: string) (value: JsonNode) =
        match value with
        | :? JsonValue as single ->
            match single.TryGetValue<'T>(), System.Numerics.BigInteger.TryParse(single.ToJsonString()) with
            | (true, result), _ -> result
            | _, (true, large) when typeof<'T> = typeof<int> ->
                let size, bound =
                    if large.Sign > 0 then
                        "large", $"{System.Int32.MaxValue} or less"
                    else
                        "small", $"{System.Int32.MinValue} or more"

                fail $"{key} is {large}, which is too {size}" key $"give {key} {bound}"
            | _ -> fail $"{key} is {value.ToJsonString()}, not {kind}" key $"give {key} {kind}"
        | _ -> fail $"{key} is {value.ToJsonString()}, not {kind}" key $"give {key} {kind}"

    let private value<'T> kind keys json : 'T option =
        find keys json |> Option.map (fun (key, value) -> read<'T> kind key value)

    /// The value of a key that can't be left out.
    let required keys value =
        match value with
        | Some found -> found
        | None ->
            let key = List.head keys
            fail $"{key} is missing" key $"add {key} to the config"

    let private wholeNumber = "a whole number"
    let tryInt keys json = value<int> wholeNumber keys json
    let tryFloat keys json = value<float> "a number" keys json

    /// A whole number, under the first of the keys that is there.
    let int keys json = tryInt keys json |> required keys
    let intOr fallback keys json = tryInt keys json |> Option.defaultValue fallback

    // With the key that it stands under.
    let private intUnder keys json =
        find keys json
        |> Option.map (fun (key, value) -> key, read<int> wholeNumber key value)
        |> required keys

    /// Whether a key is there and null, which turns off what its absence would not.
    let isNull (key: string) (json: ConfigJson) = json.Json.ContainsKey key && isNull json.Json[key]

    /// A whole number; none where the key is null.
    let intUnlessNull fallback key json = if isNull key json then None else Some(intOr fallback [ key ] json)

    let floatOr fallback keys json = tryFloat keys json |> Option.defaultValue fallback

    let boolOr fallback keys json = value<bool> "true or false" keys json |> Option.defaultValue fallback

    let stringOr fallback keys json = value<string> "a text" keys json |> Option.defaultValue fallback

    /// More layers than any model has; each takes memory while the graph is built.
    let private mostLayers = 10_000

    /// How many layers.
    let layers (keys: string list) json =
        match intUnder keys json with
        | _, count when count >= 1 && count <= mostLayers -> count
        | key, count -> fail $"a model can't have {count} layers" key $"give {key} a number from 1 to {mostLayers}"

    /// An axis whose size is a whole number under one of the keys.
    let axis<'Name> (keys: string list) json : Axis<'Name> =
        match intUnder keys json with
        | _, size when size >= 1 -> axis<'Name> size
        | key, size -> fail $"{key} is {size}" key $"give {key} a number above 0"

    let tryString keys json = value<string> "a text" keys json

    /// A text, and the key that it stands under.
    let textUnder keys json = find keys json |> Option.map (fun (key, value) -> key, read<string> "a text" key value)

    let private list<'T> kind keys json : 'T list option =
        find keys json
        |> Option.map (fun (key, value) ->
            match value with
            | :? JsonArray as items -> [ for item in items -> read<'T> kind key item ]
            | _ -> fail $"{key} is {value.ToJsonString()}, not a list" key $"give {key} a list")

    let tryStrings keys json = list<string> "a text" keys json
    let tryInts keys json = list<int> wholeNumber keys json
    let tryFloats keys json = list<float> "a number" keys json

    /// An object inside the config.
    let section keys (json: ConfigJson) =
        find keys json
        |> Option.map (fun (key, value) ->
            match value with
            | :? JsonObject as section -> json.Inner section
            | _ -> fail $"{key} is {value.ToJsonString()}, not an object" key $"give {key} an object, or leave it out")

    /// What must not differ from what a family computes: anything else is refused rather than ignored.
    let demand key (expected: bool) json =
        if boolOr expected [ key ] json <> expected then
            let shown = (string expected).ToLowerInvariant()
            fail $"{key} = {(string (not expected)).ToLowerInvariant()} is not supported" key $"only {key} = {shown} is"

    /// How many heads the keys and values have, each shared by an equal number of the others.
    let keyHeads keys (heads: Axis<Heads>) json =
        match find keys json |> Option.map (fun (key, value) -> key, read<int> wholeNumber key value) with
        | None -> heads.Size
        | Some(_, count) when count >= 1 && heads.Size % count = 0 -> count
        | Some(key, count) ->
            fail
                $"{heads.Size} heads can't share {count} of keys and values evenly"
                key
                $"give {key} a divisor of {heads.Size}"

    /// More features than any head has; rotary positions keep a number of each.
    let private largestHead = 1 <<< 16

    /// What configs call a model's width.
    let widths = [ "hidden_size"; "n_embd"; "n_embed"; "d_model" ]

    /// The size of one head: head_dim, or else the family's own, or else an even share of the model's width.
    let headDim (own: int option) (embed: Axis<Embed>) (heads: Axis<Heads>) json =
        let share = if embed.Size % heads.Size = 0 then Some(embed.Size / heads.Size) else None

        match tryInt [ "head_dim" ] json |> Option.orElse own |> Option.orElse share with
        | Some size when size >= 1 && size <= largestHead -> size
        | Some size ->
            fail $"a head can't have {size} features" "head_dim" $"give head_dim a number from 1 to {largestHead}"
        | None ->
            fail
                $"{heads.Size} heads can't share a width of {embed.Size} evenly"
                (widths |> List.find json.Json.ContainsKey)
                "make the width a multiple of the heads, or give head_dim"

    /// The activation that a key calls so.
    let activationNamed key name =
        match name with
        | "silu"
        | "swish" -> Silu
        | "gelu" -> Gelu
        | "relu2" -> ReluSquared
        | "gelu_new"
        | "gelu_fast"
        | "gelu_pytorch_tanh" -> GeluTanh
        | "relu" -> Relu
        | other -> fail $"the activation '{other}' is not known" key "use silu, gelu, gelu_new, relu or relu2"

    /// An activation by its name in configs.
    let activation fallback keys json = stringOr fallback keys json |> activationNamed (List.head keys)

    // A config cut down from a larger one may still name a token beyond its vocabulary: no text can hold that token.
    let private within (vocab: Axis<Vocab>) token = 0 <= token && token < vocab.Size

    /// The token that begins a text.
    let beginToken vocab json = tryInt [ "bos_token_id" ] json |> Option.filter (within vocab)

    /// The tokens that end a text: the config has none, one or a list of them.
    let endTokens vocab (json: ConfigJson) =
        let key = "eos_token_id"

        match json[key] with
        | null -> []
        | :? JsonArray as several -> [ for one in several -> read<int> wholeNumber key one ]
        | one -> [ read<int> wholeNumber key one ]
        |> List.filter (within vocab)

    let text (json: JsonObject) = json.ToJsonString(JsonSerializerOptions(WriteIndented = true)) + "\n"

[<AutoOpen>]
module Activations =
    let activate activation (x: Tensor<'Pos, 'Feat>) =
        match activation with
        | Silu -> silu x
        | Gelu -> gelu x
        | GeluTanh -> geluTanh x
        | Relu -> relu x
        | ReluSquared -> relu x * relu x
