/// `legato export`, `legato convert` and `legato verify --round-trip`: what is written is what was read.
module Legato.Tests.ConversionTests

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

/// What GGUF has names for.
let private models = [ "gpt2"; "llama"; "llama3_rope"; "qwen2"; "qwen3"; "mixtral"; "phi3"; "gpt_oss" ]

[<TestCaseSource(nameof models)>]
let ``float32 goes to GGUF and back without a changed bit`` (name: string) =
    inFolder (fun folder ->
        let file, back = Path.Combine(folder, "m.gguf"), Path.Combine(folder, "back")
        succeeds [ "convert"; checkpoint name; "--out"; file ] |> ignore
        succeeds [ "convert"; file; "--out"; back ] |> ignore
        Assert.That((weights back = weights (checkpoint name)), "the files differ")
        Assert.That(logits file, Is.EqualTo<float32[]>(logits (checkpoint name)))
        File.Copy(Path.Combine(checkpoint name, "expected.safetensors"), Path.Combine(back, "expected.safetensors"))
        succeeds [ "verify"; back ] |> ignore)

[<Test>]
let ``layers for training alone are exported where they are there, and missed by none but training`` () =
    inFolder (fun folder ->
        let whole, copy, without =
            Path.Combine(folder, "whole"), Path.Combine(folder, "copy"), Path.Combine(folder, "without")

        let config = FamilyForetellingTests.config 1
        made (Families.toTrain config) whole
        succeeds [ "export"; whole; "--out"; copy ] |> ignore
        Assert.That((weights copy = weights whole), "the files differ")
        made (Families.ofConfig config) without
        succeeds [ "verify"; "--round-trip"; without ] |> ignore
        let words = [ "train"; without; "--tokenizer"; "bytes"; "--out"; Path.Combine(folder, "run"); "--quiet" ]
        let refused = Invocation.legato words
        Assert.That(refused.ExitCode, Is.EqualTo 2)
        Assert.That(refused.Errors, Does.Contain "--set num_nextn_predict_layers=0")
        TokenizerTrainer.Train(TokenizerKind.Character, [ "abcdefghij" ]).Save without
        let spoken = Invocation.legato [ "generate"; without; "--prompt"; "a"; "--max-tokens"; "2"; "--greedy" ]
        Assert.That(spoken.ExitCode, Is.Zero, spoken.Errors)
        Assert.That(spoken.Errors, Does.Contain "the model speaks without"))

let private mixtures = [
    TestCaseData(
        $"""{{ "model_type": "qwen2_moe", {sizes}, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 64, "tie_word_embeddings": true }}"""
    )
        .SetArgDisplayNames
        "qwen2_moe"
    TestCaseData(
        $"""{{ "model_type": "qwen3_moe", {sizes}, "head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 32, "norm_topk_prob": true }}"""
    )
        .SetArgDisplayNames
        "qwen3_moe"
]

[<TestCaseSource(nameof mixtures)>]
let ``a mixture goes to GGUF and back without a changed bit`` (config: string) =
    inFolder (fun home ->
        let folder, file, back =
            Path.Combine(home, "m"), Path.Combine(home, "m.gguf"), Path.Combine(home, "back")

        made (Families.ofConfig config) folder
        succeeds [ "convert"; folder; "--out"; file ] |> ignore
        use tensors = new GgufFile(file)
        let experts = tensors.Find("blk.1.ffn_gate_exps.weight").Info.Shape
        Assert.That(List.ofSeq experts, Is.EqualTo<int64 list> [ 4L; 32L; 64L ])
        succeeds [ "convert"; file; "--out"; back ] |> ignore
        Assert.That((weights back = weights folder), "the files differ")
        Assert.That(logits file, Is.EqualTo<float32[]>(logits folder)))

let private gemma = $"""{{ "model_type": "gemma", {sizes}, "head_dim": 16 }}"""

