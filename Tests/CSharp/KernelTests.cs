using Legato.Runtime.Cpu;
using Legato.Runtime.Devices;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>Kernels on the CPU, for each width of vectors, and on the GPU, against the interpreter.</summary>
[TestFixture("cpu portable")]
[TestFixture("cpu avx2")]
[TestFixture("cpu avx512")]
[TestFixture("cuda")]
public sealed class KernelTests : IDisposable
{
    private readonly InterpreterDevice interpreter = new();
    private readonly IDevice device;

    public KernelTests(string device) => this.device = TestDevices.Open(device);

    public void Dispose() => device.Dispose();

    [Test]
    public void ElementsOfRowsOfAnyLength([Range(1, 70)] int width)
    {
        var plan = new PlanFixture().Random("x", 5 * width).Random("y", 5 * width).Zeros("out", 5 * width);
        Check(plan, Kernel(
            [In("x"), In("y"), Out("out")],
            Grid("i", N(5), Vector("j", N(width),
                Store(2, At("i", width, "j"), Add(Mul(Load(0, At("i", width, "j")), F(2)), Op(Operation.Exp, Load(1, At("i", width, "j")))))))));
    }

    [Test]
    public void EveryOperationOnFloats([Values] Operation operation)
    {
        Expr x = Load(0, At("j")), y = Load(1, At("j"));
        if (operation == Operation.Remainder)
            Assert.Pass("integers alone have remainders");
        Expr value = operation switch
        {
            Operation.Log or Operation.Sqrt or Operation.Rsqrt => Op(operation, Op(Operation.Absolute, x)),
            Operation.Negate or Operation.Absolute or Operation.Exp or Operation.Tanh or Operation.Sin or Operation.Cos
                or Operation.Erf or Operation.Floor => Op(operation, x),
            Operation.IsFinite => Where(Op(operation, Div(x, Sub(x, x))), x, y),
            Operation.Not => Where(Op(operation, Op(Operation.Less, x, y)), x, y),
            Operation.And or Operation.Or => Where(Op(operation, Op(Operation.Less, x, y), Op(Operation.Less, F(0), y)), x, F(3)),
            Operation.Power => Op(operation, Op(Operation.Absolute, x), y),
            Operation.Less or Operation.LessOrEqual or Operation.Equal => Where(Op(operation, x, y), x, y),
            Operation.ToFloat or Operation.ToInteger => Op(Operation.ToFloat, Op(Operation.ToInteger, Mul(x, F(10)))),
            Operation.Random => Op(operation, N(12), V("j")),
            Operation.Select => Where(Op(Operation.Less, x, y), x, y),
            _ => Op(operation, x, y),
        };
        var plan = new PlanFixture().Random("x", 77).Random("y", 77).Zeros("out", 77);
        Check(plan, Kernel([In("x"), In("y"), Out("out")], Vector("j", N(77), Store(2, At("j"), value))));
        Check(plan, Kernel([In("x"), In("y"), Out("out")], Grid("j", N(77), Store(2, At("j"), value))));
    }

    [Test]
    public void EveryOperationOnIntegers([Values(
        Operation.Negate, Operation.Absolute, Operation.Add, Operation.Subtract, Operation.Multiply, Operation.Divide,
        Operation.Remainder, Operation.Minimum, Operation.Maximum, Operation.Less, Operation.LessOrEqual, Operation.Equal)] Operation operation)
    {
        Expr x = Sub(Load(0, At("j")), N(20)), y = Load(1, At("j"));
        foreach (Expr divisor in new[] { Add(y, N(1)), N(7), N(8) })
        {
            Expr value = operation switch
            {
                Operation.Negate or Operation.Absolute => Op(operation, x),
                Operation.Less or Operation.LessOrEqual or Operation.Equal => Where(Op(operation, x, divisor), N(1), N(0)),
                _ => Op(operation, x, divisor),
            };
            var plan = new PlanFixture().Random("x", 50, ScalarType.I32, 40).Random("y", 50, ScalarType.I32, 9).Zeros("out", 50, ScalarType.I32);
            KernelOperand[] operands = [In("x", ScalarType.I32), In("y", ScalarType.I32), Out("out", ScalarType.I32)];
            Check(plan, Kernel(operands, Vector("j", N(50), Store(2, At("j"), value))));
            Check(plan, Kernel(operands, Grid("j", N(50), Store(2, At("j"), value))));
        }
    }

