using System.Runtime.InteropServices;
using System.Text;
using Legato.Runtime;
using Legato.Runtime.Checkpoints;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>GGUF files: what is written is read, what others write is read, what is damaged is refused.</summary>
public sealed class GgufTests
{
    private readonly TemporaryFolder folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => folder.Dispose();

    [Test]
    public void WrittenTensorsAndValuesAreReadBack()
    {
        string path = folder.File("round.gguf");
        GgufWriter.Write(
            path,
            Entries(("general.architecture", "llama"), ("llama.block_count", 2u), ("eps", 1e-5f), ("flag", true), ("texts", new[] { "a", "" }), ("floats", new[] { 1.5f }), ("ints", new[] { -3 })),
            [SafetensorsTests.Singles("b.weight", [2, 3], 1, 2, 3, 4, 5, 6), SafetensorsTests.Singles("a", [1], 7)]);

        using var file = new GgufFile(path);

        Assert.That(file.Names, Is.EqualTo(new[] { "b.weight", "a" }));
        Assert.That(Singles(file, "b.weight"), Is.EqualTo(new float[] { 1, 2, 3, 4, 5, 6 }));
        Assert.That(file.Find("b.weight")!.Info.Shape, Is.EqualTo(new long[] { 2, 3 }));
        Assert.That(file.Find("b.weight")!.Info.Offset % 32, Is.Zero);
        Assert.That(Singles(file, "a"), Is.EqualTo(new float[] { 7 }));
        Assert.That(file.Find("c"), Is.Null);
        GgufMetadata metadata = file.Metadata;
        Assert.That(metadata.Text("general.architecture"), Is.EqualTo("llama"));
        Assert.That(metadata.Scalar("llama.block_count"), Is.EqualTo(2ul));
        Assert.That(metadata.Scalar("eps"), Is.EqualTo((double)1e-5f));
        Assert.That(metadata.Flag("flag"), Is.True);
        Assert.That(metadata.Texts("texts"), Is.EqualTo(new[] { "a", "" }));
        Assert.That(metadata.Floats("floats"), Is.EqualTo(new[] { 1.5f }));
        Assert.That(metadata.Ints("ints"), Is.EqualTo(new[] { -3 }));
        Assert.That(metadata.Scalar("texts"), Is.Null);
        Assert.That(() => metadata.Text("eps"), Throws.TypeOf<LegatoException>().With.Message.Contains("'eps'"));
    }

    [Test]
    public void FilesOfOtherWritersAreRead()
    {
        string shared = SharedFolder.Require("data/formats");
        using (var file = new GgufFile(Path.Combine(shared, "weight-inspect_empty.gguf")))
            Assert.That(file.Names, Is.Empty);
        // Its one tensor is announced, and its bytes are missing.
        Assert.That(
            () => new GgufFile(Path.Combine(shared, "weight-inspect_tiny.gguf")),
            Throws.TypeOf<LegatoException>().With.Message.Contains("'test.weight.0'"));
    }

    [TestCase("no GGUF mark", "GGUG", 3u)]
    [TestCase("version 1", "GGUF", 1u)]
    public void AnotherFormatIsRefused(string what, string mark, uint version)
    {
        string path = folder.File("mark.gguf");
        File.WriteAllBytes(path, [.. Encoding.ASCII.GetBytes(mark), .. BitConverter.GetBytes(version), .. new byte[16]]);
        Assert.That(() => new GgufFile(path), Throws.TypeOf<LegatoException>().With.Message.Contains(what));
    }