/// Gains of norms count from one there and from zero in GGUF: the sums are rounded, all else is exact.
let private keepsGemma home folder =
    let file, back = Path.Combine(home, "m.gguf"), Path.Combine(home, "back")
    succeeds [ "convert"; folder; "--out"; file ] |> ignore
    succeeds [ "convert"; file; "--out"; back ] |> ignore
    use before = new CheckpointFolder(folder)
    use after = new CheckpointFolder(back)
    use held = new GgufFile(file)
    Assert.That(after.Names, Is.EquivalentTo before.Names)

    let floats (tensor: StoredTensor) =
        let bytes = tensor.File.Span(tensor.Info.Offset, int tensor.Info.Bytes).ToArray()
        Array.chunkBySize 4 bytes |> Array.map BitConverter.ToSingle

    for name in before.Names do
        let isGain = name.EndsWith "norm.weight"

        for a, b in Array.zip (floats (before.Find name)) (floats (after.Find name)) do
            Assert.That(b, Is.EqualTo(a).Within(if isGain then 1.2e-7 else 0.0), name)

    let gain = floats (before.Find "model.norm.weight")
    Assert.That(held.Singles "output_norm.weight", Is.EqualTo<float32[]>(gain |> Array.map (fun g -> g + 1.0f)))

    for a, b in Array.zip (logits folder) (logits file) do
        Assert.That(b, Is.EqualTo(a).Within 1e-5)

[<Test>]
let ``Gemma goes to GGUF and back`` () =
    inFolder (fun home ->
        made (Families.ofConfig gemma) (Path.Combine(home, "m"))
        keepsGemma home (Path.Combine(home, "m")))

let private gemma3 =
    $"""{{ "model_type": "gemma3_text", {sizes.Replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 7")}, "head_dim": 16, "sliding_window": 4,
    "query_pre_attn_scalar": 16, "rope_scaling": {{ "rope_type": "linear", "factor": 8.0 }}, "rope_theta": 1000000.0 }}"""

[<Test>]
let ``Gemma 3 goes to GGUF and back`` () =
    inFolder (fun home ->
        made (Families.ofConfig gemma3) (Path.Combine(home, "m"))
        keepsGemma home (Path.Combine(home, "m"))
        let config = JsonNode.Parse(File.ReadAllText(Path.Combine(home, "back", "config.json")))

        Assert.That(
            config["layer_types"].AsArray() |> Seq.map string |> Seq.countBy id |> Seq.sort |> List.ofSeq,
            Is.EqualTo<(string * int) list> [ "full_attention", 1; "sliding_attention", 6 ]
        ))

let private factors value = String.Join(", ", List.replicate 8 value)

let private longRope =
    $"""{{ "model_type": "phi3", {sizes}, "rms_norm_eps": 1e-5, "sliding_window": null, "original_max_position_embeddings": 32,
    "rope_scaling": {{ "type": "longrope", "short_factor": [{factors "1.25"}], "long_factor": [{factors "2.5"}] }} }}"""

[<Test>]
let ``LongRoPE's divisors go to GGUF and back`` () =
    inFolder (fun home ->
        let folder, file, back =
            Path.Combine(home, "m"), Path.Combine(home, "m.gguf"), Path.Combine(home, "back")

        made (Families.ofConfig longRope) folder
        succeeds [ "convert"; folder; "--out"; file ] |> ignore
        succeeds [ "convert"; file; "--out"; back ] |> ignore
        Assert.That((weights back = weights folder), "the files differ")
        Assert.That(logits file, Is.EqualTo<float32[]>(logits folder))
        use held = new GgufFile(file)
        Assert.That(held.Singles "rope_factors_long.weight", Is.EqualTo<float32[]>(Array.replicate 8 2.5f)))

[<Test>]
let ``Gemma 2 goes to GGUF and back`` () = inFolder (fun home -> keepsGemma home (checkpoint "gemma2"))

