using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using Legato.Runtime;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Plans;
using Legato.Runtime.Text;
using Legato.Runtime.Text.Training;
using NUnit.Framework;

namespace Legato.Tests;

public sealed class CheckpointTests
{
    private readonly TemporaryFolder folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => folder.Dispose();

    private static PlanParameter Parameter(string path, params long[] sizes) =>
        new(path, [.. sizes.Select((s, i) => new PlanAxis($"axis{i}", s))], new Initializer(InitializerKind.Zeros, 0), true, []);

    private static ModelDescription Model(PlanParameter[] parameters, WeightSource[] sources, string[]? prefixes = null, string[]? ignored = null) =>
        new("test", "{}", 256, 64, null, [], parameters, new WeightMap(sources, prefixes ?? [""], ignored ?? []));

    private static readonly ModelDescription Small = Model(
        [Parameter("wte", 4, 3), Parameter("blocks.q", 2, 3, 2, 1), Parameter("blocks.k", 2, 3, 2), Parameter("blocks.up", 2, 3, 5), Parameter("norm", 3)],
        [
            new WeightSource("wte", "wte.weight"),
            new WeightSource("blocks.q", "h.{0}.qk.weight", Part: new WeightPart(1, 0, 2), Grouping: [1, 2]),
            new WeightSource("blocks.k", "h.{0}.qk.weight", Part: new WeightPart(1, 2, 2)),
            new WeightSource("blocks.up", "h.{0}.up.weight", Transposed: true),
            new WeightSource("norm", "norm.weight"),
        ],
        ["transformer.", ""],
        ["h.{0}.mask", "lm_head.weight"]);

    private static Dictionary<string, float[]> SmallTensors(string prefix) => new()
    {
        [prefix + "wte.weight"] = Numbers(12, 0),
        [prefix + "h.0.qk.weight"] = Numbers(12, 100),
        [prefix + "h.1.qk.weight"] = Numbers(12, 200),
        [prefix + "h.0.up.weight"] = Numbers(15, 300),
        [prefix + "h.1.up.weight"] = Numbers(15, 400),
        [prefix + "norm.weight"] = Numbers(3, 500),
    };

    private static readonly Dictionary<string, long[]> SmallShapes = new()
    {
        ["wte.weight"] = [4, 3],
        ["qk.weight"] = [3, 4],
        ["up.weight"] = [5, 3],
        ["norm.weight"] = [3],
        ["mask"] = [2],
    };

    [TestCase("transformer.")]
    [TestCase("")]
    public void SlicesTranspositionsAndStacksFindTheirPlaces(string prefix)
    {
        string path = Write("places" + prefix.Length, SmallTensors(prefix));
        var memory = new Memories(Small);

        HubCheckpoint.Load(path, Small, memory.Parameter);

        Assert.That(memory.Singles("wte"), Is.EqualTo(Numbers(12, 0)));
        Assert.That(memory.Singles("blocks.q"), Is.EqualTo(new float[] { 100, 101, 104, 105, 108, 109, 200, 201, 204, 205, 208, 209 }));
        Assert.That(memory.Singles("blocks.k"), Is.EqualTo(new float[] { 102, 103, 106, 107, 110, 111, 202, 203, 206, 207, 210, 211 }));
        Assert.That(memory.Singles("blocks.up")[..6], Is.EqualTo(new float[] { 300, 303, 306, 309, 312, 301 }));
        Assert.That(memory.Singles("blocks.up")[15], Is.EqualTo(400));
    }

    [Test]
    public void WhatIsWrittenIsWhatWasRead()
    {
        string path = Write("source", SmallTensors("transformer."));
        var memory = new Memories(Small);
        HubCheckpoint.Load(path, Small, memory.Parameter);
        string copy = folder.File("copy");
        Tokenizer tokenizer = TokenizerTrainer.Train(TokenizerKind.Byte, []);
        HubCheckpoint.Save(copy, Small, memory.Parameter, tokenizer);

        Assert.That(File.ReadAllBytes(Path.Combine(copy, "model.safetensors")), Is.EqualTo(File.ReadAllBytes(Path.Combine(path, "model.safetensors"))));
        Assert.That(File.ReadAllText(Path.Combine(copy, "config.json")), Is.EqualTo("{}"));
        Assert.That(Tokenizer.Load(copy).Hash, Is.EqualTo(tokenizer.Hash));
    }