    [Test]
    public void RowSums([Values(1, 15, 16, 17, 64, 100, 1000)] int width)
    {
        var plan = new PlanFixture().Random("x", 7 * width).Zeros("sums", 7).Zeros("largest", 7);
        Check(plan, Kernel(
            [In("x"), Out("sums"), Out("largest")],
            Grid("i", N(7),
                Sum("s"), Largest("m"),
                Vector("j", N(width), Let("v", Load(0, At("i", width, "j"))), Fold("s", Mul(V("v"), V("v"))), Fold("m", V("v"))),
                Store(1, At("i"), V("s")), Store(2, At("i"), V("m")))));
    }

    [Test]
    public void LongReductionsInPieces()
    {
        const int length = 3 * (1 << 15) + 77;
        var plan = new PlanFixture().Random("x", length).Given("scale", 1, ScalarType.F32, [2]).Zeros("y", length).Zeros("sum", 1).Zeros("largest", 1);
        Kernel kernel = Kernel(
            [In("x"), In("scale"), Out("y"), Out("sum"), Out("largest")],
            Let("s", Load(1, At())), Sum("a"), Largest("m"),
            Vector("j", N(length), Let("v", Mul(Load(0, At("j")), V("s"))), Store(2, At("j"), V("v")), Fold("a", Mul(V("v"), V("v"))), Fold("m", V("v"))),
            Let("root", Op(Operation.Sqrt, V("a"))), Store(3, At(), V("root")), Store(4, At(), Mul(V("m"), V("s"))));
        Assert.That(KernelSplit.Of(kernel)!.Pieces, Is.EqualTo(4));
        Check(plan, kernel);
    }

    [Test]
    public void SoftmaxInThreePhases([Values(3, 16, 50, 129)] int width)
    {
        var plan = new PlanFixture().Random("x", 9 * width).Zeros("out", 9 * width);
        Runtime.Plans.Index at = At("i", width, "j");
        Check(plan, Kernel(
            [In("x"), Out("out")],
            Grid("i", N(9),
                Largest("m"),
                Vector("j", N(width), Fold("m", Load(0, at))),
                Sum("s"),
                Vector("j", N(width), Let("e", Op(Operation.Exp, Sub(Load(0, at), V("m")))), Store(1, at, V("e")), Fold("s", V("e"))),
                Let("r", Div(F(1), V("s"))),
                Vector("j", N(width), Store(1, at, Mul(Load(1, at), V("r")))))));
    }

    [Test]
    public void LayerNormWithParametersAndResidual([Values(ScalarType.F32, ScalarType.BF16, ScalarType.F16)] ScalarType type)
    {
        const int width = 83;
        var plan = new PlanFixture().Random("x", 6 * width).Random("gain", width, type).Random("bias", width, type).Zeros("out", 6 * width, type);
        Runtime.Plans.Index at = At("i", width, "j");
        Check(plan, Kernel(
            [In("x"), In("gain", type), In("bias", type), Out("out", type)],
            Grid("i", N(6),
                Sum("s"), Vector("j", N(width), Fold("s", Load(0, at))),
                Let("mean", Div(V("s"), Op(Operation.ToFloat, N(width)))),
                Sum("v"),
                Vector("j", N(width), Let("d", Sub(Load(0, at), V("mean"))), Fold("v", Mul(V("d"), V("d")))),
                Let("scale", Op(Operation.Rsqrt, Add(Div(V("v"), F(width)), F(1e-5)))),
                Vector("j", N(width), Store(3, at,
                    Add(Mul(Mul(Sub(Load(0, at), V("mean")), V("scale")), Load(1, At("j"))), Load(2, At("j"))))))),
            relative: type == ScalarType.F32 ? 2e-5 : 1e-2);
    }

