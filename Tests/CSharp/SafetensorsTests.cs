using System.Buffers.Binary;
using System.Text;
using Legato.Runtime;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Plans;
using NUnit.Framework;

namespace Legato.Tests;

public sealed class SafetensorsTests
{
    private readonly TemporaryFolder folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => folder.Dispose();

    [Test]
    public void WrittenTensorsAreReadBack()
    {
        string path = folder.File("round.safetensors");
        SafetensorsWriter.Write(path, [Singles("b.weight", [2, 3], 1, 2, 3, 4, 5, 6), Singles("a", [], 7), Singles("empty", [0, 4])]);

        using var file = new SafetensorsFile(path);

        Assert.That(file.Tensors.Select(t => t.Name), Is.EqualTo(new[] { "a", "b.weight", "empty" }));
        Assert.That(file.Singles("b.weight"), Is.EqualTo(new float[] { 1, 2, 3, 4, 5, 6 }));
        Assert.That(file.Get("b.weight").Shape, Is.EqualTo(new long[] { 2, 3 }));
        Assert.That(file.Singles("a"), Is.EqualTo(new float[] { 7 }));
        Assert.That(file.Singles("empty"), Is.Empty);
    }

    [Test]
    public void AMissingTensorIsNamed()
    {
        string path = folder.File("named.safetensors");
        SafetensorsWriter.Write(path, [Singles("a", [1], 7)]);
        using var file = new SafetensorsFile(path);

        Assert.That(() => file.Get("b"), Throws.TypeOf<LegatoException>().With.Message.Contains("'b'"));
    }

    [TestCase("", "too few")]
    [TestCase("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}|1234567", "cut off")]
    [TestCase("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}|123456789", "follow the last tensor")]
    [TestCase("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}|12345678", "needs 12 bytes")]
    [TestCase("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}|123456", "overlaps")]
    [TestCase("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[6,8]}}|12345678", "hole")]
    [TestCase("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}|12", "twice")]
    [TestCase("{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,1]}}|1", "F99")]
    [TestCase("{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904,4611686018427387904],\"data_offsets\":[0,8]}}|12345678", "larger than any file")]
    [TestCase("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[9223372036854775807,9223372036854775807]}}|1", "damaged")]
    [TestCase("{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}|1", "no list of sizes")]
    [TestCase("{\"a\":{\"dtype\":\"U8\",\"shape\":[1.5],\"data_offsets\":[0,1]}}|1", "no list of sizes")]
    [TestCase("{\"a\":[1]}|1", "damaged")]
    [TestCase("{\"a\":{\"dtype\":\"U8\"}}|1", "lacks")]
    [TestCase("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"more\":1}}|1", "unknown property")]
    [TestCase("[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]|", "damaged")]
    [TestCase("{\"__metadata__\":{\"a\":{}}}|", "damaged")]
    [TestCase("{} {}|", "damaged")]
    public void ADamagedFileIsRefused(string content, string message)
    {
        string path = folder.File("damaged.safetensors");
        File.WriteAllBytes(path, content.Length == 0 ? [] : WithHeader(content.Split('|')[0], content.Split('|')[1]));

        Assert.That(() => new SafetensorsFile(path), Throws.TypeOf<LegatoException>().With.Message.Contains(message));
    }

    [Test]
    public void AnyCorruptionIsAnErrorOrAReadableFile()
    {
        string path = folder.File("fuzz.safetensors");
        SafetensorsWriter.Write(path, [Singles("first", [2, 2], 1, 2, 3, 4), Singles("second", [3], 5, 6, 7)], new Dictionary<string, string> { ["format"] = "pt" });
        byte[] sound = File.ReadAllBytes(path);
        var random = new Random(1);
        for (int round = 0; round < 1000; round++)
        {
            byte[] bytes = sound.ToArray();
            for (int i = random.Next(1, 4); i > 0; i--)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            File.WriteAllBytes(path, random.Next(4) == 0 ? bytes[..random.Next(bytes.Length)] : bytes);
            try
            {
                using var file = new SafetensorsFile(path);
                foreach (TensorInfo tensor in file.Tensors)
                    _ = file.Bytes(tensor, 0, (int)tensor.Bytes).Length;
            }
            catch (LegatoException)
            {
            }
        }
    }

    [Test]
    public void AHugeHeaderLengthAllocatesNothing()
    {
        string path = folder.File("huge.safetensors");
        byte[] bytes = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, 99_000_000);
        File.WriteAllBytes(path, bytes);
        long before = GC.GetAllocatedBytesForCurrentThread();

