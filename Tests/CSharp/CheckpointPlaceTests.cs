using System.Runtime.InteropServices;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.CheckpointModels;

namespace Legato.Tests;

/// <summary>Where the elements of a model's parameters lie in a checkpoint's tensors: parts of them, turned, stacked or in another order.</summary>
public sealed class CheckpointPlaceTests
{
    private readonly TemporaryFolder folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => folder.Dispose();

    [TestCase("transformer.")]
    [TestCase("")]
    public void SlicesTranspositionsAndStacksFindTheirPlaces(string prefix)
    {
        string path = Write(folder, "places" + prefix.Length, SmallTensors(prefix));
        var memory = new Memories(Small);

        HubCheckpoint.Load(path, Small, memory.Parameter);

        Assert.That(memory.Singles("wte"), Is.EqualTo(Numbers(12, 0)));
        Assert.That(memory.Singles("blocks.q"), Is.EqualTo(new float[] { 100, 101, 104, 105, 108, 109, 200, 201, 204, 205, 208, 209 }));
        Assert.That(memory.Singles("blocks.k"), Is.EqualTo(new float[] { 102, 103, 106, 107, 110, 111, 202, 203, 206, 207, 210, 211 }));
        Assert.That(memory.Singles("blocks.up")[..6], Is.EqualTo(new float[] { 300, 303, 306, 309, 312, 301 }));
        Assert.That(memory.Singles("blocks.up")[15], Is.EqualTo(400));
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
}
