/// GGUF of DeepSeek V2 and V3: each head's matrices apart, or together as older files have them.
module Legato.Tests.GgufLatentTests

open System
open System.IO
open System.Text.Json.Nodes
open NUnit.Framework
open Legato.Tests.ConversionFixtures
open Legato.Cli
open Legato.Compiler
open Legato.Models
open Legato.Runtime.Checkpoints
open Legato.Runtime.Cpu
open Legato.Runtime.Plans
open Legato.Runtime.Text.Training
open Legato.Runtime.Training

let private latent family scores =
    $"""{{ "model_type": "{family}", {sizes.Replace("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 4")}, "q_lora_rank": 24,
    "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 12, "first_k_dense_replace": 1,
    "n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 2, "moe_intermediate_size": 32, {scores} }}"""

let private yarn =
    "\"type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 16, \"mscale\": 0.707, \"mscale_all_dim\": 0.707"

let private latents = [
    "deepseek_v3",
    latent "deepseek_v3" "\"n_group\": 4, \"topk_group\": 2, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5"
    "deepseek_v2",
    latent
        "deepseek_v2"
        $"\"topk_method\": \"group_limited_greedy\", \"n_group\": 4, \"topk_group\": 2, \"routed_scaling_factor\": 1.5, \"rope_scaling\": {{ {yarn} }}"
    "no groups, no query rank",
    (latent "deepseek_v2" "\"topk_method\": \"greedy\"").Replace("\"q_lora_rank\": 24,", "\"q_lora_rank\": null,")
]

let private latentCases =
    latents |> List.map (fun (name, config) -> TestCaseData(config).SetArgDisplayNames name)

let private copy (tensor: StoredTensor) name (shape: int64 list) (values: float32[]) =
    TensorToWrite(
        name,
        tensor.Info.Type,
        Array.ofList shape,
        fun stream -> stream.Write(Runtime.InteropServices.MemoryMarshal.AsBytes(ReadOnlySpan values))
    )

/// A file's metadata, each entry as it is to be.
let private metadata (held: GgufFile) (changed: string -> obj -> (string * obj) list) = [
    for key in held.Metadata.Keys do
        for key, value in changed key (held.Metadata.Scalar key) do
            Collections.Generic.KeyValuePair(key, value)
]

/// As the writer takes a value.
let private written (value: obj) : obj =
    match value with
    | :? uint64 as n -> uint32 n
    | :? float as x -> float32 x
    | other -> other

/// The same file with blocks that tell later tokens, of which it says that there are so many.
let private withLaterBlocks count (said: int) (file: string) (longer: string) =
    use held = new GgufFile(file)

    let copied (name: string) into =
        copy (held.Find name) into (List.ofSeq (held.Find name).Info.Shape) (held.Singles name)

    let tensors = [
        for name in held.Names do
            copied name name

            if name.StartsWith "blk.1." then
                for later in 1..count do
                    copied name (name.Replace("blk.1.", $"blk.{1 + later}."))

        for later in 1..count do
            let norm = held.Find "output_norm.weight"

            for name in [ "eh_proj"; "embed_tokens"; "enorm"; "hnorm"; "shared_head_head"; "shared_head_norm" ] do
                copy norm $"blk.{1 + later}.nextn.{name}.weight" [ 64L ] (Array.create 64 1.0f)
    ]

    let changed (key: string) (value: obj) =
        match key with
        | "deepseek2.block_count" -> [
            key, box (uint32 (2 + count))
            "deepseek2.nextn_predict_layers", box (uint32 said)
          ]
        | _ when isNull value -> []
        | _ -> [ key, written value ]

    GgufWriter.Write(longer, metadata held changed, tensors)

/// The same file as it was written before heads had matrices of their own: keys' and values' rows head by head in one, and
/// no keys of metadata for heads as they are expanded.
let private withOneExpansion (file: string) (older: string) =
    use held = new GgufFile(file)
    let heads, rank, plain, value = 4, 16, 8, 12

    let expansion layer =
        let keys, values =
            held.Singles $"blk.{layer}.attn_k_b.weight", held.Singles $"blk.{layer}.attn_v_b.weight"

        [|
            for head in 0 .. heads - 1 do
                for row in 0 .. plain - 1 do
                    for column in 0 .. rank - 1 -> keys[(head * rank + column) * plain + row]

                yield! values[head * value * rank .. (head + 1) * value * rank - 1]
        |]

    let tensors = [
        for name in held.Names do
            let tensor = held.Find name
            let shape = List.ofSeq tensor.Info.Shape

            if name.EndsWith "attn_k_b.weight" then
                let layer = int (name.Split('.')[1])
                let rows = int64 (heads * (plain + value))
                copy tensor $"blk.{layer}.attn_kv_b.weight" [ rows; int64 rank ] (expansion layer)
            elif not (name.EndsWith "attn_v_b.weight") then
                copy tensor name shape (held.Singles name)
    ]

    let changed (key: string) (value: obj) : (string * obj) list =
        match key.Replace("deepseek2.attention.", "") with
        | "key_length_mla"
        | "value_length_mla" -> []
        | "head_count_kv" -> [ key, box 4u ]
        | "key_length" -> [ key, box 12u ]
        | "value_length" -> [ key, box 12u ]
        | _ when isNull value -> []
        | _ -> [ key, written value ]

    GgufWriter.Write(older, metadata held changed, tensors)

