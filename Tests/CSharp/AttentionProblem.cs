using System.Runtime.InteropServices;
using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>Sizes, mask and score modification of a random attention.</summary>
internal sealed record AttentionCase(int Batch, int Heads, int KeyHeads, int Queries, int Keys, int HeadSize, int ValueSize)
{
    public Expr? Mask { get; init; }

    public Expr? Score { get; init; }

    /// <summary>Keys before the first query, for each batch row.</summary>
    public int[]? Past { get; init; }

    public ScalarType CacheType { get; init; } = ScalarType.F32;

    public AttentionShape Shape =>
        new(Batch, Heads, KeyHeads, Queries, Keys, HeadSize, ValueSize, 1 / Math.Sqrt(HeadSize), Mask, Score);
}

/// <summary>
/// A random attention in native memory, every operand with gaps between its rows, and its results by definition in float64.
/// What lies in the gaps and behind the operands must survive.
/// </summary>
internal sealed unsafe class AttentionProblem : IDisposable
{
    private const float Untouched = 12345.5f;

    private readonly AttentionCase c;
    private readonly List<nint> memory = [];
    private readonly HeadMemory query, key, value, output, outputGradient, queryGradient, keyGradient, valueGradient;
    private readonly nint logSumExp, rowDot, past, extra;
    private readonly int* documents;

    public AttentionProblem(AttentionCase attention, int seed = 1)
    {
        c = attention;
        var random = new Random(seed);
        query = Heads(c.Queries, c.Heads, c.HeadSize, random);
        key = Heads(c.Keys, c.KeyHeads, c.HeadSize, random, c.CacheType);
        value = Heads(c.Keys, c.KeyHeads, c.ValueSize, random, c.CacheType);
        output = Heads(c.Queries, c.Heads, c.ValueSize, null);
        outputGradient = Heads(c.Queries, c.Heads, c.ValueSize, random);
        queryGradient = Heads(c.Queries, c.Heads, c.HeadSize, null);
        keyGradient = Heads(c.Keys, c.KeyHeads, c.HeadSize, null);
        valueGradient = Heads(c.Keys, c.KeyHeads, c.ValueSize, null);
        logSumExp = Allocate(c.Batch * c.Heads * c.Queries);
        rowDot = Allocate(c.Batch * c.Heads * c.Queries);
        past = c.Past is null ? 0 : Allocate(c.Batch);
        for (int b = 0; c.Past is not null && b < c.Batch; b++)
            ((int*)past)[b] = c.Past[b];
        documents = (int*)Allocate(c.Batch * c.Keys);
        for (int i = 0; i < c.Batch * c.Keys; i++)
            documents[i] = i % c.Keys == 0 ? 0 : documents[i - 1] + (random.Next(c.Keys / 3 + 2) == 0 ? 1 : 0);
        extra = Allocate(2);
        *(nint*)extra = (nint)documents;
    }

    public AttentionArgs Args(CpuIsa isa, bool gradient = false) => new()
    {
        Program = gradient
            ? AttentionProgram.Gradient(c.Shape, _ => 0, [ScalarType.I32], new KernelCompiler(isa))
            : AttentionProgram.Forward(c.Shape, _ => 0, [ScalarType.I32], new KernelCompiler(isa)),
        Batch = c.Batch,
        Heads = c.Heads,
        KeyHeads = c.KeyHeads,
        QueryLength = c.Queries,
        KeyLength = c.Keys,
        HeadSize = c.HeadSize,
        ValueSize = c.ValueSize,
        Query = query,
        Key = key,
        Value = value,
        Output = output,
        LogSumExp = logSumExp,
        Past = past,
        Extra = extra,
    };

    /// <summary>Runs the forward step and returns the output and the log-sum-exp.</summary>
    public float[] Forward(Team team, CpuIsa isa)
    {
        AttentionArgs args = Args(isa);
        long bytes = AttentionForward.ScratchBytes(args, team.Count);
        args = args with { Scratch = Allocate((int)(bytes / sizeof(float))) };
        team.Run(worker => AttentionForward.Run(worker, args, isa));
        CheckEnds();
        return [.. Read(output, c.Queries, c.Heads, c.ValueSize), .. new ReadOnlySpan<float>((float*)logSumExp, c.Batch * c.Heads * c.Queries)];
    }

    /// <summary>Runs the gradient step after the forward one and returns the gradients of queries, keys and values.</summary>
    public float[] Backward(Team team, CpuIsa isa)
    {
        var args = new AttentionGradientArgs
        {
            Forward = Args(isa, gradient: true),
            OutputGradient = outputGradient,
            RowDot = rowDot,
            QueryGradient = queryGradient,
            KeyGradient = keyGradient,
            ValueGradient = valueGradient,
        };
        long bytes = AttentionBackward.ScratchBytes(args, team.Count);
        args = args with { Forward = args.Forward with { Scratch = Allocate((int)(bytes / sizeof(float))) } };
        team.Run(worker => AttentionBackward.Run(worker, args, isa));
        CheckEnds();
        return
        [
            .. Read(queryGradient, c.Queries, c.Heads, c.HeadSize), .. Read(keyGradient, c.Keys, c.KeyHeads, c.HeadSize),
            .. Read(valueGradient, c.Keys, c.KeyHeads, c.ValueSize),
        ];
    }

