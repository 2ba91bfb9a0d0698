using System.Runtime.InteropServices;
using Legato.Runtime;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Plans;
using Legato.Runtime.Text;
using NUnit.Framework;
using static Legato.Tests.CheckpointModels;

namespace Legato.Tests;

/// <summary>The types that a checkpoint's tensors may have, and how they become those of a model's parameters.</summary>
public sealed class CheckpointTypeTests
{
    private readonly TemporaryFolder folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => folder.Dispose();

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

    private static byte[] Encode(TensorType type, float[] values)
    {
        if (type == TensorType.F64)
            return MemoryMarshal.AsBytes<double>([.. values.Select(v => (double)v)]).ToArray();
        ScalarType scalar = type == TensorType.F32 ? ScalarType.F32 : type == TensorType.BF16 ? ScalarType.BF16 : ScalarType.F16;
        byte[] bytes = new byte[values.Length * scalar.Size()];
        ElementConversion.Convert(TensorType.F32, MemoryMarshal.AsBytes<float>(values), scalar, bytes);
        return bytes;
    }
}
