using Legato.Runtime.Cuda;
using Legato.Runtime.Devices;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>Decoding's products of few rows: several of one left operand, and what follows them element by element.</summary>
[TestFixture]
public class FewRowsTests
{
    private const int Heads = 4, KeyHeads = 2, Room = 5, MostRows = 16;

    private static readonly Extent Rows = Extent.Dimension("batch");

    [Test]
    public void QueriesKeysAndValuesWithTheirPositions(
        [ValueSource(typeof(TestDevices), nameof(TestDevices.Compared))] string name, [Values(1, 5, 16)] int rows, [Values(64, 2056)] int depth, [Values(16, 24)] int headSize)
    {
        (PlanFixture fixture, Plan plan) = Attention(depth, headSize);
        AgreesWithInterpreter(name, fixture, plan, rows);
    }

    [Test]
    public void GateAndUp([ValueSource(typeof(TestDevices), nameof(TestDevices.Compared))] string name, [Values(1, 16)] int rows, [Values(8, 72, 1544)] int depth, [Values(12, 40, 1200)] int width)
    {
        (PlanFixture fixture, Plan plan) = Gated(depth, width);
        AgreesWithInterpreter(name, fixture, plan, rows);
    }

    /// <summary>A norm that a warp computes, and one that a block does, as part of the launch of the products that read it.</summary>
    [TestCase("cpu", 16, 264, 16)]
    [TestCase("cuda", 1, 264, 16)]
    [TestCase("cuda", 11, 264, 16)]
    [TestCase("cuda", 1, 4096, 2)]
    [TestCase("cuda", 2, 4096, 2)]
    public void ANormBeforeProducts(string name, int rows, int depth, int mostRows)
    {
        (PlanFixture fixture, Plan plan) = Normed(depth, mostRows);
        AgreesWithInterpreter(name, fixture, plan, rows, "x");
    }

    [TestCase(264, 16, ExpectedResult = 1)]
    [TestCase(4096, 2, ExpectedResult = 1)]
    [TestCase(4096, 16, ExpectedResult = 2, Description = "too large for shared memory")]
    public int SourcesOfANormAndProducts(int depth, int mostRows) => Sources(Normed(depth, mostRows).Plan);

    [Test]
    public void ANormThatAnotherStepReadsStaysByItself()
    {
        (PlanFixture fixture, Plan plan) = Normed(264, MostRows);
        fixture.Zeros("copy", Rows * 264, ScalarType.BF16);
        Kernel copy = Kernel([In("x", ScalarType.BF16), Out("copy", ScalarType.BF16)], Grid("b", Size(Rows), Vector("n", N(264), Store(1, At("b", 264, "n"), Load(0, At("b", 264, "n"))))));
        var step = new Step.Fused("copy", Cost.Zero, copy, [fixture.View("x"), fixture.View("copy")]);
        Assert.That(Sources(fixture.Plan([.. plan.Steps, step])), Is.EqualTo(3));
    }

    [Test]
    public void ARowsBitsDoNotDependOnTheRowsBesideIt([ValueSource(typeof(TestDevices), nameof(TestDevices.Compared))] string name)
    {
        const int depth = 1544, width = 40;
        (PlanFixture fixture, Plan plan) = Gated(depth, width);
        using IDevice device = TestDevices.Open(name);
        double[] alone = fixture.Run(device, plan, ("batch", 1))["up"][..width], among = fixture.Run(device, plan, ("batch", MostRows))["up"][..width];
        Assert.That(alone, Is.EqualTo(among));
    }

    /// <summary>Heads of 24 have pairs at a distance of 12, which is no whole number of column groups: all but an append then stay by themselves.</summary>
    [TestCase(16, ExpectedResult = 1)]
    [TestCase(24, ExpectedResult = 4)]
    public int SourcesOfAnAttentionsBeginning(int headSize)
    {
        (_, Plan plan) = Attention(64, headSize);
        return Sources(plan);
    }

    [Test]
    public void GateAndUpAreOneLaunch() => Assert.That(Sources(Gated(72, 40).Plan), Is.EqualTo(1));

