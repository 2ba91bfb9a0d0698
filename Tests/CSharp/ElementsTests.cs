using NUnit.Framework;

namespace Legato.Tests;

[TestFixture]
public class ElementsTests
{
    private static string? Difference(double[] actual, double[] expected, double tolerance) => Elements.Difference(actual, expected, _ => tolerance);

    [Test]
    public void WhatAgrees()
    {
        Assert.That(Difference([1, -0.0, double.NaN, double.PositiveInfinity], [1, 0.0, double.NaN, double.PositiveInfinity], 0), Is.Null);
        Assert.That(Difference([1.5, -2], [1, -2.5], 0.5), Is.Null);
        Assert.That(Elements.Difference([10, 1], [11, 1], expected => expected / 10), Is.Null);
    }

    [Test]
    public void WhatDiffersIsToldWithItsPlace()
    {
        Assert.That(Difference([1, 2, 3, 9], [1, 2.5, 3, 4], 0.1), Is.EqualTo("2 of 4 elements differ, first [1] 2 instead of 2.5, most [3] 9 instead of 4"));
        Assert.That(Difference([1, 2], [1], 0), Is.EqualTo("2 elements instead of 1"));
    }

    [Test]
    public void NoToleranceTakesANumberThatIsNone([Values(double.NaN, double.PositiveInfinity, double.NegativeInfinity)] double odd)
    {
        Assert.That(Difference([odd, 9], [0, 0], 1), Does.StartWith("2 of 2").And.Contain("most [0]"));
        Assert.That(Difference([0], [odd], 1), Is.Not.Null);
    }

    [Test]
    public void AFailureNamesTheTensor() =>
        Assert.That(() => Elements.AreEqual([1], [2], "weights"), Throws.TypeOf<AssertionException>().With.Message.Contains("weights: 1 of 1 elements differ"));
}