    [Test]
    public void AModelWithoutATableKeepsItsOwnPaths()
    {
        ModelDescription model = Model([Parameter("layers.q", 2, 3)], []);
        var memory = new Memories(model);
        memory.Parameter("layers.q").Memory.Write(0, MemoryMarshal.AsBytes<float>(Numbers(6, 1)));
        string path = folder.File("plain");
        HubCheckpoint.Save(path, model, memory.Parameter);
        var loaded = new Memories(model);
        HubCheckpoint.Load(path, model, loaded.Parameter);

        Assert.That(loaded.Singles("layers.q"), Is.EqualTo(Numbers(6, 1)));
        using var file = new SafetensorsFile(Path.Combine(path, "model.safetensors"));
        Assert.That(file.Get("layers.q").Shape, Is.EqualTo(new long[] { 2, 3 }));
    }

    [Test]
    public void EveryMistakeIsListedAtOnce()
    {
        Dictionary<string, float[]> tensors = SmallTensors("");
        tensors.Remove("norm.weight");
        tensors.Remove("h.1.up.weight");
        tensors["h.0.mask"] = Numbers(2, 0);
        tensors["stray"] = Numbers(2, 0);
        string path = Write("mistakes", tensors, new() { ["wte.weight"] = [3, 4], ["stray"] = [2] });
        var memory = new Memories(Small);

        LegatoException error = Assert.Throws<LegatoException>(() => HubCheckpoint.Load(path, Small, memory.Parameter))!;

        Assert.That(error.What, Does.Contain("missing: norm.weight").And.Contain("missing: h.1.up.weight")
            .And.Contain("wrong shape: wte.weight is [3, 4], the model's is [4, 3]").And.Contain("unknown: stray")
            .And.Not.Contain("mask"));
        Assert.That(memory.Singles("blocks.q"), Is.All.Zero);
    }

    [Test]
    public void IntegersAreNoWeights()
    {
        ModelDescription model = Model([Parameter("a", 2)], [new WeightSource("a", "a")]);
        string path = folder.File("integers");
        Directory.CreateDirectory(path);
        SafetensorsWriter.Write(Path.Combine(path, "model.safetensors"), [new TensorToWrite("a", TensorType.I32, [2], s => s.Write(new byte[8]))]);

        Assert.That(
            () => HubCheckpoint.Load(path, model, new Memories(model).Parameter),
            Throws.TypeOf<LegatoException>().With.Message.Contains("wrong type: a holds I32"));
    }

    [TestCase(TensorType.F8E4M3, "F8_E4M3", new byte[] { 0x38, 0x7E, 0xB8, 0x01, 0x40, 0x30 }, new float[] { 1, 448, -1, 0.001953125f, 2, 0.5f })]
    [TestCase(TensorType.F8E5M2, "F8_E5M2", new byte[] { 0x3C, 0x7B, 0xBC, 0x01, 0x40, 0x38 }, new float[] { 1, 57344, -1, 0.0000152587890625f, 2, 0.5f })]
    public void EightBitFloatsAreReadFromAFile(TensorType type, string name, byte[] codes, float[] values)
    {
        ModelDescription model = Model(
            [Parameter("a", 2, 3), Parameter("b", 3, 2)], [new WeightSource("a", "a"), new WeightSource("b", "b", Transposed: true)]);
        string path = folder.File(name);
        Directory.CreateDirectory(path);
        SafetensorsWriter.Write(
            Path.Combine(path, "model.safetensors"), [.. new[] { "a", "b" }.Select(n => new TensorToWrite(n, type, [2, 3], s => s.Write(codes)))]);
        Assert.That(File.ReadAllText(Path.Combine(path, "model.safetensors")), Does.Contain($"\"{name}\""));

        var wide = new Memories(model);
        HubCheckpoint.Load(path, model, wide.Parameter);
        Assert.That(wide.Singles("a"), Is.EqualTo(values));
        Assert.That(wide.Singles("b"), Is.EqualTo(new[] { values[0], values[3], values[1], values[4], values[2], values[5] }));
        // Every eight-bit float is a bfloat16.
        var narrow = new Memories(model, ScalarType.BF16);
        HubCheckpoint.Load(path, model, narrow.Parameter);
        Assert.That(narrow.Singles("a"), Is.EqualTo(values));
    }

