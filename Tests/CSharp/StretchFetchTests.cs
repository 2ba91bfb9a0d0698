using System.Runtime.InteropServices;
using Legato.Runtime.Cpu;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>In which order a row's product fetches the next stretch of weights.</summary>
[TestFixture]
public unsafe class StretchFetchTests
{
    private const int Line = 64, Columns = 16;

    /// <summary>Sixteen columns of so many lines each.</summary>
    [Test]
    public void StreamsMeetEveryLineOnce([Values(1, 3, 24, 48, 128)] int lines)
    {
        nint stretch = lines * Columns * Line, first = 0, second = stretch / FetchInStreams.Streams;
        var met = new List<nint>();
        for (int step = 0; step < lines; step++, first += FetchInStreams.Move(Columns * Line), second += FetchInStreams.Move(Columns * Line))
            for (int stream = 0; stream < FetchInStreams.Streams; stream++)
                for (nint line = 0; line < Columns / FetchInStreams.Streams; line++)
                    met.Add((nint)FetchInStreams.Stream((byte*)first, (byte*)second, stream) + line * Line);
        Assert.That(met.Order(), Is.EqualTo(Enumerable.Range(0, lines * Columns).Select(line => (nint)line * Line)));
    }

    /// <summary>Whichever this processor uses.</summary>
    [Test]
    public void BothOrdersGiveTheSameBits([Values(40, 768, 801, 2048)] int depth)
    {
        if (!CpuIsaChoice.Supports(CpuIsa.Avx512))
            Assert.Ignore("the product is of AVX-512");
        Assert.That(Products<ColumnWordsFloat32, FetchInStreams>(depth), Is.EqualTo(Products<ColumnWordsFloat32, FetchFrontToBack>(depth)));
        Assert.That(Products<ColumnWordsBFloat16, FetchInStreams>(depth), Is.EqualTo(Products<ColumnWordsBFloat16, FetchFrontToBack>(depth)));
    }

    private static float[] Products<TElement, TFetch>(int depth) where TElement : struct, IColumnWords where TFetch : struct, IStretchFetch
    {
        const int times = 3;
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
            var fetch = new ColumnFetch(b + stretch, b + stretch + stretch / FetchInStreams.Streams, b, b, Columns * Line);
            MatrixProductRowColumns512.Products<TElement, TFetch>(times, depth, row, b, stride, fetch, sums, add: false);
        }
        return c;
    }
}
