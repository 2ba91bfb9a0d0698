using Legato.Runtime.Cuda;
using NUnit.Framework;

namespace Legato.Tests;

[TestFixture]
public class MeasuredChoiceTests
{
    [Test]
    public void TimesThatDifferByChanceChooseTheSame()
    {
        var random = new Random(1);
        for (int start = 0; start < 1000; start++)
        {
            double[] measured = [.. new[] { 1.05, 1.0, 1.005, 0.995 }.Select(seconds => seconds * (1 + 0.008 * (random.NextDouble() - 0.5)))];
            Assert.That(MeasuredChoice.Of(measured), Is.EqualTo(1), string.Join(' ', measured));
        }
    }

    [TestCase(new[] { 1.0, 0.98, 0.99 }, 0)]
    [TestCase(new[] { 1.0, 0.98, 0.96 }, 1)]
    [TestCase(new[] { 1.0, 0.5, 0.9 }, 1)]
    [TestCase(new[] { double.PositiveInfinity, 2.0, 1.99 }, 1)]
    [TestCase(new[] { double.PositiveInfinity, double.PositiveInfinity }, 0)]
    public void TheFirstThatTheFastestDoesNotClearlyBeat(double[] seconds, int chosen) =>
        Assert.That(MeasuredChoice.Of(seconds), Is.EqualTo(chosen));

    [Test]
    public void WhatWasNotMeasuredDisplacesNothingAndIsNotDisplaced()
    {
        Assert.That(MeasuredChoice.Displaces(double.NaN, 1), Is.False);
        Assert.That(MeasuredChoice.Displaces(1, double.NaN), Is.False);
        Assert.That(MeasuredChoice.Displaces(1, 1.1), Is.True);
    }
}