    [Test]
    public void ShardsAreOneCheckpoint()
    {
        string path = folder.File("shards");
        Directory.CreateDirectory(path);
        Dictionary<string, float[]> tensors = SmallTensors("");
        string[] names = [.. tensors.Keys];
        foreach ((string file, string[] part) in new[] { ("one.safetensors", names[..3]), ("two.safetensors", names[3..]) })
            SafetensorsWriter.Write(Path.Combine(path, file), part.Select(n => SafetensorsTests.Singles(n, Shape(n, null), tensors[n])));
        string index = string.Join(",", names.Select((n, i) => $"\"{n}\":\"{(i < 3 ? "one" : "two")}.safetensors\""));
        File.WriteAllText(Path.Combine(path, CheckpointFolder.IndexFile), $"{{\"weight_map\":{{{index}}}}}");
        var memory = new Memories(Small);

        HubCheckpoint.Load(path, Small, memory.Parameter);
        Assert.That(memory.Singles("norm"), Is.EqualTo(Numbers(3, 500)));

        File.Delete(Path.Combine(path, "two.safetensors"));
        Assert.That(
            () => HubCheckpoint.Load(path, Small, memory.Parameter),
            Throws.TypeOf<LegatoException>().With.Message.Contains("1 of 2 shards are missing: two.safetensors"));
    }

    [Test]
    public void LargeCheckpointsAreWrittenInShards()
    {
        string path = Write("whole", SmallTensors("transformer."));
        var memory = new Memories(Small);
        HubCheckpoint.Load(path, Small, memory.Parameter);
        string copy = folder.File("sharded");
        HubCheckpoint.Save(copy, Small, memory.Parameter, shardBytes: 100);

        Assert.That(Directory.GetFiles(copy, "*.safetensors").Select(Path.GetFileName).Order(), Is.EqualTo(
            new[] { "model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors", "model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors" }));
        using (JsonDocument index = JsonDocument.Parse(File.ReadAllText(Path.Combine(copy, CheckpointFolder.IndexFile))))
            Assert.That(index.RootElement.GetProperty("metadata").GetProperty("total_size").GetInt64(), Is.EqualTo(4 * 69));
        var loaded = new Memories(Small);
        HubCheckpoint.Load(copy, Small, loaded.Parameter);
        foreach (PlanParameter parameter in Small.Parameters)
            Assert.That(loaded.Singles(parameter.Path), Is.EqualTo(memory.Singles(parameter.Path)));

        HubCheckpoint.Save(copy, Small, memory.Parameter);
        Assert.That(Directory.GetFiles(copy).Select(Path.GetFileName).Order(), Is.EqualTo(new[] { "config.json", "model.safetensors" }));
    }

