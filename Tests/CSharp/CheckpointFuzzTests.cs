using System.Buffers.Binary;
using Legato.Runtime.Checkpoints;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>Damaged weights give tensors or a typed error: never a crash, a hang, or memory beyond a small multiple of the file.</summary>
[TestFixture]
internal sealed class CheckpointFuzzTests
{
    private const int Many = 10_000, Few = 300;

    /// <summary>Bytes that reading may allocate, whatever the file, and for each of its bytes.</summary>
    private const long Allowance = 200_000, AllowancePerByte = 40;

    [Test]
    public void DamagedSafetensors() => Fuzz("model.safetensors", SafetensorsSeeds(), Few, ReadSafetensors);

    [Test, Category("Heavy")]
    public void ManyDamagedSafetensors() => Fuzz("model.safetensors", SafetensorsSeeds(), Many, ReadSafetensors);

    [Test]
    public void DamagedGguf() => Fuzz("model.gguf", GgufSeeds(), Few, ReadGguf);

    [Test, Category("Heavy")]
    public void ManyDamagedGguf() => Fuzz("model.gguf", GgufSeeds(), Many, ReadGguf);

    [Test]
    public void DamagedIndexes() => Fuzz(CheckpointFolder.IndexFile, IndexSeeds(), Few, ReadIndex);

    [Test, Category("Heavy")]
    public void ManyDamagedIndexes() => Fuzz(CheckpointFolder.IndexFile, IndexSeeds(), Many, ReadIndex);

    private static void Fuzz(string name, IReadOnlyList<byte[]> seeds, int count, Action<string> read)
    {
        using var folder = new TemporaryFolder();
        string path = folder.File(name);
        var random = new Random(23);
        int sound = 0;
        for (int i = 0; i < count; i++)
        {
            byte[] content = seeds[i % seeds.Count];
            content = random.Next(4) == 0 ? Enlarge(content, random) : TextFixtures.Mutate(content, random);
            File.WriteAllBytes(path, content);
            long before = GC.GetAllocatedBytesForCurrentThread();
            if (TextFixtures.FailsOnlyByMistake(() => read(path)))
                sound++;
            long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.That(allocated, Is.LessThan(Allowance + AllowancePerByte * content.Length), $"round {i}: a file of {content.Length} bytes");
        }
        TestContext.Out.WriteLine($"{sound} of {count} damaged files could still be read");
    }

    // A length, a count or an offset becomes huge, in the fixed-width form and in decimal digits.
    private static byte[] Enlarge(byte[] content, Random random)
    {
        byte[] bytes = [.. content];
        ulong huge = random.Next(4) switch { 0 => ulong.MaxValue, 1 => 1ul << 62, 2 => (ulong)int.MaxValue + 1, _ => 99_999_999 };
        int[] digits = [.. Enumerable.Range(0, bytes.Length).Where(i => char.IsAsciiDigit((char)bytes[i]))];
        if (digits.Length > 0 && random.Next(2) == 0)
        {
            int at = digits[random.Next(digits.Length)];
            return [.. bytes[..at], .. System.Text.Encoding.ASCII.GetBytes(huge.ToString(System.Globalization.CultureInfo.InvariantCulture)), .. bytes[at..]];
        }
        if (bytes.Length >= 8)
            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(random.Next(Math.Min(bytes.Length - 7, 512))), huge);
        return bytes;
    }

    private static void ReadSafetensors(string path)
    {
        using var file = new SafetensorsFile(path);
        foreach (TensorInfo tensor in file.Tensors)
            _ = file.Bytes(tensor, 0, (int)tensor.Bytes).Length;
    }

    private static void ReadGguf(string path)
    {
        using var file = new GgufFile(path);
        foreach (string key in file.Metadata.Keys)
        {
            _ = file.Metadata.Scalar(key);
            TextFixtures.FailsOnlyByMistake(() => file.Metadata.Texts(key));
            TextFixtures.FailsOnlyByMistake(() => file.Metadata.Floats(key));
            TextFixtures.FailsOnlyByMistake(() => file.Metadata.Ints(key));
        }
        foreach (string name in file.Names)
            TextFixtures.FailsOnlyByMistake(() => file.Singles(name));
    }

    private static void ReadIndex(string path)
    {
        using var checkpoint = new CheckpointFolder(Path.GetDirectoryName(path)!);
        Assert.Fail("there are no shards");
    }

    private static List<byte[]> SafetensorsSeeds()
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("seed.safetensors");
        var seeds = new List<byte[]>();
        for (int count = 1; count <= 9; count += 4)
        {
            SafetensorsWriter.Write(
                path, Enumerable.Range(0, count).Select(i => SafetensorsTests.Singles($"layer.{i}.weight", [2, i], new float[2 * i])),
                new Dictionary<string, string> { ["format"] = "pt" });
            seeds.Add(File.ReadAllBytes(path));
        }
        // A header that is deep, and one that is all names.
        seeds.Add(WithHeader(new string('[', 3000)));
        seeds.Add(WithHeader("{" + string.Concat(Enumerable.Range(0, 200).Select(i => $"\"{i}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}},")) + "\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}"));
        return seeds;
    }

    private static byte[] WithHeader(string header) =>
        [.. BitConverter.GetBytes((ulong)header.Length), .. System.Text.Encoding.ASCII.GetBytes(header)];

    private static List<byte[]> GgufSeeds()
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("seed.gguf");
        GgufWriter.Write(
            path,
            GgufTests.Entries(("general.architecture", "llama"), ("general.alignment", 32u), ("texts", new[] { "a", "bc", "" }), ("numbers", new[] { 1, 2, 3 }), ("floats", new[] { 1f, 2f })),
            [
                SafetensorsTests.Singles("plain", [2, 3], new float[6]),
                new TensorToWrite("blocks", TensorType.Q4_K, [2, 256], stream => stream.Write(GgufTests.Blocks(TensorType.Q4_K, 2, 1))),
                new TensorToWrite("bytes", TensorType.Q8_0, [1, 32], stream => stream.Write(GgufTests.Blocks(TensorType.Q8_0, 1, 1))),
            ]);
        // Arrays of arrays, forty deep.
        byte[] nested = [.. BitConverter.GetBytes(9u), .. Enumerable.Range(0, 40).SelectMany(_ => (byte[])[.. BitConverter.GetBytes(9u), .. BitConverter.GetBytes(1ul)])];
        byte[] deep = [.. "GGUF"u8, .. BitConverter.GetBytes(3u), .. BitConverter.GetBytes(0ul), .. BitConverter.GetBytes(1ul), .. BitConverter.GetBytes(1ul), (byte)'k', .. nested];
        return [File.ReadAllBytes(path), deep];
    }

    private static List<byte[]> IndexSeeds() =>
    [
        "{\"metadata\":{\"total_size\":24},\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\",\"b\":\"model-00002-of-00002.safetensors\"}}"u8.ToArray(),
        System.Text.Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("{\"weight_map\":", 2000))),
    ];
}
