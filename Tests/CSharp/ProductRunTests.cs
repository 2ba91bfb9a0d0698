using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>Which products may be computed as one.</summary>
[TestFixture]
public class ProductRunTests
{
    private const long Depth = 8;

    [Test]
    public void QueriesKeysAndValuesAreChainsOfTheirOwn() =>
        Assert.That(Chains(Product("q", 6), Product("k", 2), Product("v", 2), Step()), Is.EqualTo("q | k | v"));

    [Test]
    public void AnEpilogueMayReadTheProductBeforeAtItsOwnElement() =>
        Assert.That(Chains(Product("gate", 6), Product("other", 6), Product("up", 6, Times("gate", At("m", 6, "n")))), Is.EqualTo("gate, up | other"));

    [Test]
    public void AnotherElementEndsTheRun() =>
        Assert.That(Chains(Product("gate", 6), Product("up", 6, Times("gate", At("n", 1, "m")))), Is.EqualTo("gate"));

    [Test]
    public void AnotherWidthEndsTheRun() =>
        Assert.That(Chains(Product("gate", 4), Product("up", 6, Times("gate", At("m", 6, "n")))), Is.EqualTo("gate"));

    [Test]
    public void TwoChainsAreNotFollowedAtOnce() =>
        Assert.That(
            Chains(Product("a", 6), Product("b", 6), Product("c", 6, Times("a", At("m", 6, "n")), Times("b", At("m", 6, "n")))), Is.EqualTo("a | b"));

    [Test]
    public void AResidualOfAnotherStepIsNoHindrance() =>
        Assert.That(Chains(Product("a", 6, Times("x", At("m", 6, "n"))), Product("b", 6, Times("x", At("m", 6, "n")))), Is.EqualTo("a | b"));

    [TestCase("left")]
    [TestCase("weight a")]
    [TestCase("a")]
    [TestCase("residual")]
    public void WhatTheFirstUsesIsNotOverwritten(string output) =>
        Assert.That(
            Chains(Product("a", 6, Times("residual", At("m", 6, "n"))), Product("b", 6) with { Output = Rows(output, 6) }), Is.EqualTo("a"));

    [TestCase("left")]
    [TestCase("weight b")]
    public void WhatTheSecondUsesIsNotWrittenBefore(string output) =>
        Assert.That(Chains(Product("a", 6) with { Output = Rows(output, 6) }, Product("b", 6)), Is.EqualTo("a"));

    [Test]
    public void OtherLeftMatricesDepthsAndLoopsEndTheRun()
    {
        Step.MatrixProduct a = Product("a", 6), b = Product("b", 6);
        Assert.That(Chains(a, b with { Left = Rows("other", Depth) }), Is.EqualTo("a"));
        Assert.That(Chains(a, b with { K = Depth - 1 }), Is.EqualTo("a"));
        Assert.That(Chains(a, b with { Batch = [new BatchLoop(2, 1, 1, 1)] }), Is.EqualTo("a"));
        Assert.That(Chains(Step(), a), Is.EqualTo("none"));
    }

    /// <summary>
    /// Queries, keys, values, and an up that reads its gate: whether products are computed as one changes no bit, though the weights of
    /// some lie in panels and those of others in rows.
    /// </summary>
    [Test]
    public void TogetherIsApart(
        [Values(1, 3, 40, 130)] int rows, [Values(33, 800)] int depth, [Values] bool byColumns, [Values(ScalarType.F32, ScalarType.BF16)] ScalarType type,
        [Values(2, 3)] int threads)
    {
        (string Name, long Width)[] outputs = [("q", 160), ("k", 48), ("gate", 512), ("v", 48), ("up", 512)];
        PlanFixture fixture = new PlanFixture().Random("left", rows * depth).Zeros("pause", 1);
        foreach ((string name, long width) in outputs)
            fixture.Random("weight " + name, width * depth, type, kind: name is "q" or "gate" ? BufferClass.Parameter : BufferClass.Activation).Zeros(name, rows * width);
        Step[] together = [.. outputs.Select(o => Of(o.Name, o.Width))];
        Step pause = fixture.Fused(Kernel([Out("pause")], Store(0, At(), F(1))));
        using var device = new CpuDevice(new CpuDeviceOptions(threads, Pin: false));
        Dictionary<string, double[]> run = fixture.Run(device, fixture.Plan(together));
        Dictionary<string, double[]> apart = fixture.Run(device, fixture.Plan([.. together.SelectMany(step => new[] { step, pause })]));
        foreach ((string name, _) in outputs)
        {
            Elements.AreEqual(run[name], apart[name], name);
            Assert.That(run[name], Has.Some.Not.Zero);
        }

        Step Of(string name, long width)
        {
            Step.MatrixProduct product = name == "up" ? Product(name, width, Times("gate", At("m", width, "n"))) : Product(name, width);
            return product with
            {
                M = rows,
                K = depth,
                Left = new Matrix(fixture.View("left"), depth, Extent.One),
                Right = new Matrix(fixture.View("weight " + name), byColumns ? Extent.One : width, byColumns ? depth : Extent.One),
                Output = new Matrix(fixture.View(name), width, Extent.One),
                EpilogueOperands = name == "up" ? [fixture.View("gate")] : [],
            };
        }
    }

    private static string Chains(params Step[] steps) => new ProductRuns((x, y) => x.Buffer == y.Buffer).At(steps, 0) is { } run
        ? string.Join(" | ", run.Chains.Select(chain => string.Join(", ", chain.Select(product => product.Name))))
        : "none";

    private static Step Step() => new Step.Fused("fused", Cost.Zero, Kernel([]), []);

    private static Step.MatrixProduct Product(string name, long width, params (string Operand, Runtime.Plans.Index At)[] factors)
    {
        Runtime.Plans.Index own = At("m", width, "n");
        Expr value = factors.Select((factor, i) => Load(i + 1, factor.At)).Aggregate(Load(0, own), Mul);
        var epilogue = new Kernel(
            "epilogue", [InOut("out"), .. factors.Select(factor => In(factor.Operand))], ["m0", "m1", "n0", "n1"],
            [Loop(LoopKind.Grid, "m", V("m0"), V("m1"), Loop(LoopKind.Vector, "n", V("n0"), V("n1"), Store(0, own, value)))]);
        return new Step.MatrixProduct(
            name, Cost.Zero, Extent.Dimension("batch"), width, Depth, Rows("left", Depth), Rows("weight " + name, width), Rows(name, width), false, [],
            factors.Length == 0 ? null : epilogue, [.. factors.Select(factor => View(factor.Operand))]);
    }

    private static (string Operand, Runtime.Plans.Index At) Times(string operand, Runtime.Plans.Index at) => (operand, at);

    private static Matrix Rows(string name, long width) => new(View(name), width, Extent.One);

    /// <summary>One buffer a name.</summary>
    private static BufferView View(string name) => BufferView.Whole(name.GetHashCode(StringComparison.Ordinal));
}
