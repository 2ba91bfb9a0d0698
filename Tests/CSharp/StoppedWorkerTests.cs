using Legato.Runtime.Cpu;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>
/// Workers that the system stops in the midst of a skinny product, as hosts of virtual machines do hundreds of times a second: others
/// compute what they have in hand, once, with the same bits.
/// </summary>
[TestFixture(1)]
[TestFixture(3)]
public class StoppedWorkerTests
{
    /// <summary>Parts that are taken in several pieces, the last of which isn't whole.</summary>
    private const int Depth = 2048, Width = 1032, Rounds = 6;

    private readonly int rows;
    private readonly PlanFixture fixture;

    public StoppedWorkerTests(int rows)
    {
        this.rows = rows;
        fixture = new PlanFixture()
            .Random("x", rows * Depth).Random("w", Width * Depth, ScalarType.BF16).Random("v", Width * Width).Random("y", rows * Width)
            .Zeros("a", rows * Width).Zeros("b", rows * Width);
    }

    [SetUp]
    public void OnlyWhereProductsAreSkinny()
    {
        if (CpuIsaChoice.Active != CpuIsa.Avx512)
            Assert.Ignore("skinny products take AVX-512");
    }

    [Test]
    public void WhatAStoppedWorkerHasInHandIsDoneByAnother([Values(2, 3)] int threads, [Values(0, 1)] int stopped)
    {
        Dictionary<string, double[]> expected = Run(threads, null, out _);
        int stops = 0, late = 0;
        using var device = new CpuDevice(new CpuDeviceOptions(threads, Pin: false));
        device.Team.BeforeHandingIn = worker =>
        {
            if (worker.Index != stopped || Interlocked.Exchange(ref stops, 1) != 0) return;
            if (SpinWait.SpinUntil(() => worker.Progress.IsComplete(worker.RunNumber), TimeSpan.FromSeconds(20))) late++;
        };
        // On few cores others may have done all before that worker begins.
        Dictionary<string, double[]> actual = fixture.Run(device, Plan());
        for (int tries = 0; stops == 0 && tries < 100; tries++)
            actual = fixture.Run(device, Plan());
        Assert.That((stops, late), Is.EqualTo((1, 1)), "the step was over before the stopped worker went on");
        foreach ((string name, double[] values) in expected)
            Elements.AreEqual(actual[name], values, name);
    }

    [Test]
    public void WorkersThatAreStoppedAnywhereChangeNoBit([Values(2, 3, 4)] int threads, [Values(1, 2, 3)] int seed)
    {
        Dictionary<string, double[]> expected = Run(threads: 1, null, out _);
        Dictionary<string, double[]> actual = Run(threads, new Random(seed), out int stops);
        Assert.That(stops, Is.Positive);
        foreach ((string name, double[] values) in expected)
            Elements.AreEqual(actual[name], values, name);
    }

    /// <summary>Of two products of one matrix the first is too narrow to be skinny: both are one step, one after the other.</summary>
    [Test]
    public void AStepOfDifferentProductsIsOverWhenBothAre([Values(0, 1)] int slow)
    {
        const int narrow = 8;
        PlanFixture both = new PlanFixture()
            .Random("x", rows * Depth).Random("n", narrow * Depth).Random("w", Width * Depth, ScalarType.BF16).Random("v", Width * Width)
            .Zeros("a", rows * narrow).Zeros("b", rows * Width).Zeros("y", rows * Width);
        Plan plan = both.Plan(Of("a", "x", Depth, "n", narrow), Of("b", "x", Depth, "w", Width), Of("y", "b", Width, "v", Width));
        using var alone = new CpuDevice(new CpuDeviceOptions(1, Pin: false));
        Dictionary<string, double[]> expected = both.Run(alone, plan);
        using var device = new CpuDevice(new CpuDeviceOptions(2, Pin: false));
        device.Team.BeforeHandingIn = worker =>
        {
            if (worker.Index == slow) Thread.Sleep(20);
        };
        Elements.AreEqual(both.Run(device, plan)["y"], expected["y"], "y");

        Step.MatrixProduct Of(string output, string left, int depth, string weights, int width) => new(
            output, Cost.Zero, rows, width, depth, new Matrix(both.View(left), depth, 1), new Matrix(both.View(weights), 1, depth),
            new Matrix(both.View(output), width, 1), Accumulate: false, [], null, []);
    }

    private Dictionary<string, double[]> Run(int threads, Random? random, out int stops)
    {
        int count = 0;
        using var device = new CpuDevice(new CpuDeviceOptions(threads, Pin: false));
        if (random is not null)
            device.Team.BeforeHandingIn = _ =>
            {
                int pause;
                lock (random) pause = random.Next(8);
                if (pause > 1) return;
                Interlocked.Increment(ref count);
                if (pause == 0) Thread.Sleep(1);
                else Thread.SpinWait(2000);
            };
        Dictionary<string, double[]> result = fixture.Run(device, Plan());
        stops = count;
        return result;
    }

    /// <summary>
    /// Products that need one another, are added to what is there, and use memory again: what a late worker reads has been written over.
    /// </summary>
    private Plan Plan()
    {
        Runtime.Plans.Index at = At("i", Width, "j");
        Kernel halve = Kernel([InOut("y")], Grid("i", N(rows), Vector("j", N(Width), Store(0, at, Mul(Load(0, at), F(0.03))))));
        var steps = new List<Step>();
        for (int round = 0; round < Rounds; round++)
        {
            steps.Add(Product("a", "x", Depth, "w"));
            steps.Add(Product("b", "x", Depth, "w"));
            steps.Add(Product("y", "a", Width, "v") with { Accumulate = true });
            steps.Add(fixture.Fused(halve));
            steps.Add(Product("a", "y", Width, "v"));
            steps.Add(TimesA(Product("b", "y", Width, "v")));
            steps.Add(Product("y", "b", Width, "v") with { Accumulate = true });
            steps.Add(fixture.Fused(halve));
        }
        return fixture.Plan([.. steps]);
    }

    private Step.MatrixProduct Product(string output, string left, int depth, string weights) => new(
        output, Cost.Zero, rows, Width, depth, new Matrix(fixture.View(left), depth, 1), new Matrix(fixture.View(weights), 1, depth),
        new Matrix(fixture.View(output), Width, 1), Accumulate: false, [], null, []);

    private Step.MatrixProduct TimesA(Step.MatrixProduct product)
    {
        Runtime.Plans.Index at = At("m", Width, "n");
        var epilogue = new Kernel(
            "epilogue", [InOut("out"), In("a")], ["m0", "m1", "n0", "n1"],
            [Loop(LoopKind.Grid, "m", V("m0"), V("m1"), Loop(LoopKind.Vector, "n", V("n0"), V("n1"), Store(0, at, Mul(Load(0, at), Load(1, at)))))]);
        return product with { Epilogue = epilogue, EpilogueOperands = [fixture.View("a")] };
    }
}