let private unsaid = [
    TestCaseData("mixtral", "\"sliding_window\": null", "\"sliding_window\": 8", "sliding_window = null")
    TestCaseData(
        "gemma2",
        "\"query_pre_attn_scalar\": 16",
        "\"query_pre_attn_scalar\": 64",
        "query_pre_attn_scalar = 16"
    )
    TestCaseData(
        "gemma2",
        "\"final_logit_softcapping\": 30.0",
        "\"final_logit_softcapping\": null",
        "final_logit_softcapping off"
    )
    TestCaseData("phi3", "\"partial_rotary_factor\": 1.0", "\"partial_rotary_factor\": 0.5", "0.5 of one")
]

[<TestCaseSource(nameof unsaid)>]
let ``what GGUF can't say is refused`` (name: string) (before: string) (after: string) (part: string) =
    inFolder (fun home ->
        File.Copy(Path.Combine(checkpoint name, "model.safetensors"), Path.Combine(home, "model.safetensors"))
        let config = File.ReadAllText(Path.Combine(checkpoint name, "config.json"))
        Assert.That(config, Does.Contain before)
        File.WriteAllText(Path.Combine(home, "config.json"), config.Replace(before, after))
        let outcome = Invocation.legato [ "convert"; home; "--out"; Path.Combine(home, "m.gguf") ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain(part).And.Contain(Path.Combine(home, "config.json"))))

/// How far the logits of a file are from those of its original, as a share of the largest.
let private loss name file =
    let exact = logits (checkpoint name)
    let difference = Array.map2 Comparison.between exact (logits file) |> Comparison.largest
    difference / float (exact |> Array.map abs |> Array.max)

let private matrices (folder: string) =
    use tensors = new CheckpointFolder(folder)

    [
        for name in Seq.sort tensors.Names do
            let tensor = tensors.Find name

            let staysWide = [ "wpe"; "moe.gate."; "router."; "_bias" ] |> List.exists name.Contains

            if tensor.Info.Shape.Count = 2 && not staysWide then
                name, tensor.File.Span(tensor.Info.Offset, int tensor.Info.Bytes).ToArray()
    ]

[<TestCaseSource(nameof models)>]
let ``halves in GGUF are those of safetensors`` (name: string) =
    inFolder (fun folder ->
        let file, back, other =
            Path.Combine(folder, "m.gguf"), Path.Combine(folder, "back"), Path.Combine(folder, "other")

        succeeds [ "convert"; checkpoint name; "--out"; file; "--precision"; "fp16" ] |> ignore
        succeeds [ "convert"; file; "--out"; back ] |> ignore
        succeeds [ "convert"; checkpoint name; "--out"; other; "--precision"; "fp16" ] |> ignore
        Assert.That((matrices back = matrices other), "the matrices differ")
        Assert.That(loss name file, Is.LessThan(2e-3).And.GreaterThan 0.0))

[<TestCaseSource(nameof models)>]
let ``eight bits lose little`` (name: string) =
    inFolder (fun folder ->
        let file = Path.Combine(folder, "m.gguf")
        succeeds [ "convert"; checkpoint name; "--out"; file; "--precision"; "q8" ] |> ignore
        Assert.That(loss name file, Is.LessThan(0.05).And.GreaterThan 0.0)
        Assert.That(succeeds [ "inspect"; file ], Does.Contain "tensors of Q8_0"))

let private shared = [
    "bert"
    "bloom"
    "deepseek_v3"
    "gemma2"
    "gpt2"
    "gpt_neox"
    "gpt_oss"
    "llama"
    "llama3_rope"
    "mistral"
    "mixtral"
    "opt"
    "phi3"
    "qwen2"
    "qwen3"
    "t5"
]

[<TestCaseSource(nameof shared)>]
let ``import and export give the same bytes`` (name: string) =
    let folder = Repository.shared $"goldens/{name}"
    let family = Families.modelType (File.ReadAllText(Path.Combine(folder, "config.json")))

    if Families.all |> List.forall (fun (known, _) -> known <> family) then
        Assert.Ignore $"the family {family} is not known yet"

    inFolder (fun home ->
        let copy = Path.Combine(home, "copy")
        succeeds [ "export"; folder; "--out"; copy ] |> ignore
        Assert.That((weights copy = weights folder), "the files differ")
        let config folder = File.ReadAllText(Path.Combine(folder, "config.json"))
        Assert.That(config copy, Is.EqualTo(config folder)))

