using System.Runtime.InteropServices;
using Legato.Runtime.Cpu;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>In which order a row's product fetches the next stretch of weights.</summary>
[TestFixture]
public unsafe class StretchFetchTests
{
    private const int Line = 64, Columns = 16;

    private static readonly List<nint> Met = [];

    /// <summary>What is asked for while stretches are read is what follows as many of them as are fetched as one.</summary>
    [Test]
    public void StreamsMeetEveryLineOnce([Values(64, 384, 768, 2048)] int depth, [Values(1, 2, 3)] int together)
    {
        if (!CpuIsaChoice.Supports(CpuIsa.Avx512))
            Assert.Ignore("the product is of AVX-512");
        Met.Clear();
        Products<ColumnWordsBFloat16, MetInStreams>(depth, 2 * together, together);
        nint stretch = Columns * depth * sizeof(ushort), start = Met.Min();
        Assert.That(Met.Order(), Is.EqualTo(Enumerable.Range(0, 2 * together * (int)stretch / Line).Select(line => start + (nint)line * Line)));
    }

    /// <summary>Whichever this processor uses.</summary>
    [Test]
    public void BothOrdersGiveTheSameBits([Values(40, 768, 801, 2048)] int depth)
    {
        if (!CpuIsaChoice.Supports(CpuIsa.Avx512))
            Assert.Ignore("the product is of AVX-512");
        Assert.That(Products<ColumnWordsFloat32, FetchInStreams>(depth, 4, 2), Is.EqualTo(Products<ColumnWordsFloat32, FetchFrontToBack>(depth, 4, 1)));
        Assert.That(Products<ColumnWordsBFloat16, FetchFarInStreams>(depth, 4, 2), Is.EqualTo(Products<ColumnWordsBFloat16, FetchFrontToBack>(depth, 4, 1)));
    }

    private static float[] Products<TElement, TFetch>(int depth, int times, int together) where TElement : struct, IColumnWords where TFetch : struct, IStretchFetch
    {
        nint stride = depth * TElement.Size, stretch = Columns * stride;
        var random = new Random(depth);
        float[] a = [.. Enumerable.Range(0, depth).Select(_ => random.NextSingle() - 0.5f)], c = new float[times * Columns];
        float[] values = [.. Enumerable.Range(0, times * Columns * depth).Select(_ => random.NextSingle() - 0.5f)];
        ReadOnlySpan<byte> weights = TElement.Size == sizeof(float)
            ? MemoryMarshal.AsBytes<float>(values)
            : MemoryMarshal.AsBytes<ushort>(values.Select(value => (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16)).ToArray());
        fixed (float* row = a, sums = c)
        fixed (byte* b = weights)
        {
            var fetch = new ColumnFetch(b, b + together * stretch / FetchInStreams.Streams, b, b, Columns * Line, together);
            MatrixProductRowColumns512.Products<TElement, TFetch>(times, depth, row, b, stride, fetch, sums, add: false);
        }
        return c;
    }

    /// <summary>Remembers what would be fetched.</summary>
    private readonly struct MetInStreams : IStretchFetch
    {
        public static nint Move(nint bytes) => FetchInStreams.Move(bytes);

        public static void Fetch(byte* first, byte* second, int part)
        {
            for (int stream = 2 * part; stream < 2 * part + 2; stream++)
                for (int line = 0; line < Columns / FetchInStreams.Streams; line++)
                    Met.Add((nint)FetchInStreams.Stream(first, second, stream) + line * Line);
        }
    }
}
