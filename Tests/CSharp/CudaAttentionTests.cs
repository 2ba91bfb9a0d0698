using Legato.Runtime.Cuda;
using Legato.Runtime.Devices;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>Attention in 16 bits on a GPU, against the interpreter; and what its kernels make of masks.</summary>
[TestFixture(false)]
[TestFixture(true)]
public class CudaAttentionTests(bool portable)
{
    private const int Batch = 2;

    private static readonly string[] Gradients = ["dq", "dk", "dv"];

    private static readonly Expr Causal = Op(Operation.LessOrEqual, V("k"), V("q"));

    private static readonly Expr Window = Op(Operation.And, Causal, Op(Operation.Less, Sub(V("q"), V("k")), new Expr.Size(Extent.Dimension("reach"))));

    private static readonly Expr SoftCap = Mul(F(5), Op(Operation.Tanh, Div(V("score"), F(5))));

    private static readonly Expr Biased = Add(V("score"), Mul(Load(0, At("h")), Op(Operation.ToFloat, Sub(V("k"), V("q")))));

    /// <summary>Early queries see no key, and no query sees late keys: whole tiles of both.</summary>
    private static readonly Expr Corner = Op(Operation.And, Op(Operation.Less, V("k"), N(40)), Op(Operation.Less, N(69), V("q")));

    private static readonly (string Name, Expr? Mask, Expr? Score)[] Meanings =
    [
        ("all", null, null), ("causal", Causal, null), ("window", Window, null), ("corner", Corner, null), ("capped", Causal, SoftCap), ("biased", Window, Biased),
    ];

    [Test]
    public void AMaskTellsOfABoxFromItsEnds()
    {
        var kinds = new CudaMaskKind(_ => "reach");
        Assert.That(kinds.Of(Causal), Is.EqualTo("((long long)k1 <= (long long)q0) ? 2 : ((long long)k0 <= (long long)q1) ? 1 : 0"));
        Assert.That(kinds.Of(Op(Operation.Not, Causal)), Is.EqualTo("!(((long long)k0 <= (long long)q1)) ? 2 : !(((long long)k1 <= (long long)q0)) ? 1 : 0"));
        Assert.That(
            kinds.Of(Op(Operation.Less, Sub(V("q"), V("k")), new Expr.Size(Extent.Dimension("reach")))),
            Is.EqualTo("(((long long)q1 - (long long)k0) < (long long)reach) ? 2 : (((long long)q0 - (long long)k1) < (long long)reach) ? 1 : 0"));
    }

    [Test]
    public void WhatAMaskLoadsIsNotKnown() =>
        Assert.That(new CudaMaskKind(_ => "").Of(Op(Operation.Equal, Load(0, At("q")), Load(0, At("k")))), Is.EqualTo("false ? 2 : true ? 1 : 0"));

    [Test]
    public void ForwardAndGradient(
        [Values("all", "causal", "window", "corner", "capped", "biased")] string meaning, [Values(ScalarType.BF16, ScalarType.F16)] ScalarType type,
        [Values(32, 40, 64, 128, 256)] int headSize, [Values(2, 150)] int length)
    {
        (PlanFixture fixture, Plan plan) = ThereAndBack(meaning, type, headSize, 4, 2, length);
        Agree(fixture, plan, type, [("reach", 37)], "o", "dq", "dk", "dv");
    }

    /// <summary>
    /// Long enough for many blocks to add to the gradient of one query, with enough heads for both orders that they do it in: the same bits every
    /// time, and the gradients of the kernels that sum within a block.
    /// </summary>
    [Test]
    public void LongGradientsHaveTheSameBitsEveryTime([Values("all", "causal", "window")] string meaning, [Values(64, 128)] int headSize, [Values(2, 36)] int keyHeads)
    {
        if (!CudaMachine.IsUsable)
            Assert.Ignore("this machine has no GPU");
        (PlanFixture fixture, Plan plan) = ThereAndBack(meaning, ScalarType.BF16, headSize, Math.Max(6, keyHeads), keyHeads, 1100);
        using var cuda = new CudaDevice(new CudaDeviceOptions(Portable: portable));
        using var other = new CudaDevice(new CudaDeviceOptions(Portable: true));
        Dictionary<string, double[]> first = fixture.Run(cuda, plan, ("reach", 64)), expected = fixture.Run(other, plan, ("reach", 64));
        for (int run = 0; run < 3; run++)
        {
            Dictionary<string, double[]> again = fixture.Run(cuda, plan, ("reach", 64));
            foreach (string name in Gradients)
                Elements.AreEqual(again[name], first[name], name);
        }
        foreach (string name in Gradients)
            Assert.That(Norm([.. first[name].Zip(expected[name], (x, y) => x - y)]) / Norm(expected[name]), Is.LessThan(8e-3), name);
    }