[<TestCaseSource(nameof shared)>]
let ``a round trip is judged bit for bit`` (name: string) =
    let output = succeeds [ "verify"; checkpoint name; "--round-trip" ]
    Assert.That(output, Does.Contain("logits").And.Contain("tensors").And.Not.Contain "differs")

[<TestCaseSource(nameof models)>]
let ``a GGUF file speaks as its folder does`` (name: string) =
    inFolder (fun home ->
        let folder, file, back =
            Path.Combine(home, "m"), Path.Combine(home, "m.gguf"), Path.Combine(home, "back")

        Directory.CreateDirectory folder |> ignore
        withTokenizer name folder
        succeeds [ "convert"; folder; "--out"; file ] |> ignore
        succeeds [ "convert"; file; "--out"; back ] |> ignore
        Assert.That(spoken file, Is.EqualTo(spoken folder))
        Assert.That(spoken back, Is.EqualTo(spoken folder)))

[<Test>]
let ``an export is cut into shards and takes the tokenizer along`` () =
    inFolder (fun home ->
        let folder, copy = Path.Combine(home, "m"), Path.Combine(home, "copy")
        Directory.CreateDirectory folder |> ignore
        withTokenizer "llama" folder
        let words = [ "export"; folder; "--out"; copy; "--precision"; "bf16"; "--shard-size"; "100000" ]
        succeeds words |> ignore
        let files = Directory.GetFiles copy |> Array.map Path.GetFileName

        Assert.That(
            files,
            Does.Contain("model.safetensors.index.json").And.Contain("tokenizer.json").And.Contain
                "model-00001-of-00003.safetensors"
        )

        let config = JsonNode.Parse(File.ReadAllText(Path.Combine(copy, "config.json")))
        Assert.That(string config["dtype"], Is.EqualTo "bfloat16")
        Assert.That(spoken copy, Is.Not.Empty))

let private mistakes = [
    TestCaseData([ "export"; "gpt2-124m"; "--out"; "x" ], "no weights").SetArgDisplayNames "a preset"
    TestCaseData([ "export"; checkpoint "llama" ], "--out is not given").SetArgDisplayNames "no place"
    TestCaseData([ "export"; checkpoint "llama"; "--out"; checkpoint "gpt2" ], "something already").SetArgDisplayNames
        "a place that is taken"
    TestCaseData([ "convert"; checkpoint "llama"; "--out"; "x"; "--precision"; "q8" ], "q8").SetArgDisplayNames
        "blocks in a folder"
    TestCaseData([ "generate"; "nowhere.gguf" ], "nowhere.gguf").SetArgDisplayNames "no such file"
    TestCaseData([ "train"; "nowhere.gguf"; "--steps"; "1" ], "nowhere.gguf").SetArgDisplayNames "training from GGUF"
]

[<TestCaseSource(nameof mistakes)>]
let ``a mistake ends with 2 and its remedy`` (words: string list) (part: string) =
    let outcome = Invocation.legato words
    Assert.That(outcome.ExitCode, Is.EqualTo 2, outcome.Output)
    Assert.That(outcome.Errors, Does.Contain(part).And.Contain "remedy: ")

[<Test>]
let ``a file of another architecture is refused by name`` () =
    inFolder (fun folder ->
        let file = Path.Combine(folder, "m.gguf")
        let entry (key, value: obj) = Collections.Generic.KeyValuePair(key, value)

        let tensor =
            TensorToWrite(
                "token_embd.weight",
                TensorType.F32,
                [| 4L; 2L |],
                fun stream -> stream.Write(ReadOnlySpan(Array.zeroCreate<byte> 32))
            )

        GgufWriter.Write(file, [ entry ("general.architecture", "rwkv6") ], [ tensor ])
        let outcome = Invocation.legato [ "inspect"; file ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain "'rwkv6'"))

