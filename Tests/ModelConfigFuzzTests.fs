/// Damaged configs give a model or a typed error: never a crash, a hang, or memory without bounds.
module Legato.Tests.ModelConfigFuzzTests

open System
open System.IO
open System.Text
open NUnit.Framework
open Legato.Cli
open Legato.Dsl
open Legato.Models
open Legato.Runtime
open Legato.Runtime.Checkpoints

/// Bytes that reading a config may allocate.
let private allowance = 64L <<< 20

let private values = [
    "0"
    "-1"
    "1e400"
    "2147483647"
    "99999999999999999999"
    "0.5"
    "null"
    "true"
    "\"x\""
    "[]"
    "{}"
    "[1, 2]"
    String.replicate 500 "["
    String.replicate 300 "{\"a\":"
]

/// One value becomes another, or bytes are changed, dropped or doubled.
let private mutate (text: string) (random: Random) =
    let colons = [
        for i in 0 .. text.Length - 1 do
            if text[i] = ':' then
                i
    ]

    if random.Next 2 = 0 then
        let at = 1 + colons[random.Next colons.Length]
        let stop = text.IndexOfAny([| ','; '\n'; '}' |], at)
        text[.. at - 1] + values[random.Next values.Length] + text[stop..]
    else
        let bytes = ResizeArray(Encoding.UTF8.GetBytes text)
        let at = random.Next bytes.Count
        let length = min (bytes.Count - at) (1 + random.Next 12)

        match random.Next 5 with
        | 0 -> bytes[at] <- byte (random.Next 256)
        | 1 -> bytes[at] <- bytes[at] ^^^ (1uy <<< random.Next 8)
        | 2 -> bytes.RemoveRange(at, length)
        | 3 -> bytes.InsertRange(at, bytes.GetRange(at, length))
        | _ -> bytes.RemoveRange(at, bytes.Count - at)

        Encoding.UTF8.GetString(bytes.ToArray())

let private seeds = [
    for name in [ "gpt2"; "llama"; "llama3_rope" ] ->
        File.ReadAllText(Path.Combine(Repository.root, "Tests", "Goldens", "checkpoints", name, "config.json"))
]

/// Whether a model comes of it; a mistake that is told as one is none of the reader's.
let private isSound (read: unit -> string) =
    try
        read () |> Families.ofConfig |> ModelDef.parameterCount |> ignore
        true
    with
    | ModelError _
    | :? LegatoException -> false

let private survives round (what: string) read =
    let before = GC.GetAllocatedBytesForCurrentThread()

    try
        let sound = isSound read
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan allowance, what)
        sound
    with error when not (error :? AssertionException) ->
        Assert.Fail $"round {round}: {error.GetType().Name}: {error.Message}\n{what}"
        false

let private fuzz count =
    let random = Random 29

    let sound =
        Seq.init count (fun i ->
            let text = mutate seeds[i % seeds.Length] random
            survives i text (fun () -> text))
        |> Seq.filter id
        |> Seq.length

    TestContext.Out.WriteLine $"{sound} of {count} damaged configs still gave a model"

let private latent =
    """{ "model_type": "deepseek_v3", "vocab_size": 4, "max_position_embeddings": 64, "hidden_size": 2, "intermediate_size": 4,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "q_lora_rank": 4, "kv_lora_rank": 4,
    "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "v_head_dim": 4, "first_k_dense_replace": 0, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "n_shared_experts": 1, "moe_intermediate_size": 4, "n_group": 2, "topk_group": 1,
    "rope_scaling": { "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "mscale": 1.0, "mscale_all_dim": 1.0 } }"""

/// A GGUF file that says all of a model, and holds its embedding.
let private gguf name config (path: string) =
    let metadata, constants = GgufModel.describe name config
    let rows = 4

    let tensor (name: string) (shape: int64[]) (values: float32[]) =
        let bytes = Array.collect (fun (x: float32) -> BitConverter.GetBytes x) values
        TensorToWrite(name, TensorType.F32, shape, fun stream -> stream.Write(bytes, 0, bytes.Length))

    let tensors = [
        tensor "token_embd.weight" [| int64 rows; 2L |] (Array.zeroCreate (2 * rows))
        for constant in constants do
            tensor constant.Key [| int64 constant.Value.Length |] constant.Value
    ]

    GgufWriter.Write(path, metadata, tensors)
    File.ReadAllBytes path

let private flip (bytes: byte[]) (random: Random) =
    let bytes = Array.copy bytes

    for _ in 0 .. random.Next 3 do
        let at = random.Next bytes.Length

        bytes[at] <-
            if random.Next 2 = 0 then
                byte (random.Next 256)
            else
                bytes[at] ^^^ (1uy <<< random.Next 8)

    if random.Next 8 = 0 then bytes[.. random.Next bytes.Length] else bytes

let private fuzzGguf count =
    let folder = Directory.CreateTempSubdirectory "legato-fuzz-"
    let path = Path.Combine(folder.FullName, "m.gguf")

    try
        let seeds = [ for i, config in List.indexed (latent :: seeds) -> gguf $"model {i}" config path ]
        let random = Random 31

        let sound =
            Seq.init count (fun i ->
                File.WriteAllBytes(path, flip seeds[i % seeds.Length] random)
                survives i $"file {i}" (fun () -> GgufModel.config path))
            |> Seq.filter id
            |> Seq.length

        TestContext.Out.WriteLine $"{sound} of {count} damaged files still gave a model"
    finally
        folder.Delete true

[<Test>]
let ``damaged configs`` () = fuzz 300

[<Test; Category "Heavy">]
let ``many damaged configs`` () = fuzz 10_000

[<Test>]
let ``damaged GGUF metadata`` () = fuzzGguf 300

[<Test; Category "Heavy">]
let ``much damaged GGUF metadata`` () = fuzzGguf 10_000