        Assert.That(() => new SafetensorsFile(path), Throws.TypeOf<LegatoException>());
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(100_000));
    }

    [Test]
    public void WhatStandsInTheWayOfAFileIsToldInWords()
    {
        Assert.That(
            () => AtomicWrite.Text(folder.Path, "x"),
            Throws.TypeOf<LegatoException>().With.Message.Contains("a folder stands there").And.Message.Contains("remedy: choose another name"));
        Assert.That(
            () => AtomicWrite.File(folder.File("full"), _ => throw new IOException("No space left on device : '/x'", 28)),
            Throws.TypeOf<LegatoException>().With.Message.Contains("the disk is full").And.Message.Contains("remedy: free some disk space"));
        Assert.That(
            () => AtomicWrite.File(folder.File("kept"), _ => throw new UnauthorizedAccessException("Access to the path '/x' is denied.")),
            Throws.TypeOf<LegatoException>().With.Message.Contains("you may not write there").And.Message.Contains("remedy: choose a folder"));
    }

    [Test]
    public void AFailedWriteLeavesTheOldFile()
    {
        string path = folder.File("kept.safetensors");
        SafetensorsWriter.Write(path, [Singles("a", [1], 1)]);
        byte[] before = File.ReadAllBytes(path);

        Assert.That(
            () => SafetensorsWriter.Write(path, [new TensorToWrite("a", TensorType.F32, [1], _ => throw new IOException("no space left on device"))]),
            Throws.TypeOf<LegatoException>().With.Message.Contains("no space left"));

        Assert.That(File.ReadAllBytes(path), Is.EqualTo(before));
        Assert.That(Directory.GetFiles(folder.Path, AtomicWrite.TemporaryPrefix + "*"), Is.Empty);
    }

    [Test]
    public void HalvesWidenExactly()
    {
        byte[] all = new byte[65536 * 2];
        for (int i = 0; i < 65536; i++)
            BinaryPrimitives.WriteUInt16LittleEndian(all.AsSpan(2 * i), (ushort)i);
        var widened = new float[65536];
        ElementConversion.ToSingle(TensorType.F16, all, widened);

        for (int i = 0; i < 65536; i++)
        {
            float expected = (float)BitConverter.UInt16BitsToHalf((ushort)i);
            Assert.That(widened[i].Equals(expected) || (float.IsNaN(widened[i]) && float.IsNaN(expected)), $"half {i:x}");
        }
    }

    [TestCase(ScalarType.BF16)]
    [TestCase(ScalarType.F16)]
    public void NarrowTypesSurviveTheWayThroughFloat32(ScalarType type)
    {
        byte[] all = new byte[65536 * 2];
        for (int i = 0; i < 65536; i++)
            BinaryPrimitives.WriteUInt16LittleEndian(all.AsSpan(2 * i), (ushort)i);
        byte[] widened = new byte[65536 * 4];
        byte[] back = new byte[65536 * 2];
        ElementConversion.Convert(type.TensorType(), all, ScalarType.F32, widened);
        ElementConversion.Convert(TensorType.F32, widened, type, back);

        for (int i = 0; i < 65536; i++)
        {
            float value = BitConverter.ToSingle(widened, 4 * i);
            if (!float.IsNaN(value))
                Assert.That(BitConverter.ToUInt16(back, 2 * i), Is.EqualTo(i));
        }
    }

    [Test]
    public void BFloat16RoundsToNearestEven()
    {
        float[] values = [1f, 1f + 1f / 256, 1f + 3f / 256, 1f + 1.01f / 256, float.PositiveInfinity, float.NaN, -2.5f, 3.4e38f];
        byte[] target = new byte[values.Length * 2];
        ElementConversion.Convert(TensorType.F32, System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(values), ScalarType.BF16, target);
        var back = new float[values.Length];
        ElementConversion.ToSingle(TensorType.BF16, target, back);

        Assert.That(back, Is.EqualTo(new[] { 1f, 1f, 1f + 4f / 256, 1f + 2f / 256, float.PositiveInfinity, float.NaN, -2.5f, float.PositiveInfinity }));
    }

    [Test]
    public void EightBitFloatsHaveTheirStandardValues()
    {
        byte[] codes = [0x38, 0x7E, 0x7F, 0x01, 0xB8];
        var values = new float[codes.Length];
        ElementConversion.ToSingle(TensorType.F8E4M3, codes, values);
        Assert.That(values, Is.EqualTo(new[] { 1f, 448f, float.NaN, MathF.ScaleB(1, -9), -1f }));

        codes = [0x3C, 0x7B, 0x7C, 0x01, 0xFC];
        ElementConversion.ToSingle(TensorType.F8E5M2, codes, values);
        Assert.That(values, Is.EqualTo(new[] { 1f, 57344f, float.PositiveInfinity, MathF.ScaleB(1, -16), float.NegativeInfinity }));
    }

    [Test]
    public void FilesOfOtherWritersAreRead()
    {
        string shared = SharedFolder.Require("data/formats");
        using (var file = new SafetensorsFile(Path.Combine(shared, "burn_multi_layer.safetensors")))
            Assert.That(file.Get("norm1.num_batches_tracked").Type, Is.EqualTo(TensorType.I64));
        using (var file = new SafetensorsFile(Path.Combine(shared, "tensor-1d-int32.safetensors")))
            Assert.That(file.Integers("embedding"), Has.Length.EqualTo(3));
        Assert.That(
            () => new SafetensorsFile(Path.Combine(shared, "weight-inspect_tiny.safetensors")),
            Throws.TypeOf<LegatoException>().With.Message.Contains("5 bytes follow the last tensor"));
    }

    internal static TensorToWrite Singles(string name, long[] shape, params float[] values) =>
        new(name, TensorType.F32, shape, stream => stream.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(values)));

    private static byte[] WithHeader(string header, string data)
    {
        byte[] text = Encoding.UTF8.GetBytes(header);
        byte[] length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, text.Length);
        return [.. length, .. text, .. Encoding.UTF8.GetBytes(data)];
    }
}