    [Test]
    public void AnElementKernelGoesOnceThroughAMatrix()
    {
        Kernel rope = Rope(KeyHeads, 16), append = Append(16);
        ElementKernel? pairs = ElementKernel.Of(rope, 1, Rows, 32, 32), alone = ElementKernel.Of(append, 1, Rows, 32, 32);
        Assert.That(pairs!.Distance, Is.EqualTo(8));
        Assert.That(pairs.Digits, Is.EqualTo(new[] { new ElementDigit("h", 16, KeyHeads), new ElementDigit("p", 1, 8) }));
        Assert.That(pairs.RowStrideOf(0), Is.EqualTo((Extent)32));
        Assert.That(alone!.Distance, Is.Zero);
        Assert.That(alone.RowStrideOf(2), Is.Null, "an append moves its elements");
        Assert.That(ElementKernel.Of(append, 1, Rows, 32, 64), Is.Null, "half of the columns are left out");
        Assert.That(ElementKernel.Of(append, 1, Rows, 64, 32), Is.Null, "rows lie at another distance");
        Assert.That(ElementKernel.Of(append, 1, 16, 32, 32), Is.Null, "there are other rows");
        Kernel sum = Kernel([Out("y"), In("x")], Grid("b", Size(Rows), Sum("s"), Vector("n", N(32), Fold("s", Load(1, At("b", 32, "n")))), Store(0, At("b"), V("s"))));
        Assert.That(ElementKernel.Of(sum, 1, Rows, 32, 32), Is.Null, "a sum takes the whole row");
        Kernel turned = Kernel([Out("y"), In("x")], Grid("b", Size(Rows), Vector("n", N(32), Store(0, At("b", 32, "n"), Load(1, At((V("b"), 32), (Sub(N(31), V("n")), 1)))))));
        Assert.That(ElementKernel.Of(turned, 1, Rows, 32, 32), Is.Null, "columns are read in another way than counted");
    }

    [Test]
    public void WhatIsNamedBeforeAnIndependentLoopIsNamedInIt()
    {
        Kernel table = Kernel([In("past", ScalarType.I32), Out("y")], Grid("b", Size(Rows),
            Let("p", Load(0, At("b"))), Serial("s", N(6), Vector("n", N(4), Store(1, At((V("b"), 24), (V("s"), 4), (V("n"), 1)), Op(Operation.ToFloat, Add(V("p"), V("s"))))))));
        Kernel spread = IndependentLoops.ToGrid(table, [new OperandMemory(ScalarType.F32, 1, 0), new OperandMemory(ScalarType.F32, 1, 1)]);
        Assert.That(spread.Text, Does.Contain("grid b in 0..[batch]\n    grid s in 0..6\n      p = "));
        Kernel onto = IndependentLoops.ToGrid(table, [new OperandMemory(ScalarType.F32, 1, 0), new OperandMemory(ScalarType.F32, 1, 0)]);
        Assert.That(onto.Text, Does.Contain("serial s in 0..6"), "what is written may be what was named");
    }

    private static (PlanFixture Fixture, Plan Plan) Attention(int depth, int headSize)
    {
        int wide = Heads * headSize, narrow = KeyHeads * headSize;
        PlanFixture fixture = new PlanFixture().Dimension("batch", MostRows)
            .Random("x", Rows * depth, ScalarType.BF16).Random("past", Rows, ScalarType.I32, Room).Random("cos", Rows * (headSize / 2)).Random("sin", Rows * (headSize / 2));
        foreach ((string name, int width) in new[] { ("v", narrow), ("k", narrow), ("q", wide) })
            fixture.Random("weight " + name, width * depth, ScalarType.BF16, kind: BufferClass.Parameter).Zeros(name, Rows * width, ScalarType.BF16);
        fixture.Zeros("turned k", Rows * narrow, ScalarType.BF16).Zeros("turned q", Rows * wide, ScalarType.BF16);
        fixture.Zeros("keys", Rows * Room * narrow, ScalarType.BF16).Zeros("values", Rows * Room * narrow, ScalarType.BF16);
        Step Fused(Kernel kernel, params string[] operands) => new Step.Fused("fused", Cost.Zero, kernel, [.. operands.Select(fixture.View)]);
        return (fixture, fixture.Plan(
            Product(fixture, "v", depth, narrow), Product(fixture, "k", depth, narrow), Product(fixture, "q", depth, wide),
            Fused(Append(headSize), "past", "v", "values"), Fused(Rope(KeyHeads, headSize), "turned k", "k", "cos", "sin"),
            Fused(Append(headSize), "past", "turned k", "keys"), Fused(Rope(Heads, headSize), "turned q", "q", "cos", "sin")));
    }

    private static (PlanFixture Fixture, Plan Plan) Gated(int depth, int width)
    {
        PlanFixture fixture = new PlanFixture().Dimension("batch", MostRows).Random("x", Rows * depth, ScalarType.BF16);
        foreach (string name in new[] { "gate", "up" })
            fixture.Random("weight " + name, width * depth, ScalarType.BF16, kind: BufferClass.Parameter).Zeros(name, Rows * width, ScalarType.BF16);
        Runtime.Plans.Index own = At("m", width, "n");
        Expr sigmoid = Div(F(1), Add(F(1), Op(Operation.Exp, Op(Operation.Negate, Load(1, own)))));
        var epilogue = new Kernel("epilogue", [InOut("up", ScalarType.BF16), In("gate", ScalarType.BF16)], ["m0", "m1", "n0", "n1"],
            [Loop(LoopKind.Grid, "m", V("m0"), V("m1"), Loop(LoopKind.Vector, "n", V("n0"), V("n1"), Store(0, own, Mul(Load(0, own), Mul(Load(1, own), sigmoid)))))]);
        return (fixture, fixture.Plan(
            Product(fixture, "gate", depth, width),
            Product(fixture, "up", depth, width) with { Epilogue = epilogue, EpilogueOperands = [fixture.View("gate")] }));
    }