    [Test]
    public void RowsOfRotaryPairsFindTheirPlaces()
    {
        // Two heads of four rows: halves (0, 1), (2, 3) here; pairs (0, 2), (1, 3) there.
        PlanParameter[] parameters = [Parameter("q", 8, 2), Parameter("b", 8)];
        ModelDescription paired = Model(parameters, [new WeightSource("q", "q", PairedHeads: 2), new WeightSource("b", "b", PairedHeads: 2)]);
        ModelDescription plain = Model(parameters, [new WeightSource("q", "q"), new WeightSource("b", "b")]);
        var memory = new Memories(plain);
        memory.Parameter("q").Memory.Write(0, MemoryMarshal.AsBytes<float>(Numbers(16, 0)));
        memory.Parameter("b").Memory.Write(0, MemoryMarshal.AsBytes<float>(Numbers(8, 0)));
        string path = folder.File("paired");
        HubCheckpoint.Save(path, paired, memory.Parameter);

        using (var checkpoint = new CheckpointFolder(path))
        {
            Assert.That(GgufTests.Singles(checkpoint, "b"), Is.EqualTo(new float[] { 0, 2, 1, 3, 4, 6, 5, 7 }));
            Assert.That(GgufTests.Singles(checkpoint, "q"), Is.EqualTo(new float[] { 0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15 }));
        }
        var loaded = new Memories(paired);
        HubCheckpoint.Load(path, paired, loaded.Parameter);
        Assert.That(loaded.Singles("q"), Is.EqualTo(Numbers(16, 0)));
        Assert.That(loaded.Singles("b"), Is.EqualTo(Numbers(8, 0)));
    }

    [Test]
    public void ExpertsOfOneTensorFindTheirPlaces()
    {
        // Two layers of two experts: matrices of 3 x 2 here, in tensors [expert, 2, 6] there, whose columns they share by turns.
        PlanParameter[] parameters = [Parameter("gate", 2, 2, 3, 2), Parameter("up", 2, 2, 3, 2), Parameter("bias", 2, 2, 3), Parameter("down", 2, 2, 2, 3)];
        WeightPart Turn(int axis, long first) => new(axis, first, 1, 2);
        ModelDescription model = Model(parameters, [
            new WeightSource("gate", "h.{0}.gate_up", Transposed: true, Turn(1, 0), Grouping: [1, 1]),
            new WeightSource("up", "h.{0}.gate_up", Transposed: true, Turn(1, 1), Grouping: [1, 1]),
            new WeightSource("bias", "h.{0}.bias", Grouping: [1]),
            new WeightSource("down", "h.{0}.down", Grouping: [1, 1]),
        ]);
        var tensors = new Dictionary<string, float[]>();
        for (int layer = 0; layer < 2; layer++)
        {
            tensors[$"h.{layer}.gate_up"] = Numbers(24, 100 * layer);
            tensors[$"h.{layer}.bias"] = Numbers(6, 200 + 100 * layer);
            tensors[$"h.{layer}.down"] = Numbers(12, 300 + 100 * layer);
        }
        string path = folder.File("experts");
        Directory.CreateDirectory(path);
        long[] ShapeOf(string name) => name.EndsWith("gate_up") ? [2, 2, 6] : name.EndsWith("bias") ? [2, 3] : [2, 2, 3];
        SafetensorsWriter.Write(
            Path.Combine(path, "model.safetensors"), tensors.Select(t => SafetensorsTests.Singles(t.Key, ShapeOf(t.Key), t.Value)),
            new Dictionary<string, string> { ["format"] = "pt" });
        var memory = new Memories(model);
        HubCheckpoint.Load(path, model, memory.Parameter);

        Assert.That(memory.Singles("gate")[..12], Is.EqualTo(new float[] { 0, 6, 2, 8, 4, 10, 12, 18, 14, 20, 16, 22 }));
        Assert.That(memory.Singles("up")[12..18], Is.EqualTo(new float[] { 101, 107, 103, 109, 105, 111 }));
        Assert.That(memory.Singles("bias"), Is.EqualTo(Numbers(6, 200).Concat(Numbers(6, 300))));
        Assert.That(memory.Singles("down"), Is.EqualTo(Numbers(12, 300).Concat(Numbers(12, 400))));
        string copy = folder.File("experts-copy");
        HubCheckpoint.Save(copy, model, memory.Parameter);
        Assert.That(File.ReadAllBytes(Path.Combine(copy, "model.safetensors")), Is.EqualTo(File.ReadAllBytes(Path.Combine(path, "model.safetensors"))));
    }