    /// <summary>The same by definition.</summary>
    public (double[] Forward, double[] Backward) Reference()
    {
        int group = c.Heads / c.KeyHeads;
        double scale = 1 / Math.Sqrt(c.HeadSize);
        double[,,,] q = Wide(query, c.Queries, c.Heads, c.HeadSize), dout = Wide(outputGradient, c.Queries, c.Heads, c.ValueSize);
        double[,,,] k = Wide(key, c.Keys, c.KeyHeads, c.HeadSize), v = Wide(value, c.Keys, c.KeyHeads, c.ValueSize);
        var o = new double[c.Batch, c.Queries, c.Heads, c.ValueSize];
        var lse = new double[c.Batch, c.Heads, c.Queries];
        double[,,,] dq = (double[,,,])q.Clone(), dk = (double[,,,])k.Clone(), dv = (double[,,,])v.Clone();
        Array.Clear(dq);
        Array.Clear(dk);
        Array.Clear(dv);
        for (int b = 0; b < c.Batch; b++)
            for (int h = 0; h < c.Heads; h++)
                for (int i = 0; i < c.Queries; i++)
                {
                    int g = h / group, first = c.Past?[b] ?? 0, keys = c.Past is null ? c.Keys : first + c.Queries, at = first + i;
                    double[] p = new double[keys], slope = new double[keys];
                    double largest = double.NegativeInfinity, sum = 0;
                    for (int j = 0; j < keys; j++)
                    {
                        double raw = 0;
                        for (int d = 0; d < c.HeadSize; d++)
                            raw += scale * q[b, i, h, d] * k[b, j, g, d];
                        bool visible = c.Mask is null || AttentionExpressions.Integer(c.Mask, b, h, at, j, x => documents[x]) != 0;
                        p[j] = !visible ? double.NegativeInfinity : c.Score is null ? raw : AttentionExpressions.Float(c.Score, h, at, j, raw);
                        slope[j] = c.Score is null ? 1 : Slope(h, at, j, raw);
                        largest = Math.Max(largest, p[j]);
                    }
                    for (int j = 0; j < keys; j++)
                        sum += p[j] = double.IsNegativeInfinity(p[j]) ? 0 : Math.Exp(p[j] - largest);
                    lse[b, h, i] = largest + Math.Log(sum);
                    double dot = 0;
                    for (int j = 0; j < keys; j++)
                        for (int d = 0; d < c.ValueSize && sum > 0; d++)
                            o[b, i, h, d] += p[j] / sum * v[b, j, g, d];
                    for (int d = 0; d < c.ValueSize; d++)
                        dot += o[b, i, h, d] * dout[b, i, h, d];
                    for (int j = 0; j < keys && sum > 0; j++)
                    {
                        double dp = 0, probability = p[j] / sum;
                        for (int d = 0; d < c.ValueSize; d++)
                        {
                            dp += dout[b, i, h, d] * v[b, j, g, d];
                            dv[b, j, g, d] += probability * dout[b, i, h, d];
                        }
                        double ds = probability * (dp - dot) * slope[j] * scale;
                        for (int d = 0; d < c.HeadSize; d++)
                        {
                            dq[b, i, h, d] += ds * k[b, j, g, d];
                            dk[b, j, g, d] += ds * q[b, i, h, d];
                        }
                    }
                }
        return ([.. o.Cast<double>(), .. lse.Cast<double>()], [.. dq.Cast<double>(), .. dk.Cast<double>(), .. dv.Cast<double>()]);
    }

    /// <summary>The operands' rows of the last query alone, as a step that decodes it with everything before it in the cache.</summary>
    public float[] DecodeLast(Team team, CpuIsa isa)
    {
        nint positions = Allocate(c.Batch);
        for (int b = 0; b < c.Batch; b++)
            ((int*)positions)[b] = c.Queries - 1;
        AttentionArgs all = Args(isa);
        nint skip = (nint)((c.Queries - 1) * query.PositionStride * sizeof(float));
        var args = all with { QueryLength = 1, Query = query with { Data = query.Data + skip }, LogSumExp = 0, Past = positions };
        args = args with { Scratch = Allocate((int)(AttentionForward.ScratchBytes(args, team.Count) / sizeof(float))) };
        team.Run(worker => AttentionForward.Run(worker, args, isa));
        CheckEnds();
        return Read(output, 1, c.Heads, c.ValueSize);
    }