    [Test]
    public void GatherOfRowsAndScatterAdd()
    {
        const int width = 37;
        var plan = new PlanFixture().Random("table", 10 * width).Random("ids", 13, ScalarType.I32, 10).Zeros("out", 13 * width).Zeros("grad", 10 * width);
        KernelOperand[] operands = [In("table"), In("ids", ScalarType.I32), Out("out"), InOut("grad")];
        Runtime.Plans.Index row = At((Load(1, At("i")), width), (V("j"), 1));
        Check(plan, Kernel(operands, Grid("i", N(13), Vector("j", N(width), Store(2, At("i", width, "j"), Load(0, row))))));
        Check(plan, Kernel(operands, Serial("i", N(13), Vector("j", N(width),
            Store(3, row, Add(Load(3, row), Load(0, At("j"))))))));
    }

    [Test]
    public void GatherAndScatterOfElements()
    {
        var plan = new PlanFixture().Random("x", 64).Given("order", 41, ScalarType.I32, [.. Enumerable.Range(0, 41).Select(i => (double)(i * 3 % 41))]).Zeros("out", 100);
        KernelOperand[] operands = [In("x"), In("order", ScalarType.I32), Out("out")];
        Runtime.Plans.Index indirect = At((Load(1, At("j")), 1));
        Check(plan, Kernel(operands, Vector("j", N(41), Store(2, At("j"), Load(0, indirect)))));
        Check(plan, Kernel(operands, Vector("j", N(41), Store(2, At((Load(1, At("j")), 2), (N(5), 1)), Load(0, At("j"))))));
        Check(plan, Kernel(operands, Vector("j", N(20), Store(2, At((V("j"), 3)), Load(0, At((V("j"), 2), (N(1), 1)))))));
        Check(plan, Kernel(operands, Vector("j", N(32), Store(2, At("j"), Load(0, At((Op(Operation.Divide, V("j"), N(2)), 1)))))));
        Check(plan, Kernel(operands, Vector("j", N(30), Store(2, At((Sub(N(40), V("j")), 1)), Load(0, At((Add(Mul(V("j"), N(2)), N(1)), 1)))))));
    }

    [Test]
    public void ColumnSumsIntoPartials()
    {
        const int rows = 24, width = 45;
        var plan = new PlanFixture().Random("x", rows * width).Zeros("partial", 4 * width);
        Runtime.Plans.Index part = At("p", width, "j");
        Check(plan, Kernel(
            [In("x"), InOut("partial")],
            Grid("p", N(4),
                Vector("j", N(width), Store(1, part, F(0))),
                Serial("i", N(rows / 4), Vector("j", N(width),
                    Store(1, part, Add(Load(1, part), Load(0, At((V("p"), rows / 4 * width), (V("i"), width), (V("j"), 1))))))))));
    }

    [Test]
    public void OnlyTheChosenBranchTouchesMemory()
    {
        // A row shifted by one with a zero in front: the load of the other branch lies before its buffer.
        const int far = 1 << 28;
        var plan = new PlanFixture().Random("x", 40).Zeros("out", 40);
        foreach (int distance in new[] { 1, far })
        {
            Expr shifted = Load(0, At((V("j"), 1), (N(-1), distance)));
            Check(plan, Kernel([In("x"), Out("out")], Vector("j", N(40), Store(1, At("j"),
                Where(Op(Operation.LessOrEqual, N(distance), V("j")), Mul(shifted, F(2)), F(0))))));
            Check(plan, Kernel([In("x"), Out("out")], Grid("i", N(40), Store(1, At("i"),
                Where(Op(Operation.LessOrEqual, N(distance), V("i")), Load(0, At((V("i"), 1), (N(-1), distance))), F(0))))));
        }
        Expr uniform = Load(0, At((N(far), 1024)));
        Check(plan, Kernel([In("x"), Out("out")], Vector("j", N(40), Store(1, At("j"),
            Where(Op(Operation.Less, V("j"), N(-1)), uniform, Load(0, At("j")))))));
        Check(plan, Kernel([In("x"), Out("out")], Grid("i", N(2), Vector("j", N(20), Store(1, At("i", 20, "j"),
            Where(Op(Operation.Less, V("i"), N(0)), Mul(uniform, Load(0, At((V("i"), far), (V("j"), 1)))), Load(0, At("j"))))))));
    }