    [Test]
    public void QueriesBehindAPast([Values("causal", "biased")] string meaning, [Values(1, 5, 70)] int queries, [Values(32, 64, 128, 256)] int headSize) =>
        BehindAPast(meaning, queries, headSize, 8, 2300);

    /// <summary>Room for few keys has a row's blocks work as a cluster; more than eight heads of a key head take both halves of a tile.</summary>
    [Test, Pairwise]
    public void OneQueryBehindAPast(
        [Values("causal", "biased")] string meaning, [Values(64, 128, 256)] int headSize, [Values(2, 8, 24)] int heads, [Values(200, 900, 2300)] int context) =>
        BehindAPast(meaning, 1, headSize, heads, context);

    /// <summary>
    /// Blocks take one part of a row in a small batch, several or all in larger ones. Where keys and values are a cache, all but the newest are
    /// fetched before it is looked at.
    /// </summary>
    [Test, Pairwise]
    public void ARowOfOneQueryHasTheSameBitsInAnyBatch([Values(64, 128)] int headSize, [Values(60, 620, 1100)] int context, [Values] bool isCached)
    {
        if (!CudaMachine.IsUsable)
            Assert.Ignore("this machine has no GPU");
        const int heads = 8, keyHeads = 2, few = 3;
        using var cuda = new CudaDevice(new CudaDeviceOptions(Portable: portable));
        using var interpreter = new InterpreterDevice();
        double[] Output(IDevice device, int batch)
        {
            BufferClass kind = isCached ? BufferClass.Cache : BufferClass.Activation;
            PlanFixture fixture = Operands(ScalarType.BF16, headSize, heads, keyHeads, 1, context, batch, kind)
                .Given("past", batch, ScalarType.I32, [.. Enumerable.Range(0, batch).Select(b => (double)(context - 1 - 67 * b % context))]);
            var step = new Step.Attention(
                "attention", Cost.Zero, Shape("causal", headSize, heads, keyHeads, 1, context, batch), Tensor(fixture, "q", 1, heads, headSize),
                Tensor(fixture, "k", context, keyHeads, headSize), Tensor(fixture, "v", context, keyHeads, headSize), Tensor(fixture, "o", 1, heads, headSize),
                null, fixture.View("past"), [fixture.View("slopes")]);
            return fixture.Run(device, fixture.Plan(step) with { Purpose = Purpose.Decode }, ("reach", 37))["o"];
        }

        double[] expected = Output(interpreter, few), actual = Output(cuda, few);
        Assert.That(Norm([.. actual.Zip(expected, (x, y) => x - y)]) / Norm(expected), Is.LessThan(8e-3));
        foreach (int batch in new[] { 1, 20, 60 })
        {
            double[] among = Output(cuda, batch);
            int common = Math.Min(among.Length, actual.Length);
            Assert.That(among.AsSpan(0, common).SequenceEqual(actual.AsSpan(0, common)), $"batch {batch}");
        }
    }

    private void BehindAPast(string meaning, int queries, int headSize, int heads, int context)
    {
        const int keyHeads = 2;
        int used = context - 100;
        PlanFixture fixture = Operands(ScalarType.BF16, headSize, heads, keyHeads, queries, context)
            .Given("past", Batch, ScalarType.I32, [3, used - queries]).Dimension("context", context);
        var step = new Step.Attention(
            "attention", Cost.Zero, Shape(meaning, headSize, heads, keyHeads, queries, Extent.Dimension("context")), Tensor(fixture, "q", queries, heads, headSize),
            Tensor(fixture, "k", context, keyHeads, headSize), Tensor(fixture, "v", context, keyHeads, headSize), Tensor(fixture, "o", queries, heads, headSize),
            null, fixture.View("past"), [fixture.View("slopes")]);
        Agree(fixture, fixture.Plan(step), ScalarType.BF16, [("context", used), ("reach", 37)], "o");
    }