    /// <summary>Neither step allocates managed memory on the thread that executes it.</summary>
    public void AssertAllocatesNothing(Team team)
    {
        CpuIsa isa = CpuIsaChoice.Best;
        AttentionArgs forward = Args(isa);
        forward = forward with { Scratch = Allocate((int)(AttentionForward.ScratchBytes(forward, 1) / sizeof(float))) };
        var backward = new AttentionGradientArgs
        {
            Forward = Args(isa, gradient: true),
            OutputGradient = outputGradient,
            RowDot = rowDot,
            QueryGradient = queryGradient,
            KeyGradient = keyGradient,
            ValueGradient = valueGradient,
        };
        backward = backward with { Forward = backward.Forward with { Scratch = Allocate((int)(AttentionBackward.ScratchBytes(backward, 1) / sizeof(float))) } };
        long allocated = 0;
        for (int i = 0; i < 2; i++)
            team.Run(worker =>
            {
                long before = GC.GetAllocatedBytesForCurrentThread();
                AttentionForward.Run(worker, forward, isa);
                worker.Barrier();
                AttentionBackward.Run(worker, backward, isa);
                allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            });
        Assert.That(allocated, Is.Zero);
    }

    public void Dispose()
    {
        foreach (nint piece in memory)
            NativeMemory.AlignedFree((void*)piece);
    }

    public static void AssertNear(float[] actual, double[] expected, double tolerance, string what)
    {
        Assert.That(actual, Has.Length.EqualTo(expected.Length));
        for (int i = 0; i < actual.Length; i++)
            if (!(actual[i] == expected[i] || Math.Abs(actual[i] - expected[i]) <= tolerance * (1 + Math.Abs(expected[i]))))
                Assert.Fail($"{what}: element {i} of {actual.Length} is {actual[i]}, not {expected[i]}");
    }

    private double Slope(int h, int q, int k, double raw)
    {
        const double Step = 1e-5;
        return (AttentionExpressions.Float(c.Score!, h, q, k, raw + Step) - AttentionExpressions.Float(c.Score!, h, q, k, raw - Step)) / (2 * Step);
    }

    private HeadMemory Heads(int positions, int heads, int size, Random? random, ScalarType type = ScalarType.F32)
    {
        int head = size + 3, position = heads * head + 5, batch = positions * position + 7;
        var result = new HeadMemory(Allocate(c.Batch * batch), batch, position, head, type);
        for (int b = 0; b < c.Batch && random is not null; b++)
            for (int p = 0; p < positions; p++)
                for (int h = 0; h < heads; h++)
                    for (int d = 0; d < size; d++)
                        Write(result, b, p, h, d, 2 * (float)(random.NextDouble() + random.NextDouble() - 1));
        return result;
    }

    private static void Write(in HeadMemory target, int b, int p, int h, int d, float value)
    {
        byte* row = target.Row(b, p, h);
        switch (target.Type)
        {
            case ScalarType.BF16:
                ((ushort*)row)[d] = (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16);
                break;
            case ScalarType.F16:
                ((Half*)row)[d] = (Half)value;
                break;
            default:
                ((float*)row)[d] = value;
                break;
        }
    }

    private static double Element(in HeadMemory source, int b, int p, int h, int d)
    {
        byte* row = source.Row(b, p, h);
        return source.Type switch
        {
            ScalarType.BF16 => BitConverter.UInt32BitsToSingle((uint)((ushort*)row)[d] << 16),
            ScalarType.F16 => (double)((Half*)row)[d],
            _ => ((float*)row)[d],
        };
    }

    private double[,,,] Wide(in HeadMemory source, int positions, int heads, int size)
    {
        var result = new double[c.Batch, positions, heads, size];
        for (int b = 0; b < c.Batch; b++)
            for (int p = 0; p < positions; p++)
                for (int h = 0; h < heads; h++)
                    for (int d = 0; d < size; d++)
                        result[b, p, h, d] = Element(source, b, p, h, d);
        return result;
    }

    private float[] Read(HeadMemory source, int positions, int heads, int size)
    {
        float[] result = [.. Wide(source, positions, heads, size).Cast<double>().Select(x => (float)x)];
        for (int b = 0; b < c.Batch; b++)
            for (int p = 0; p < positions; p++)
                for (int h = 0; h < heads; h++)
                    Assert.That(((float*)source.Row(b, p, h))[size], Is.EqualTo(Untouched), "what follows a row was overwritten");
        return result;
    }

    /// <summary>Aligned floats, with a guard behind them.</summary>
    private nint Allocate(int count)
    {
        const int Guard = 64;
        var piece = (float*)NativeMemory.AlignedAlloc((nuint)(count + 2 * Guard) * sizeof(float), 64);
        new Span<float>(piece, count + 2 * Guard).Fill(Untouched);
        *(int*)piece = count;
        memory.Add((nint)piece);
        return (nint)(piece + Guard);
    }

    private void CheckEnds()
    {
        foreach (nint piece in memory)
            for (int i = 0, count = *(int*)piece; i < 63; i++)
                if (((float*)piece)[1 + i] != Untouched || ((float*)piece)[64 + count + i] != Untouched)
                    Assert.Fail("memory around an operand was overwritten");
    }
}