    [Test]
    public void LabelsComparedWithTheVectorIndex()
    {
        const int classes = 61;
        var plan = new PlanFixture().Random("p", 8 * classes).Random("labels", 8, ScalarType.I32, classes).Zeros("out", 8 * classes);
        Runtime.Plans.Index at = At("i", classes, "j");
        Check(plan, Kernel(
            [In("p"), In("labels", ScalarType.I32), Out("out")],
            Grid("i", N(8), Let("label", Load(1, At("i"))), Vector("j", N(classes), Store(2, at,
                Sub(Load(0, at), Where(Op(Operation.Equal, V("j"), V("label")), F(1), F(0))))))));
    }

    [Test]
    public void DropoutIsTheSameEverywhere()
    {
        var plan = new PlanFixture().Random("x", 3 * 50).Given("seed", 1, ScalarType.I32, [77]).Zeros("out", 3 * 50);
        Expr counter = Add(Mul(V("i"), N(50)), V("j"));
        Check(plan, Kernel(
            [In("x"), In("seed", ScalarType.I32), Out("out")],
            Grid("i", N(3), Vector("j", N(50), Store(2, At("i", 50, "j"), Where(
                Op(Operation.Less, Op(Operation.Random, Load(1, At()), counter), F(0.25)), F(0), Load(0, At("i", 50, "j"))))))),
            relative: 0);
    }

    [Test]
    public void DynamicSizes([Values(0, 1, 5, 31)] long rows)
    {
        Extent n = Extent.Dimension("n");
        var plan = new PlanFixture().Dimension("n", 31).Random("x", n * 33).Zeros("out", n * 33 + 1);
        Check(plan, Kernel(
            [In("x"), Out("out")],
            Grid("i", N(33), Vector("j", Size(n), Store(1, At("i", n, "j"), Mul(Load(0, At((V("j"), 33), (V("i"), 1))), Op(Operation.ToFloat, Size(n + 1))))))),
            bindings: ("n", rows));
    }

    [Test]
    public void NestedGridsAndRanges()
    {
        var plan = new PlanFixture().Random("x", 3 * 4 * 5 * 6).Zeros("out", 3 * 4 * 5 * 6);
        Runtime.Plans.Index at = At((V("a"), 120), (V("b"), 30), (V("c"), 6), (V("d"), 1));
        Check(plan, Kernel(
            [In("x"), Out("out")],
            Loop(LoopKind.Grid, "a", N(1), N(3), Loop(LoopKind.Grid, "b", N(0), N(4), Loop(LoopKind.Grid, "c", N(2), N(5),
                Loop(LoopKind.Vector, "d", N(1), N(6), Store(1, at, Add(Load(0, at), Op(Operation.ToFloat, Add(V("a"), V("d")))))))))));
    }

    [Test]
    public void AValueReadAgainAfterAStoreIsTheNewOne()
    {
        var plan = new PlanFixture().Random("x", 40);
        Expr x = Load(0, At("j"));
        Check(plan, Kernel([InOut("x")], Vector("j", N(40), Store(0, At("j"), Add(Mul(x, x), F(1))), Store(0, At("j"), Add(Mul(x, x), F(1))))));
        Expr first = Load(0, At((N(0), 1)));
        Check(plan, Kernel([InOut("x")], Grid("g", N(1), Let("y", Mul(first, first)),
            Serial("i", N(5), Store(0, At((N(0), 1)), Add(Mul(first, first), V("y")))), Store(0, At((N(1), 1)), Mul(first, first)))));
    }

    [Test]
    public void EpilogueOfBlocks()
    {
        // The block's bounds are arguments: here of the whole output.
        const int rows = 5, columns = 40;
        var plan = new PlanFixture().Random("a", rows * 8).Random("b", 8 * columns).Random("bias", columns).Zeros("c", rows * columns);
        Runtime.Plans.Index at = At("m", columns, "n");
        var epilogue = new Kernel("bias", [InOut("c"), In("bias")], ["m0", "m1", "n0", "n1"],
            [Loop(LoopKind.Grid, "m", V("m0"), V("m1"), Loop(LoopKind.Vector, "n", V("n0"), V("n1"),
                Store(0, at, Op(Operation.Tanh, Add(Load(0, at), Load(1, At("n")))))))]);
        Compare(plan, plan.Plan(new Step.MatrixProduct(
            "product", Cost.Zero, rows, columns, 8, new Matrix(plan.View("a"), 8, 1), new Matrix(plan.View("b"), columns, 1),
            new Matrix(plan.View("c"), columns, 1), false, [], epilogue, [plan.View("bias")])), 1e-5);
    }