[<TestCaseSource(nameof latentCases)>]
let ``latent attention goes to GGUF and back, each head's matrices apart or together`` (config: string) =
    inFolder (fun home ->
        let folder, file, older =
            Path.Combine(home, "m"), Path.Combine(home, "m.gguf"), Path.Combine(home, "older.gguf")

        made (Families.ofConfig config) folder
        succeeds [ "convert"; folder; "--out"; file ] |> ignore
        use held = new GgufFile(file)
        let shape name = List.ofSeq (held.Find(name: string).Info.Shape)
        Assert.That(shape "blk.1.attn_k_b.weight", Is.EqualTo<int64 list> [ 4L; 16L; 8L ])
        Assert.That(shape "blk.0.attn_v_b.weight", Is.EqualTo<int64 list> [ 4L; 12L; 16L ])
        Assert.That(held.Metadata.Scalar "deepseek2.attention.key_length_mla", Is.EqualTo 12UL)
        Assert.That(held.Metadata.Scalar "deepseek2.attention.key_length", Is.EqualTo 20UL)
        // Row 5 of head 2's keys.
        use stored = new CheckpointFolder(folder)
        let expansion = stored.Find "model.layers.1.self_attn.kv_b_proj.weight"
        let row = expansion.Elements(int64 ((2 * 20 + 5) * 16), 16, Span.Empty).ToArray()
        let keys = held.Singles "blk.1.attn_k_b.weight"

        Assert.That(
            [| for column in 0..15 -> keys[(2 * 16 + column) * 8 + 5] |],
            Is.EqualTo<float32[]>(Array.chunkBySize 4 row |> Array.map BitConverter.ToSingle)
        )

        withOneExpansion file older

        for gguf in [ file; older ] do
            let back = gguf + ".back"
            succeeds [ "convert"; gguf; "--out"; back ] |> ignore
            Assert.That((weights back = weights folder), "the files differ")
            Assert.That(logits gguf, Is.EqualTo<float32[]>(logits folder)))

[<Test>]
let ``DeepSeek speaks from GGUF as from its folder`` () =
    inFolder (fun home ->
        let folder, file = Path.Combine(home, "m"), Path.Combine(home, "m.gguf")
        Directory.CreateDirectory folder |> ignore
        withTokenizer "deepseek_v3" folder
        succeeds [ "convert"; folder; "--out"; file ] |> ignore
        Assert.That(spoken file, Is.EqualTo(spoken folder))
        Assert.That(logits file, Is.EqualTo<float32[]>(logits (checkpoint "deepseek_v3"))))

[<Test>]
let ``blocks that tell later tokens are left out, and it is said`` ([<Values(1, 2)>] count: int) =
    inFolder (fun home ->
        let folder, file, longer =
            Path.Combine(home, "m"), Path.Combine(home, "m.gguf"), Path.Combine(home, "longer.gguf")

        made (Families.ofConfig (List.head latents |> snd)) folder
        succeeds [ "convert"; folder; "--out"; file ] |> ignore
        withLaterBlocks count count file longer
        Assert.That(logits longer, Is.EqualTo<float32[]>(logits folder))
        let back = longer + ".back"
        let outcome = Invocation.legato [ "convert"; longer; "--out"; back ]
        Assert.That(outcome.ExitCode, Is.Zero, outcome.Errors)
        Assert.That(outcome.Errors, Does.Contain "later tokens are left out")
        Assert.That((weights back = weights folder), "the files differ"))

[<Test>]
let ``as many blocks that tell later tokens as there are blocks are refused`` () =
    inFolder (fun home ->
        let folder, file, longer =
            Path.Combine(home, "m"), Path.Combine(home, "m.gguf"), Path.Combine(home, "longer.gguf")

        made (Families.ofConfig (List.head latents |> snd)) folder
        succeeds [ "convert"; folder; "--out"; file ] |> ignore
        withLaterBlocks 1 3 file longer
        let outcome = Invocation.legato [ "inspect"; longer ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain "deepseek2.nextn_predict_layers"))