/// The ways in which a folder holds a tokenizer, made of one that is written as tokenizer.json.
let private layouts = [
    TestCaseData([ "vocab.json"; "merges.txt" ], true).SetArgDisplayNames "GPT-2's two files"
    TestCaseData([ "encoder.json"; "vocab.bpe" ], true).SetArgDisplayNames "GPT-2's first two files"
    TestCaseData([ "vocab.txt" ], true).SetArgDisplayNames "BERT's vocabulary"
    TestCaseData([ "tokenizer.json.gz" ], true).SetArgDisplayNames "a packed tokenizer.json"
    TestCaseData([ "some.tiktoken" ], false).SetArgDisplayNames "ranks without a pattern"
]

let private tokenizerFile (name: string) : byte[] =
    let letters = [ 'a' .. 'z' ] |> List.map string

    let words pieces =
        let entries = pieces |> List.mapi (fun id piece -> $"\"{piece}\": {id}")
        "{" + String.Join(", ", entries) + "}"

    match name with
    | "vocab.json"
    | "encoder.json" -> Text.Encoding.UTF8.GetBytes(words (letters @ [ "ab"; "<|endoftext|>" ]))
    | "merges.txt"
    | "vocab.bpe" -> "#version: 0.2\na b\n"B
    | "vocab.txt" ->
        Text.Encoding.UTF8.GetBytes(String.Join("\n", [ "[PAD]"; "[UNK]"; "[CLS]"; "[SEP]"; "[MASK]" ] @ letters))
    | "some.tiktoken" ->
        let lines = [ for i in 0..255 -> $"{Convert.ToBase64String [| byte i |]} {i}" ]
        Text.Encoding.UTF8.GetBytes(String.Join("\n", lines) + "\n")
    | _ ->
        let folder = Directory.CreateTempSubdirectory "legato-tokenizer-"
        TokenizerTrainer.Train(TokenizerKind.Byte, []).Save folder.FullName
        let bytes = File.ReadAllBytes(Path.Combine(folder.FullName, "tokenizer.json"))
        folder.Delete true
        use packed = new MemoryStream()

        do
            use stream = new Compression.GZipStream(packed, Compression.CompressionMode.Compress)
            stream.Write(bytes, 0, bytes.Length)

        packed.ToArray()

[<TestCaseSource(nameof layouts)>]
let ``no tokenizer is lost on the way, whatever files hold it`` (names: string list) (isHeld: bool) =
    inFolder (fun home ->
        let folder, copy = Path.Combine(home, "m"), Path.Combine(home, "copy")
        let file, back = Path.Combine(home, "m.gguf"), Path.Combine(home, "back")
        made (Families.ofConfig $"""{{ "model_type": "llama", {sizes} }}""") folder

        for name in names do
            File.WriteAllBytes(Path.Combine(folder, name), tokenizerFile name)

        succeeds [ "export"; folder; "--out"; copy + "/" ] |> ignore

        for name in names do
            Assert.That((File.ReadAllBytes(Path.Combine(copy, name)) = tokenizerFile name), name)

        let converted = Invocation.legato [ "convert"; folder; "--out"; file ]
        Assert.That(converted.ExitCode, Is.Zero, converted.Errors)
        Assert.That(converted.Errors.Contains "without the folder's tokenizer", Is.EqualTo(not isHeld))

        if isHeld then
            succeeds [ "convert"; file; "--out"; back ] |> ignore
            let hash (path: string) = Legato.Runtime.Text.Tokenizer.Load(path).Hash
            Assert.That(hash back, Is.EqualTo(hash folder)))

[<Test>]
let ``a name with a slash at its end is a folder's`` () =
    inFolder (fun home ->
        let copy = Path.Combine(home, "copy")
        succeeds [ "export"; checkpoint "llama"; "--out"; copy + "/" ] |> ignore
        Assert.That(Directory.GetFileSystemEntries home, Is.EqualTo<string[]> [| copy |])
        Assert.That(Path.Combine(copy, "config.json"), Does.Exist)

        let write () = AtomicWrite.Text(Path.Combine(home, "file/"), "text")
        let isRefused = Throws.TypeOf<Legato.Runtime.LegatoException>().With.Message.Contains "without a slash"
        Assert.That(Action write, isRefused))

