using Legato.Runtime.Devices;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>The choice of tokens: the same one on every device, whatever the logits and the settings.</summary>
public sealed class ChooseTests
{
    private const int Rows = 24;

    [Test]
    public void EveryDeviceChoosesTheSame(
        [ValueSource(typeof(TestDevices), nameof(TestDevices.Compared))] string name, [Values(1, 37, 1025, 5000, 50_257, 128_256)] int width, [Values(0, 0.02, 0.8, 30)] double temperature)
    {
        using IDevice device = TestDevices.Open(name);
        using var interpreter = new InterpreterDevice();
        int rows = width > 10_000 ? 2 : Rows;
        foreach ((int top, double share) in new[] { (0, 1), (1, 0.5), (5, 1), (50, 0.9), (2000, 0.99), (0, 0.2), (0, 1e-12) })
        {
            PlanFixture fixture = Normal(width, rows, temperature, top, share);
            Assert.That(Tokens(fixture, device, width, rows), Is.EqualTo(Tokens(fixture, interpreter, width, rows)), $"top {top}, share {share}");
        }
    }

    /// <summary>
    /// As little as takes every path, for checkers of kernels, under which a digit of what is looked for takes seconds: a row by a block or by several,
    /// all candidates, those that their number and their weight bound, and equal ones, which only their last digits tell apart.
    /// </summary>
    [Test]
    public void TheLeastThatTakesEveryPath(
        [ValueSource(typeof(TestDevices), nameof(TestDevices.Compared))] string name, [Values(37, 1032)] int width, [Values] bool areEqual)
    {
        const int rows = 1;
        using IDevice device = TestDevices.Open(name);
        using var interpreter = new InterpreterDevice();
        foreach ((double temperature, int top, double share) in areEqual ? new[] { (0.0, 0, 1.0), (0.8, 0, 1.0) } : [(0.8, 0, 1), (0.8, 20, 0.9)])
        {
            PlanFixture fixture = areEqual
                ? Settings(temperature, top, share, rows).Given("logits", width, ScalarType.F32, [.. Enumerable.Range(0, width).Select(i => i % 3 / 4.0)])
                : Normal(width, rows, temperature, top, share);
            Assert.That(Tokens(fixture, device, width, rows), Is.EqualTo(Tokens(fixture, interpreter, width, rows)), $"top {top}, share {share}");
        }
    }

    /// <summary>Few values, so that many are equal: the bounds of the candidates go through them.</summary>
    [Test]
    public void EqualsAreTakenInOrder(
        [ValueSource(typeof(TestDevices), nameof(TestDevices.Compared))] string name, [Values(0, 1)] double temperature, [Values(0, 7, 2000)] int top, [Values(1, 0.5)] double share)
    {
        const int width = 5000;
        var random = new Random(1);
        PlanFixture fixture = Settings(temperature, top, share).Given(
            "logits", Rows * width, ScalarType.F32, [.. Enumerable.Range(0, Rows * width).Select(i => i < width ? -0.0 : i < 2 * width && i % 2 == 0 ? 0.0 : random.Next(4) / 4.0 - 0.5)]);
        using IDevice device = TestDevices.Open(name);
        using var interpreter = new InterpreterDevice();
        Assert.That(Tokens(fixture, device, width), Is.EqualTo(Tokens(fixture, interpreter, width)));
    }

    [Test]
    public void ARowWithoutALikeliestTokenHasNone([ValueSource(typeof(TestDevices), nameof(TestDevices.All))] string name, [Values(0, 1)] double temperature)
    {
        double[] logits =
        [
            1, double.NaN, 2, double.NegativeInfinity, double.NegativeInfinity, double.NegativeInfinity, 1, double.PositiveInfinity, 0, double.NegativeInfinity, -3, double.NegativeInfinity,
        ];
        PlanFixture fixture = Settings(temperature, 0, 1, rows: 4).Given("logits", 12, ScalarType.F32, logits);
        using IDevice device = TestDevices.Open(name);
        Assert.That(Tokens(fixture, device, 3, rows: 4), Is.EqualTo(new double[] { Step.Choose.None, Step.Choose.None, Step.Choose.None, 1 }));
    }

    /// <summary>The same in rows that many blocks share: one NaN or infinity anywhere, and equals far apart.</summary>
    [Test]
    public void WhatStandsAnywhereInALongRowCounts([ValueSource(typeof(TestDevices), nameof(TestDevices.All))] string name, [Values(0, 1)] double temperature)
    {
        const int width = 9001, rows = 5;
        double[] logits = [.. Enumerable.Range(0, rows * width).Select(i => -(double)(i % 7))];
        logits[width - 1] = double.NaN;
        logits[width + 4500] = double.PositiveInfinity;
        Array.Fill(logits, double.NegativeInfinity, 2 * width, width);
        Array.Fill(logits, double.NegativeInfinity, 3 * width, width);
        logits[3 * width + 8123] = -2;
        Array.Fill(logits, -100, 4 * width, width);
        (logits[4 * width + 7000], logits[4 * width + 3000], logits[4 * width + 8999]) = (50, temperature == 0 ? 50 : -100, temperature == 0 ? 50 : -100);
        PlanFixture fixture = Settings(temperature, 0, 1, rows).Given("logits", rows * width, ScalarType.F32, logits);
        using IDevice device = TestDevices.Open(name);
        double[] expected = [Step.Choose.None, Step.Choose.None, Step.Choose.None, 8123, temperature == 0 ? 3000 : 7000];
        Assert.That(Tokens(fixture, device, width, rows), Is.EqualTo(expected));
    }

    private static PlanFixture Normal(int width, int rows, double temperature, int top, double share)
    {
        var random = new Random(width);
        return Settings(temperature, top, share, rows).Given("logits", rows * width, ScalarType.F32, [.. Enumerable.Range(0, rows * width).Select(
            _ => 3 * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()))]);
    }

    private static PlanFixture Settings(double temperature, int top, double share, int rows = Rows)
    {
        var random = new Random(2);
        double[] Words(int count) => [.. Enumerable.Range(0, count).Select(_ => (double)random.Next(int.MinValue, int.MaxValue))];
        return new PlanFixture().Given("settings", 3, ScalarType.F32, [temperature, top, share])
            .Given("streams", 2 * rows, ScalarType.I32, Words(2 * rows)).Given("places", rows, ScalarType.I32, Words(rows)).Zeros("tokens", rows, ScalarType.I32);
    }

    private static double[] Tokens(PlanFixture fixture, IDevice device, int width, int rows = Rows) => fixture.Run(device, fixture.Plan(new Step.Choose(
        "choice", Cost.Zero, rows, width, fixture.View("logits"), fixture.View("settings"), fixture.View("streams"), fixture.View("places"), fixture.View("tokens"))))["tokens"];
}