    [Test]
    public void BlocksAndTheirScalesAreOneTensor([Values(ScalarType.F32, ScalarType.BF16)] ScalarType type)
    {
        // Two experts of 64 inputs and 6 outputs, gate and up by turns: [expert, 64, 6] where it is plain, [expert, 6, 2, 16] in blocks.
        PlanParameter[] parameters = [Parameter("gate", 2, 3, 64), Parameter("up", 2, 3, 64)];
        WeightPart Turn(long first) => new(1, first, 1, 2);
        ModelDescription model = Model(parameters, [
            new WeightSource("gate", "gate_up", Transposed: true, Turn(0), Grouping: [1, 1]),
            new WeightSource("up", "gate_up", Transposed: true, Turn(1), Grouping: [1, 1]),
        ]);
        var random = new Random(4);
        byte[] blocks = new byte[2 * 6 * 2 * 16], scales = new byte[2 * 6 * 2];
        random.NextBytes(blocks);
        for (int i = 0; i < scales.Length; i++)
            scales[i] = (byte)random.Next(110, 140);
        string path = Blocks("blocks", blocks, [2, 6, 2, 16], scales, [2, 6, 2]);
        var memory = new Memories(model, type);
        HubCheckpoint.Load(path, model, memory.Parameter);

        float[] gate = memory.Singles("gate"), up = memory.Singles("up");
        for (int i = 0; i < gate.Length; i++)
        {
            (int expert, int output, int input) = (i / 192, i / 64 % 3, i % 64);
            double At(int row)
            {
                int group = ((expert * 6) + row) * 2 + input / 32, pair = blocks[group * 16 + input % 32 / 2];
                return GgufTests.Microscaled(scales[group], input % 2 == 0 ? pair & 15 : pair >> 4);
            }
            Assert.That((double)gate[i], Is.EqualTo(At(2 * output)), $"gate {i}");
            Assert.That((double)up[i], Is.EqualTo(At(2 * output + 1)), $"up {i}");
        }
    }

    [Test]
    public void BlocksThatDontFitTheirScalesAreRefused()
    {
        string path = Blocks("misfit", new byte[2 * 2 * 16], [2, 2, 16], new byte[6], [2, 3]);
        Assert.That(() => new CheckpointFolder(path), Throws.TypeOf<LegatoException>().With.Message.Contains("gate_up_scales [2, 3]"));
    }

    private string Blocks(string name, byte[] blocks, long[] blocksShape, byte[] scales, long[] scalesShape)
    {
        string path = folder.File(name);
        Directory.CreateDirectory(path);
        SafetensorsWriter.Write(
            Path.Combine(path, "model.safetensors"),
            [
                new TensorToWrite("gate_up_blocks", TensorType.U8, blocksShape, stream => stream.Write(blocks)),
                new TensorToWrite("gate_up_scales", TensorType.U8, scalesShape, stream => stream.Write(scales)),
            ],
            new Dictionary<string, string>());
        return path;
    }

    [TestCase("{\"weight_map\":{\"a\":\"../a.safetensors\"}}")]
    [TestCase("{\"weight_map\":{\"a\":3}}")]
    [TestCase("{\"weight_map\":[]}")]
    [TestCase("{}")]
    [TestCase("not json")]
    [TestCase("{\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"y.safetensors\"}}")]
    public void ADamagedIndexIsRefused(string text)
    {
        string path = folder.File("index");
        Directory.CreateDirectory(path);
        File.WriteAllText(Path.Combine(path, CheckpointFolder.IndexFile), text);

        Assert.That(() => new CheckpointFolder(path), Throws.TypeOf<LegatoException>());
    }