[<Test>]
let ``a folder with a file's name is told as one`` () =
    inFolder (fun home ->
        let folder = Path.Combine(home, "m.gguf")
        Directory.CreateDirectory folder |> ignore
        let outcome = Invocation.legato [ "inspect"; folder ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain("this is a folder").And.Contain "remedy: "))

[<TestCase("tokenizer.json"); TestCase("tokenizer_config.json"); TestCase("generation_config.json")>]
let ``a file that is cut short is not copied`` (name: string) =
    inFolder (fun home ->
        let folder, copy = Path.Combine(home, "m"), Path.Combine(home, "copy")
        Directory.CreateDirectory folder |> ignore
        withTokenizer "llama" folder
        File.WriteAllText(Path.Combine(folder, name), "{ \"version\":")
        let outcome = Invocation.legato [ "export"; folder; "--out"; copy ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain("the file is no JSON").And.Contain(Path.Combine(folder, name)))
        Assert.That(copy, Does.Not.Exist))

[<Test>]
let ``of a tokenizer that Legato can't read an export says so and copies it`` () =
    inFolder (fun home ->
        let folder, copy = Path.Combine(home, "m"), Path.Combine(home, "copy")
        Directory.CreateDirectory folder |> ignore
        withTokenizer "llama" folder
        let foreign = "{ \"model\": { \"type\": \"Syllables\" } }"
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), foreign)
        let outcome = Invocation.legato [ "export"; folder; "--out"; copy ]
        Assert.That(outcome.ExitCode, Is.Zero, outcome.Errors)
        Assert.That(outcome.Errors, Does.Contain("Legato can't read it").And.Contain "Syllables")
        Assert.That(File.ReadAllText(Path.Combine(copy, "tokenizer.json")), Is.EqualTo foreign))

/// The reference checkpoint with a number of one of its tensors replaced.
let private withNumber (name: string) (value: float32) folder =
    Directory.CreateDirectory folder |> ignore
    withTokenizer "llama" folder
    let path = Path.Combine(folder, "model.safetensors")

    let place =
        use file = new SafetensorsFile(path)
        int (file.Get name).Offset

    let bytes = File.ReadAllBytes path
    BitConverter.TryWriteBytes(bytes.AsSpan place, value) |> ignore
    File.WriteAllBytes(path, bytes)

let private spoilt = "model.layers.0.mlp.up_proj.weight"

[<TestCase("copy", "fp32"); TestCase("copy", "fp16"); TestCase("copy.gguf", "q8"); TestCase("copy.gguf", "bf16")>]
let ``weights that aren't finite are written with a note`` (name: string) (precision: string) =
    inFolder (fun home ->
        let folder = Path.Combine(home, "m")
        withNumber spoilt nanf folder
        let words = [ "convert"; folder; "--out"; Path.Combine(home, name); "--precision"; precision ]
        let outcome = Invocation.legato words
        Assert.That(outcome.ExitCode, Is.Zero, outcome.Errors)
        Assert.That(outcome.Errors, Does.Contain $"note: tensor '{spoilt}' holds NaN or infinities"))

[<Test>]
let ``numbers that a type can't hold are refused`` () =
    inFolder (fun home ->
        let folder, copy = Path.Combine(home, "m"), Path.Combine(home, "copy")
        withNumber spoilt 70000.0f folder
        let convert precision = Invocation.legato [ "convert"; folder; "--out"; copy; "--precision"; precision ]
        let refused = convert "fp16"
        Assert.That(refused.ExitCode, Is.EqualTo 2)

        Assert.That(
            refused.Errors,
            Does.Contain($"'{spoilt}' holds numbers too large for fp16").And.Contain "choose bf16 or fp32"
        )

        Assert.That(copy, Does.Not.Exist)
        let written = convert "bf16"
        Assert.That(written.ExitCode, Is.Zero, written.Errors)
        Assert.That(written.Errors, Does.Not.Contain "infinities"))