    private static (PlanFixture Fixture, Plan Plan) Normed(int depth, int mostRows)
    {
        const int width = 40;
        PlanFixture fixture = new PlanFixture().Dimension("batch", mostRows)
            .Random("residual", Rows * depth, ScalarType.BF16).Random("gain", depth).Zeros("x", Rows * depth, ScalarType.BF16);
        foreach (string name in new[] { "k", "v" })
            fixture.Random("weight " + name, width * depth, ScalarType.BF16, kind: BufferClass.Parameter).Zeros(name, Rows * width, ScalarType.BF16);
        Runtime.Plans.Index at = At("b", depth, "n");
        Kernel norm = Kernel([In("residual", ScalarType.BF16), In("gain"), Out("x", ScalarType.BF16)], Grid("b", Size(Rows), Sum("s"),
            Vector("n", N(depth), Fold("s", Mul(Load(0, at), Load(0, at)))), Let("r", Op(Operation.Rsqrt, Mul(V("s"), F(1.0 / depth)))),
            Vector("n", N(depth), Store(2, at, Mul(Mul(Load(0, at), V("r")), Load(1, At("n")))))));
        var step = new Step.Fused("norm", Cost.Zero, norm, [fixture.View("residual"), fixture.View("gain"), fixture.View("x")]);
        return (fixture, fixture.Plan(step, Product(fixture, "k", depth, width), Product(fixture, "v", depth, width)));
    }

    private static Step.MatrixProduct Product(PlanFixture fixture, string name, int depth, int width) => new(
        name, Cost.Zero, Rows, width, depth, new Matrix(fixture.View("x"), depth, 1), new Matrix(fixture.View("weight " + name), 1, depth),
        new Matrix(fixture.View(name), width, 1), false, [], null, []);

    /// <summary>Rotary positions: pairs of a head's halves.</summary>
    private static Kernel Rope(int heads, int headSize)
    {
        int half = headSize / 2, width = heads * headSize;
        Runtime.Plans.Index first = At((V("b"), width), (V("h"), headSize), (V("p"), 1)), second = At((V("b"), width), (V("h"), headSize), (V("p"), 1), (N(1), half));
        return Kernel([Out("turned", ScalarType.BF16), In("x", ScalarType.BF16), In("cos"), In("sin")], Grid("b", Size(Rows), Grid("h", N(heads), Vector("p", N(half),
            Let("x1", Load(1, first)), Let("x2", Load(1, second)), Let("c", Load(2, At("b", half, "p"))), Let("s", Load(3, At("b", half, "p"))),
            Store(0, first, Sub(Mul(V("x1"), V("c")), Mul(V("x2"), V("s")))),
            Store(0, second, Add(Mul(V("x2"), V("c")), Mul(V("x1"), V("s"))))))));
    }

    private static Kernel Append(int headSize)
    {
        int width = KeyHeads * headSize;
        return Kernel([In("past", ScalarType.I32), In("x", ScalarType.BF16), Out("cache", ScalarType.BF16)], Grid("b", Size(Rows), Grid("h", N(KeyHeads), Vector("d", N(headSize),
            Store(2, At((V("b"), Room * width), (Load(0, At("b")), width), (V("h"), headSize), (V("d"), 1)), Load(1, At((V("b"), width), (V("h"), headSize), (V("d"), 1))))))));
    }

    /// <summary>Kernels and products of a plan that a Hopper GPU compiles apart.</summary>
    private static int Sources(Plan plan)
    {
        using CudaDevice device = CudaDevice.OnPaper(new CudaGpu(0, "a GPU on paper", 90, 132, 80L << 30, 3e12, 227 << 10));
        var persistent = new Dictionary<string, IDeviceMemory>();
        foreach (PlanBuffer buffer in plan.Buffers.Where(b => b.IsPersistent))
            persistent[buffer.Name] = device.Allocate(plan.Maximum(buffer.Bytes));
        using IExecutable executable = device.Compile(plan, persistent);
        executable.Run();
        return device.Compiler.Sources.Count();
    }

    /// <summary>Up to two roundings of the largest element apart.</summary>
    /// <param name="passed">A tensor that is only passed on within the plan, and need not be in memory.</param>
    private static void AgreesWithInterpreter(string name, PlanFixture fixture, Plan plan, int rows, string? passed = null)
    {
        using IDevice device = TestDevices.Open(name);
        using var interpreter = new InterpreterDevice();
        Dictionary<string, double[]> actual = fixture.Run(device, plan, ("batch", rows));
        foreach ((string tensor, double[] expected) in fixture.Run(interpreter, plan, ("batch", rows)).Where(t => t.Key != passed))
            Elements.Agree(actual[tensor], expected, expected.Max(Math.Abs) / 128, tensor);
    }
}
