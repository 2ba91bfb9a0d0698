using Legato.Runtime.Cuda;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>Which epilogues a product of cuBLASLt's takes in.</summary>
[TestFixture]
public class CudaEpilogueTests
{
    private const int Columns = 768;

    private static readonly Expr sum = Load(0, At("m", Columns, "n")), bias = Load(1, At("n")), other = Load(2, At("m", Columns, "n"));

    [Test]
    public void ABias() => Assert.That(Of(Add(sum, bias)), Is.EqualTo(new ProductEpilogue(1, null)));

    [Test]
    public void AMatrix() => Assert.That(Of(Add(other, sum)), Is.EqualTo(new ProductEpilogue(null, 2)));

    [Test]
    public void BothInAnyOrder([Values] bool biasFirst) =>
        Assert.That(Of(biasFirst ? Add(Add(bias, sum), other) : Add(other, Add(sum, bias))), Is.EqualTo(new ProductEpilogue(1, 2)));

    [Test]
    public void NothingElse()
    {
        foreach (Expr value in new[] { Mul(sum, bias), Add(sum, sum), Add(Add(sum, bias), bias), Add(bias, other), Add(sum, F(1)), Sub(sum, bias), Add(sum, Load(1, At("m"))) })
            Assert.That(Of(value), Is.Null, value.ToString());
    }

    [Test]
    public void NoBiasOfAnotherType() => Assert.That(Of(Add(sum, bias), ScalarType.F32), Is.Null);

    [Test]
    public void NoMatrixOfAnotherLayout() => Assert.That(Of(Add(sum, Load(2, At("m", 2 * Columns, "n")))), Is.Null);

    private static ProductEpilogue? Of(Expr value, ScalarType biasType = ScalarType.BF16)
    {
        Kernel epilogue = new("epilogue", [InOut("c", ScalarType.BF16), In("bias", biasType), In("x", ScalarType.BF16)], ["m0", "m1", "n0", "n1"],
            [new Statement.Loop(LoopKind.Grid, "m", V("m0"), V("m1"), [new Statement.Loop(LoopKind.Vector, "n", V("n0"), V("n1"),
                [Let("v", value), Store(0, At("m", Columns, "n"), V("v"))])])]);
        Extent size = Extent.Of(Columns), one = Extent.One;
        Matrix Of(int buffer) => new(BufferView.Whole(buffer), size, one);
        return ProductEpilogue.Of(new Step.MatrixProduct(
            "product", Cost.Zero, size, size, size, Of(0), Of(1), Of(2), false, [], epilogue, [BufferView.Whole(3), BufferView.Whole(4)]));
    }
}
