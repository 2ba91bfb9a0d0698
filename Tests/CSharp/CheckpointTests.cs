using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using Legato.Runtime;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Plans;
using Legato.Runtime.Text;
using Legato.Runtime.Text.Training;
using NUnit.Framework;
using static Legato.Tests.CheckpointModels;

namespace Legato.Tests;

/// <summary>Checkpoints as folders: what is written and read again, in one file or in shards, and what is told of mistakes.</summary>
public sealed class CheckpointTests
{
    private readonly TemporaryFolder folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => folder.Dispose();

    [Test]
    public void WhatIsWrittenIsWhatWasRead()
    {
        string path = Write(folder, "source", SmallTensors("transformer."));
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
        string path = Write(folder, "mistakes", tensors, new() { ["wte.weight"] = [3, 4], ["stray"] = [2] });
        var memory = new Memories(Small);

        LegatoException error = Assert.Throws<LegatoException>(() => HubCheckpoint.Load(path, Small, memory.Parameter))!;

        Assert.That(error.What, Does.Contain("missing: norm.weight").And.Contain("missing: h.1.up.weight")
            .And.Contain("wrong shape: wte.weight is [3, 4], the model's is [4, 3]").And.Contain("unknown: stray")
            .And.Not.Contain("mask"));
        Assert.That(memory.Singles("blocks.q"), Is.All.Zero);
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
        string path = Write(folder, "whole", SmallTensors("transformer."));
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

    [TestCase("{\"weight_map\":{\"a\":\"../a.safetensors\"}}", "no file of this folder")]
    [TestCase("{\"weight_map\":{\"a\":3}}", "has no weight_map that names")]
    [TestCase("{\"weight_map\":[]}", "has no weight_map that names")]
    [TestCase("{}", "has no weight_map that names")]
    [TestCase("not json", "is no JSON: line 1")]
    [TestCase("{\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"y.safetensors\"}}", "twice")]
    public void ADamagedIndexIsRefused(string text, string what)
    {
        string path = folder.File("index");
        Directory.CreateDirectory(path);
        File.WriteAllText(Path.Combine(path, CheckpointFolder.IndexFile), text);

        Assert.That(() => new CheckpointFolder(path), Throws.TypeOf<LegatoException>().With.Message.Contains(what));
    }

    [Test]
    public void TrainingRefusesWeightsThatAreNotFinite([Values(float.NaN, float.NegativeInfinity)] float value)
    {
        Dictionary<string, float[]> tensors = SmallTensors("");
        tensors["norm.weight"][1] = value;
        tensors["h.1.up.weight"][^1] = value;
        string path = Write(folder, "unfinished", tensors);
        var memory = new Memories(Small);

        HubCheckpoint.Load(path, Small, memory.Parameter);
        LegatoException error = Assert.Throws<LegatoException>(() => HubCheckpoint.LoadToTrain(path, Small, memory.Parameter))!;
        Assert.That(error.What, Is.EqualTo("2 tensors hold NaN or infinities: h.1.up.weight, norm.weight"));
        Assert.That(error.Where, Is.EqualTo(Path.Combine(path, CheckpointFolder.WeightsFile)));
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
}