    [Test]
    public void HugeCountsAllocateNothing()
    {
        string path = folder.File("huge.gguf");
        byte[] head = [.. "GGUF"u8, .. BitConverter.GetBytes(3u), .. BitConverter.GetBytes(1ul << 60), .. BitConverter.GetBytes(1ul << 60)];
        File.WriteAllBytes(path, head);
        long before = GC.GetAllocatedBytesForCurrentThread();

        Assert.That(() => new GgufFile(path), Throws.TypeOf<LegatoException>());
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(100_000));
    }

    [Test]
    public void TypesThatAreNotReadAreListed()
    {
        string path = folder.File("types.gguf");
        GgufWriter.Write(path, [], [SafetensorsTests.Singles("first", [64], new float[64])]);
        byte[] bytes = File.ReadAllBytes(path);
        bytes[bytes.AsSpan().IndexOf("first"u8) + 5 + 4 + 8] = 13;
        File.WriteAllBytes(path, bytes);

        Assert.That(
            () => new GgufFile(path),
            Throws.TypeOf<LegatoException>().With.Message.Contains("first (Q5_K)").And.Message.Contains("Q4_K, Q6_K or MXFP4"));
    }

    // Plain readings of ggml's structs, an element at a time, in float64.
    private static readonly Dictionary<TensorType, Func<byte[], int, double>> Oracles = new()
    {
        [TensorType.Q4_0] = (b, i) => Half(b, 0) * ((i < 16 ? b[2 + i] & 0xF : b[2 + i - 16] >> 4) - 8),
        [TensorType.Q8_0] = (b, i) => Half(b, 0) * (sbyte)b[2 + i],
        [TensorType.Q4_K] = (b, i) =>
        {
            // Chunks of 64: 32 low nibbles, then 32 high ones; d * sc * q - dmin * m, six bits for each sc and m.
            int chunk = i / 64, inside = i % 64, sub = 2 * chunk + inside / 32;
            byte qs = b[16 + 32 * chunk + inside % 32];
            int q = inside < 32 ? qs & 0xF : qs >> 4;
            int[] s = [.. b[4..16]];
            int sc = sub < 4 ? s[sub] & 63 : (s[sub + 4] & 0xF) | ((s[sub - 4] >> 6) << 4);
            int m = sub < 4 ? s[sub + 4] & 63 : (s[sub + 4] >> 4) | ((s[sub] >> 6) << 4);
            return Half(b, 0) * sc * q - Half(b, 2) * m;
        },
        [TensorType.Q6_K] = (b, i) =>
        {
            // ql[128], qh[64], scales[16], d; halves of 128 elements, quarters of 32.
            int n = i / 128, l = i % 32, quarter = i % 128 / 32;
            int ql = b[64 * n + l + (quarter % 2 == 1 ? 32 : 0)];
            int low = quarter < 2 ? ql & 0xF : ql >> 4;
            int high = (b[128 + 32 * n + l] >> (2 * quarter)) & 3;
            int scale = (sbyte)b[192 + 8 * n + l / 16 + 2 * quarter];
            return Half(b, 208) * scale * ((low | (high << 4)) - 32);
        },
        [TensorType.MXFP4] = (b, i) => Microscaled(b[0], i < 16 ? b[1 + i] & 0xF : b[1 + i - 16] >> 4),
    };

    [Test]
    public void BlocksAreWidenedAsTheirStructsSay([Values(TensorKind.Q4_0, TensorKind.Q8_0, TensorKind.Q4_K, TensorKind.Q6_K, TensorKind.MXFP4)] TensorKind kind)
    {
        TensorType type = (TensorType)kind;
        const int blocks = 7;
        byte[] bytes = Blocks(type, blocks, seed: 5);
        string path = folder.File($"{kind}.gguf");
        long columns = type.BlockElements();
        GgufWriter.Write(path, [], [new TensorToWrite("w", type, [blocks, columns], stream => stream.Write(bytes))]);
        using var file = new GgufFile(path);

        float[] values = Singles(file, "w");

        for (int i = 0; i < values.Length; i++)
        {
            int block = i / (int)columns;
            double expected = Oracles[type](bytes[(block * type.BlockBytes())..((block + 1) * type.BlockBytes())], i % (int)columns);
            Assert.That(values[i], Is.EqualTo(expected).Within(1e-6 * Math.Max(1, Math.Abs(expected))), $"element {i}");
        }
        // A stretch that begins and ends inside of blocks.
        StoredTensor tensor = file.Find("w")!;
        byte[] scratch = new byte[tensor.ScratchBytes(50)];
        Assert.That(MemoryMarshal.Cast<byte, float>(tensor.Elements(17, 50, scratch)).ToArray(), Is.EqualTo(values[17..67]));
    }

    public enum TensorKind
    {
        Q4_0 = TensorType.Q4_0,
        Q8_0 = TensorType.Q8_0,
        Q4_K = TensorType.Q4_K,
        Q6_K = TensorType.Q6_K,
        MXFP4 = TensorType.MXFP4,
    }

    /// <summary>Sign, two bits of exponent with a bias of 1, a bit of mantissa; subnormal where the exponent is zero. The scale's bias is 127.</summary>
    internal static double Microscaled(byte scale, int bits)
    {
        (int sign, int exponent, int mantissa) = (bits >> 3, bits >> 1 & 3, bits & 1);
        double magnitude = exponent == 0 ? mantissa / 2.0 : (1 + mantissa / 2.0) * (1 << exponent >> 1);
        return (sign == 1 ? -1 : 1) * magnitude * Math.Pow(2, scale - 127);
    }

    [Test]
    public void Q8_0RoundsToTheNearestStep()
    {
        var random = new Random(3);
        float[] values = [.. Enumerable.Range(0, 96).Select(i => i is >= 32 and < 64 ? 0 : (float)(random.NextDouble() - 0.5))];
        byte[] blocks = new byte[3 * 34];
        QuantisedBlocks.ToQ8_0(values, blocks);
        var back = new float[96];
        QuantisedBlocks.ToSingle(TensorType.Q8_0, blocks, back);

        for (int block = 0; block < 3; block++)
        {
            float largest = values.Skip(32 * block).Take(32).Max(Math.Abs);
            for (int i = 32 * block; i < 32 * block + 32; i++)
                // Half a step, and the rounding of the scale to a half.
                Assert.That(back[i], Is.EqualTo(values[i]).Within(largest / 127 * 0.5 + largest * 5e-4));
        }
    }

    internal static byte[] Blocks(TensorType type, int count, int seed)
    {
        byte[] bytes = new byte[count * type.BlockBytes()];
        var random = new Random(seed);
        random.NextBytes(bytes);
        if (type == TensorType.MXFP4)
            for (int block = 0; block < count; block++)
                bytes[block * type.BlockBytes()] = (byte)(120 + block);
        foreach (int scale in type switch { TensorType.Q4_K => (int[])[0, 2], TensorType.Q6_K => [208], TensorType.MXFP4 => [], _ => [0] })
            for (int block = 0; block < count; block++)
                MemoryMarshal.Write(bytes.AsSpan(block * type.BlockBytes() + scale), (System.Half)(random.NextDouble() * 0.1 - 0.05));
        return bytes;
    }

    internal static IEnumerable<KeyValuePair<string, object>> Entries(params (string Key, object Value)[] entries) =>
        entries.Select(e => KeyValuePair.Create(e.Key, e.Value));

    internal static float[] Singles(ITensorSource source, string name)
    {
        StoredTensor tensor = source.Find(name)!;
        int count = (int)tensor.Info.Shape.Aggregate(1L, (n, s) => n * s);
        byte[] scratch = new byte[tensor.ScratchBytes(count)];
        var values = new float[count];
        ElementConversion.ToSingle(tensor.ElementType, tensor.Elements(0, count, scratch), values);
        return values;
    }

    private static double Half(byte[] block, int at) => (double)MemoryMarshal.Read<System.Half>(block.AsSpan(at));
}