    [Test]
    public void AFolderWithoutWeightsSaysSo()
    {
        string path = folder.File("nothing");
        Directory.CreateDirectory(path);
        Assert.That(() => new CheckpointFolder(path), Throws.TypeOf<LegatoException>().With.Message.Contains("no weights"));
        Assert.That(() => new CheckpointFolder(path + "-at-all"), Throws.TypeOf<LegatoException>().With.Message.Contains("no such"));
        Assert.That(() => CheckpointFolder.ReadConfig(path), Throws.TypeOf<LegatoException>().With.Message.Contains("config.json"));
    }

    [Test]
    public void TypesAreConvertedOnTheWay([Values] TensorKind kind, [Values(ScalarType.F32, ScalarType.BF16, ScalarType.F16)] ScalarType target)
    {
        ModelDescription model = Model([Parameter("a", 3000, 2)], [new WeightSource("a", "a", Transposed: true)]);
        float[] values = [.. Enumerable.Range(0, 6000).Select(i => (i % 64) / 8f)];
        TensorType type = (TensorType)kind;
        string path = folder.File($"type{kind}{target}");
        Directory.CreateDirectory(path);
        SafetensorsWriter.Write(Path.Combine(path, "model.safetensors"), [new TensorToWrite("a", type, [2, 3000], s => s.Write(Encode(type, values)))]);
        var memory = new Memories(model, target);

        HubCheckpoint.Load(path, model, memory.Parameter);

        float[] loaded = memory.Singles("a");
        for (int i = 0; i < 3000; i++)
            Assert.That((loaded[2 * i], loaded[2 * i + 1]), Is.EqualTo((values[i], values[3000 + i])));
    }

    public enum TensorKind
    {
        F64 = TensorType.F64,
        F32 = TensorType.F32,
        F16 = TensorType.F16,
        BF16 = TensorType.BF16,
    }

    [Test]
    public void AReferenceCheckpointIsExportedByteForByte()
    {
        string golden = SharedFolder.Require("goldens/llama");
        ModelDescription model = TinyLlama(golden);
        var memory = new Memories(model);
        HubCheckpoint.Load(golden, model, memory.Parameter);
        string copy = folder.File("llama");
        HubCheckpoint.Save(copy, model, memory.Parameter);

        Assert.That(File.ReadAllBytes(Path.Combine(copy, "model.safetensors")), Is.EqualTo(File.ReadAllBytes(Path.Combine(golden, "model.safetensors"))));
    }

    [Test]
    [Explicit("writes 4 GB")]
    public void LargeCheckpointsLoadAtTheSpeedOfMemory()
    {
        const int matrices = 60;
        ModelDescription model = Model([Parameter("plain", matrices, 4096, 4096)], [new WeightSource("plain", "p.{0}")]);
        string path = folder.File("large");
        Directory.CreateDirectory(path);
        byte[] row = new byte[4096 * 4];
        SafetensorsWriter.Write(Path.Combine(path, "model.safetensors"), Enumerable.Range(0, matrices).Select(i => new TensorToWrite(
            $"p.{i}", TensorType.F32, [4096, 4096], stream =>
            {
                for (int j = 0; j < 4096; j++)
                    stream.Write(row);
            })));
        using var device = new Legato.Runtime.Cpu.CpuDevice(new());
        byte[] block = new byte[16 << 20];
        for (int round = 0; round < 4; round++)
        {
            Legato.Runtime.Devices.IDeviceMemory memory = device.Allocate(model.Parameters[0].Elements * 4);
            var clock = Stopwatch.StartNew();
            HubCheckpoint.Load(path, model, _ => new ParameterMemory(memory, ScalarType.F32));
            double loaded = memory.Bytes / clock.Elapsed.TotalSeconds / 1e9;
            memory.Dispose();
            clock.Restart();
            using (FileStream stream = File.OpenRead(Path.Combine(path, "model.safetensors")))
                while (stream.Read(block) > 0)
                {
                }
            TestContext.Out.WriteLine($"loaded at {loaded:F2} GB/s, read at {model.Parameters[0].Elements * 4 / clock.Elapsed.TotalSeconds / 1e9:F2} GB/s");
        }
    }

