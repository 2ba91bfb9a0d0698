/// Configs: their spellings, what may be set, and what a user reads when one is wrong.
module Legato.Tests.ModelConfigTests

open System.Text.Json.Nodes
open NUnit.Framework
open Legato.Dsl
open Legato.Models

let private tiny = (Presets.find "llama-tiny").Config
let private tinyGpt2 = (Presets.find "gpt2-tiny").Config

let private edited change (config: string) =
    let json = JsonNode.Parse(config).AsObject()
    change json
    json.ToJsonString()

let private without (key: string) = edited (fun json -> json.Remove key |> ignore)

let private withValue (key: string) (value: string) = edited (fun json -> json[key] <- JsonNode.Parse value)

/// What a user reads of the mistake.
let private mistake (action: unit -> 'T) =
    try
        action () |> ignore
        "no error"
    with ModelError(what, where, remedy) ->
        $"{what} | {where} | {remedy}"

let private refused config = mistake (fun () -> Families.ofConfig config)

/// The operations of a graph in their order, those of loops included.
let rec private operations (roots: Node list) = [
    for node in Node.topological roots do
        match node.Op with
        | Op.Input(name, dims, kind) -> $"{name.Split('#')[0]} {dims} {kind}"
        | Op.Scan loop -> yield! operations (loop.CarryResults @ loop.StackResults)
        | op -> $"%A{op}"
]

let private graph config =
    let sizes = { Batch = Fixed 1L; Sequence = Fixed 4L; Context = Fixed 8L; Source = None }

    operations [ (ModelDef.elaborate sizes (Families.ofConfig config)).Logits ]

let private same one other = Assert.That<string list>(graph other, Is.EqualTo<string list>(graph one))

let private different one other = Assert.That<string list>(graph other, Is.Not.EqualTo<string list>(graph one))

let private olderRope = withValue "rope_scaling" """{ "type": "linear", "factor": 2.0 }""" tiny

let private newerRope =
    tiny
    |> without "rope_theta"
    |> withValue "rope_parameters" """{ "rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0 }"""

[<Test>]
let ``rotary positions are the same in the older and the newer spelling`` () =
    same olderRope newerRope
    different tiny olderRope
    same tiny (withValue "rope_scaling" "null" tiny)
    same tiny (withValue "rope_parameters" """{ "rope_type": "default" }""" tiny)
    different tiny (withValue "rope_theta" "500000.0" tiny)

[<Test>]
let ``keys that a config may leave out have the family's defaults`` () =
    same tiny (withValue "head_dim" "16" tiny)
    different tiny (withValue "head_dim" "32" tiny)
    same (withValue "num_key_value_heads" "4" tiny) (without "num_key_value_heads" tiny)
    same (withValue "tie_word_embeddings" "false" tiny) (without "tie_word_embeddings" tiny)
    same tinyGpt2 (without "tie_word_embeddings" tinyGpt2)
    same tinyGpt2 (withValue "n_inner" "256" tinyGpt2)
    different tinyGpt2 (withValue "n_inner" "128" tinyGpt2)

[<Test>]
let ``GPT-2's sizes may be spelled as other families' are`` () =
    tinyGpt2
    |> withValue "hidden_size" "64"
    |> without "n_embd"
    |> withValue "num_hidden_layers" "2"
    |> without "n_layer"
    |> same tinyGpt2

[<Test>]
let ``tokens come one, several or none, and those beyond the vocabulary are no tokens`` () =
    let ends = Families.withTokens (Some 3) [ 5; 6 ] tiny |> Families.ofConfig
    Assert.That((ends.BeginToken, ends.EndTokens), Is.EqualTo((Some 3, [ 5; 6 ])))
    let one = Families.withTokens None [ 7 ] tiny |> Families.ofConfig
    Assert.That((one.BeginToken, one.EndTokens), Is.EqualTo((None, [ 7 ])))
    let beyond = tiny |> withValue "eos_token_id" "50256" |> Families.ofConfig
    Assert.That(beyond.EndTokens, Is.Empty)
    Assert.That((Families.withVocabulary 300 tiny |> Families.ofConfig).Vocabulary, Is.EqualTo 300)

[<Test>]
let ``a key may be set to a value of its type, wherever the config keeps it`` () =
    let deeper = Families.withOverrides [ "num_hidden_layers", "3"; "tie_word_embeddings", "false" ] tiny
    same deeper (tiny |> withValue "num_hidden_layers" "3" |> withValue "tie_word_embeddings" "false")

    same
        (Families.withOverrides [ "rope_theta", "2e4" ] newerRope)
        (Families.withOverrides [ "rope_theta", "20000" ] olderRope)

    same (Families.withOverrides [ "hidden_act", "gelu" ] tiny) (withValue "hidden_act" "\"gelu\"" tiny)

let private settable =
    let known = mistake (fun () -> Families.withOverrides [ "no such key", "1" ] tiny)
    known.Substring(known.IndexOf "all: " + 5).Split(", ")

[<TestCaseSource(nameof settable)>]
let ``a value of another type is refused for every key, by the key's name`` (key: string) =
    let message = refused (withValue key "{}" tiny)

    if key.StartsWith "rope_scaling" || key = "rope_parameters" then
        Assert.That(message, Is.EqualTo "no error", "an object is what the key takes")
    else
        Assert.That(message, Does.Contain $"{key} is {{}}, not ")

let private mistakes = [
    TestCaseData("not JSON {", "the config is no JSON: ")
    TestCaseData(
        "[1, 2]",
        "the config is no JSON object | the model's config | check that this is a model's config.json"
    )
    TestCaseData("""{ "vocab_size": 1, "vocab_size": 2 }""", "the config is no JSON: ")
    TestCaseData("{}", "model_type is missing | the model's config, model_type | set it to one of: gpt2, llama")
    TestCaseData(
        """{ "model_type": "mamba" }""",
        "the family 'mamba' is not known | the model's config, model_type | use one of: gpt2, llama"
    )
    TestCaseData(
        without "hidden_size" tiny,
        "hidden_size is missing | the model's config, hidden_size | add hidden_size to the config"
    )
    TestCaseData(
        withValue "hidden_size" "\"wide\"" tiny,
        "hidden_size is \"wide\", not a whole number | the model's config, hidden_size | give hidden_size a whole number"
    )
    TestCaseData(
        withValue "num_attention_heads" "3" tiny,
        "3 heads can't share a width of 64 evenly | the model's config, head_dim | make the width a multiple of the heads, or give head_dim"
    )
    TestCaseData(
        withValue "num_attention_heads" "0" tiny,
        "the axis Heads has size 0 | Heads | give it a positive size"
    )
    TestCaseData(
        withValue "scale_attn_by_inverse_layer_idx" "true" tinyGpt2,
        "scale_attn_by_inverse_layer_idx = true is not supported | the model's config, scale_attn_by_inverse_layer_idx | only scale_attn_by_inverse_layer_idx = false is"
    )
    TestCaseData(
        withValue "tie_word_embeddings" "false" tinyGpt2,
        "tie_word_embeddings = false is not supported | the model's config, tie_word_embeddings | only tie_word_embeddings = true is"
    )
    TestCaseData(
        withValue "hidden_act" "\"mish\"" tiny,
        "the activation 'mish' is not known | the model's config, hidden_act | use silu, gelu, gelu_new, relu or relu2"
    )
    TestCaseData(
        withValue "rope_scaling" """{ "rope_type": "spiral", "factor": 4.0 }""" tiny,
        "the rope type 'spiral' is not known | the model's config, rope_type | use default, linear, dynamic, llama3, yarn or longrope"
    )
    TestCaseData(
        withValue "rope_scaling" """{ "rope_type": "llama3" }""" tiny,
        "factor is missing | the model's config, factor | add factor to the config"
    )
]

[<TestCaseSource(nameof mistakes)>]
let ``a config's mistake is told with its key and the remedy`` (config: string) (expected: string) =
    Assert.That(refused config, Does.StartWith expected)

[<Test>]
let ``an unknown key is refused with those that it may have meant`` () =
    let message = mistake (fun () -> Families.withOverrides [ "num_hiden_layers", "3" ] tiny)

    Assert.That(
        message,
        Does.StartWith
            "no key of this model is called 'num_hiden_layers' | the model's config, num_hiden_layers | the nearest: num_hidden_layers, "
    )

[<Test>]
let ``a key that the family does not read is unknown, even where the config has it`` () =
    let message =
        mistake (fun () -> Families.withOverrides [ "attn_pdrop", "0.5" ] (withValue "attn_pdrop" "0.1" tinyGpt2))

    Assert.That(message, Does.StartWith "no key of this model is called 'attn_pdrop'")

[<Test>]
let ``an unknown preset is refused with those that it may have meant`` () =
    let message = mistake (fun () -> Presets.find "gpt2-124M")
    Assert.That(message, Does.StartWith "no preset is called 'gpt2-124M' | gpt2-124M | the nearest: gpt2-124m, ")
