using Legato.Runtime.Cuda;
using NUnit.Framework;

namespace Legato.Tests;

[TestFixture]
public class MeasuredChoiceTests
{
    private static int Chosen(params (double Seconds, ulong Digest)[] ways) => MeasuredChoice.Of([.. ways.Select(way => new MeasuredWay(way.Seconds, way.Digest))]);

    [Test]
    public void TimesThatDifferByChanceGiveTheSameBits()
    {
        var random = new Random(1);
        for (int start = 0; start < 1000; start++)
        {
            (double Seconds, ulong Digest)[] ways = [.. new (double Seconds, ulong Digest)[] { (1.25, 7), (1.05, 3), (1.0, 3), (0.99, 5), (1.1, 7), (1.2, 5) }
                .Select(way => (way.Seconds * (1 + 0.1 * (random.NextDouble() - 0.5)), way.Digest))];
            int chosen = Chosen(ways);
            Assert.That(ways[chosen].Digest, Is.EqualTo(7));
            Assert.That(chosen, Is.EqualTo(4));
        }
    }

    [Test]
    public void OfWaysThatRoundAlikeTheFastestIsTaken() => Assert.That(Chosen((1.0, 1), (0.9, 1), (0.899, 2)), Is.EqualTo(1));

    [Test]
    public void AnotherRoundingMustBeClearlyFaster()
    {
        Assert.That(Chosen((1.0, 1), (0.97, 2)), Is.EqualTo(0));
        Assert.That(Chosen((1.16, 1), (1.0, 2)), Is.EqualTo(0));
        Assert.That(Chosen((2.6, 1), (1.0, 2)), Is.EqualTo(1));
        Assert.That(Chosen((2.6, 1), (1.0, 2), (0.85, 3)), Is.EqualTo(1));
    }

    [Test]
    public void WhatFailedIsNotTaken()
    {
        Assert.That(Chosen((double.PositiveInfinity, 0), (2.0, 1), (1.99, 2)), Is.EqualTo(1));
        Assert.That(Chosen((double.PositiveInfinity, 0), (double.PositiveInfinity, 0)), Is.EqualTo(0));
    }

    [Test]
    public void WhatWasNotMeasuredDisplacesNothingAndIsNotDisplaced()
    {
        Assert.That(MeasuredChoice.Displaces(double.NaN, 1), Is.False);
        Assert.That(MeasuredChoice.Displaces(1, double.NaN), Is.False);
        Assert.That(MeasuredChoice.Displaces(1, 1.4), Is.True);
    }
}