    /// <summary>Attention and its gradient.</summary>
    private static (PlanFixture Fixture, Plan Plan) ThereAndBack(string meaning, ScalarType type, int headSize, int heads, int keyHeads, int length)
    {
        PlanFixture fixture = Operands(type, headSize, heads, keyHeads, length, length).Zeros("lse", Batch * heads * length).Zeros("dot", Batch * heads * length);
        long queries = Batch * length * heads * headSize, keys = Batch * length * keyHeads * headSize;
        fixture.Random("do", queries, type).Zeros("dq", queries, type).Zeros("dk", keys, type).Zeros("dv", keys, type);
        AttentionShape shape = Shape(meaning, headSize, heads, keyHeads, length, length);
        HeadTensor Query(string name) => Tensor(fixture, name, length, heads, headSize);
        HeadTensor Key(string name) => Tensor(fixture, name, length, keyHeads, headSize);
        var forward = new Step.Attention(
            "attention", Cost.Zero, shape, Query("q"), Key("k"), Key("v"), Query("o"), fixture.View("lse"), null, [fixture.View("slopes")]);
        var gradient = new Step.AttentionGradient(
            "gradient", Cost.Zero, shape, Query("q"), Key("k"), Key("v"), Query("o"), fixture.View("lse"), Query("do"),
            Query("dq"), Key("dk"), Key("dv"), fixture.View("dot"), [fixture.View("slopes")]);
        return (fixture, fixture.Plan(forward, gradient));
    }

    private static PlanFixture Operands(
        ScalarType type, int headSize, int heads, int keyHeads, int queries, int keys, int batch = Batch, BufferClass kind = BufferClass.Activation) => new PlanFixture()
        .Dimension("reach", 64)
        .Random("q", batch * queries * heads * headSize, type).Random("k", batch * keys * keyHeads * headSize, type, kind: kind)
        .Random("v", batch * keys * keyHeads * headSize, type, kind: kind).Zeros("o", batch * queries * heads * headSize, type).Random("slopes", heads);

    private static HeadTensor Tensor(PlanFixture fixture, string name, int length, int heads, int headSize) =>
        new(fixture.View(name), length * heads * headSize, heads * headSize, headSize);

    private static AttentionShape Shape(string meaning, int headSize, int heads, int keyHeads, Extent queries, Extent keys, int batch = Batch)
    {
        (_, Expr? mask, Expr? score) = Meanings.First(m => m.Name == meaning);
        return new AttentionShape(batch, heads, keyHeads, queries, keys, headSize, headSize, 1 / Math.Sqrt(headSize), mask, score);
    }

    /// <summary>Differences are held against what 16 bits hold of the outputs' size; a second run gives the same bits.</summary>
    private void Agree(PlanFixture fixture, Plan plan, ScalarType type, (string, long)[] bindings, params string[] outputs)
    {
        if (!CudaMachine.IsUsable)
            Assert.Ignore("this machine has no GPU");
        double tolerance = type == ScalarType.BF16 ? 8e-3 : 1e-3;
        using var cuda = new CudaDevice(new CudaDeviceOptions(Portable: portable));
        using var interpreter = new InterpreterDevice();
        Dictionary<string, double[]> actual = fixture.Run(cuda, plan, bindings), again = fixture.Run(cuda, plan, bindings);
        Dictionary<string, double[]> expected = fixture.Run(interpreter, plan, bindings);
        foreach (string name in outputs)
        {
            double size = Math.Max(0.1, Norm(expected[name]));
            Assert.That(Norm([.. actual[name].Zip(expected[name], (x, y) => x - y)]) / size, Is.LessThan(tolerance), name);
            Elements.AreEqual(again[name], actual[name], $"{name}: the same bits every time");
        }
    }

    private static double Norm(double[] values) => Math.Sqrt(values.Sum(x => x * x));
}