    // A LLaMA's names with 2 layers, 4 heads of 16 over 2 key heads, as the golden checkpoint has them.
    private static ModelDescription TinyLlama(string golden)
    {
        using var checkpoint = new CheckpointFolder(golden);
        long[] Sizes(string name) => [.. checkpoint.Find(name)!.Info.Shape];
        (string Path, string Name, bool Turned)[] layer =
        [
            ("attn.q", "self_attn.q_proj", true), ("attn.k", "self_attn.k_proj", true), ("attn.v", "self_attn.v_proj", true),
            ("attn.o", "self_attn.o_proj", true), ("mlp.gate", "mlp.gate_proj", true), ("mlp.up", "mlp.up_proj", true),
            ("mlp.down", "mlp.down_proj", true), ("attn_norm", "input_layernorm", false), ("ffn_norm", "post_attention_layernorm", false),
        ];
        var parameters = new List<PlanParameter>();
        var sources = new List<WeightSource>();
        foreach ((string path, string name) in new[] { ("embed", "model.embed_tokens.weight"), ("norm", "model.norm.weight"), ("head", "lm_head.weight") })
        {
            parameters.Add(Parameter(path, Sizes(name)));
            sources.Add(new WeightSource(path, name));
        }
        foreach ((string path, string name, bool turned) in layer)
        {
            long[] sizes = Sizes($"model.layers.0.{name}.weight");
            if (turned)
                Array.Reverse(sizes);
            bool toHeads = path is "attn.q" or "attn.k" or "attn.v";
            bool fromHeads = path is "attn.o";
            long[] axes = toHeads ? [sizes[0], sizes[1] / 16, 16] : fromHeads ? [sizes[0] / 16, 16, sizes[1]] : sizes;
            parameters.Add(Parameter(path, [2, .. axes]));
            sources.Add(new WeightSource(path, $"model.layers.{{0}}.{name}.weight", turned, Grouping: toHeads ? [1, 2] : fromHeads ? [2, 1] : null));
        }
        return Model([.. parameters], [.. sources]);
    }

    private string Write(string name, Dictionary<string, float[]> tensors, Dictionary<string, long[]>? shapes = null)
    {
        string path = folder.File(name);
        Directory.CreateDirectory(path);
        SafetensorsWriter.Write(
            Path.Combine(path, "model.safetensors"),
            tensors.Select(t => SafetensorsTests.Singles(t.Key, Shape(t.Key, shapes), t.Value)),
            new Dictionary<string, string> { ["format"] = "pt" });
        return path;
    }

    private static long[] Shape(string name, Dictionary<string, long[]>? shapes) =>
        shapes is not null && shapes.TryGetValue(name, out long[]? shape) ? shape : SmallShapes.First(s => name.EndsWith(s.Key)).Value;

    private static float[] Numbers(int count, int from) => [.. Enumerable.Range(from, count).Select(i => (float)i)];

    private static byte[] Encode(TensorType type, float[] values)
    {
        if (type == TensorType.F64)
            return MemoryMarshal.AsBytes<double>([.. values.Select(v => (double)v)]).ToArray();
        ScalarType scalar = type == TensorType.F32 ? ScalarType.F32 : type == TensorType.BF16 ? ScalarType.BF16 : ScalarType.F16;
        byte[] bytes = new byte[values.Length * scalar.Size()];
        ElementConversion.Convert(TensorType.F32, MemoryMarshal.AsBytes<float>(values), scalar, bytes);
        return bytes;
    }

    private sealed class Memories(ModelDescription model, ScalarType type = ScalarType.F32)
    {
        private readonly Dictionary<string, ArrayMemory> byPath =
            model.Parameters.ToDictionary(p => p.Path, p => new ArrayMemory(p.Elements * type.Size()));

        public ParameterMemory Parameter(string path) => new(byPath[path], type);

        public float[] Singles(string path)
        {
            byte[] content = byPath[path].Content;
            var values = new float[content.Length / type.Size()];
            ElementConversion.ToSingle(type.TensorType(), content, values);
            return values;
        }
    }
}