    [Test]
    public void LongRowsOfOddLengthAtAlignedStarts([Values(ScalarType.F32, ScalarType.BF16)] ScalarType type)
    {
        const int rows = 2, width = 16391, stride = 16448;
        Runtime.Plans.Index at = At("i", stride, "j");
        var plan = new PlanFixture().Random("x", rows * stride, type).Zeros("y", rows * stride, type).Zeros("sums", rows).Zeros("doubled", rows * stride);
        Check(plan, Kernel([In("x", type), Out("y", type), Out("sums"), Out("doubled")], Grid("i", N(rows), Largest("m"), Sum("s"),
            Vector("j", N(width), Fold("m", Load(0, at))),
            Vector("j", N(width), Let("e", Op(Operation.Exp, Sub(Load(0, at), V("m")))), Store(1, at, V("e")), Fold("s", V("e"))),
            Store(2, At("i"), V("s")),
            Vector("j", N(width), Store(3, at, Mul(F(2), Load(1, at)))))), relative: 1e-2);
        Check(plan, Kernel([In("x", type), Out("doubled")], Grid("i", N(rows), Vector("j", N(width), Store(1, at, Mul(F(2), Load(0, at)))))));
    }

    [Test]
    public void RowsAddedAtIndices([Values(20, 300, 700)] int count)
    {
        const int width = 70;
        Runtime.Plans.Index at = At((Load(0, At("i")), width), (V("j"), 1));
        Expr from = Mul(V("block"), N(64));
        var plan = new PlanFixture().Random("index", count, ScalarType.I32, 13).Random("rows", count * width).Random("out", 13 * width);
        Check(plan, Kernel([In("index", ScalarType.I32), In("rows"), InOut("out")], Grid("block", N(2), Serial("i", N(count),
            Loop(LoopKind.Vector, "j", from, Op(Operation.Minimum, Add(from, N(64)), N(width)),
                Store(2, at, Add(Load(2, at), Load(1, At("i", width, "j")))))))), relative: 1e-4);
    }

    [Test]
    public void RandomExpressions([Range(1, 60)] int seed)
    {
        var expressions = new RandomExpressions(seed);
        const int rows = 3;
        int width = 1 + seed * 7 % 90;
        var plan = new PlanFixture().Random("x", rows * width, seed: seed).Random("y", width, ScalarType.BF16, seed: seed)
            .Random("z", rows, ScalarType.I32, 20, seed).Zeros("out", rows * width).Zeros("sums", rows);
        Check(plan, Kernel(
            [In("x"), In("y", ScalarType.BF16), In("z", ScalarType.I32), Out("out"), Out("sums")],
            Grid("i", N(rows), Sum("s"), Let("u", expressions.Float(2, vector: false)), Vector("j", N(width),
                Let("v", expressions.Float(3, vector: true)), Store(3, At("i", width, "j"), expressions.Float(4, vector: true)),
                Fold("s", V("v"))), Store(4, At("i"), V("s")))), relative: 1e-3);
    }

    private void Check(PlanFixture plan, Kernel kernel, double relative = 2e-5, params (string, long)[] bindings) =>
        Compare(plan, plan.Plan(plan.Fused(kernel)), relative, bindings);

    private void Compare(PlanFixture fixture, Plan plan, double relative, params (string, long)[] bindings)
    {
        Dictionary<string, double[]> expected = fixture.Run(interpreter, plan, bindings), actual = fixture.Run(device, plan, bindings);
        foreach ((string name, double[] values) in expected)
            if (Elements.Difference(actual[name], values, value => relative * Math.Max(1, Math.Abs(value))) is { } difference)
                Assert.Fail($"{name}: {difference}\n{string.Join('\n', plan.Steps)}");
    }
}
