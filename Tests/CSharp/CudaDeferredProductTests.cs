using Legato.Runtime.Cuda;
using Legato.Runtime.Devices;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>Products of our own kernel for 16-bit results: what else is done with the sums, by it or by others, and those that it computes as one.</summary>
[TestFixture]
public class CudaDeferredProductTests
{
    private static readonly string[] Endings = ["nothing", "bias", "matrix", "both", "gelu", "biased gelu", "slope"];

    [Test]
    public void EveryEndingAndLayoutAgreesWithTheInterpreter(
        [ValueSource(nameof(Endings))] string ending, [Values] bool rightByColumns, [Values(ScalarType.BF16, ScalarType.F16)] ScalarType type)
    {
        // Tiles that end in the midst, of rows, columns and depth.
        PlanFixture fixture = Operands(type, 201, 520, 152);
        using var interpreter = new InterpreterDevice();
        Plan plan = fixture.Plan(Steps(fixture, type, ending, rightByColumns, 201, 520, 152));
        Agrees(fixture.Run(interpreter, plan), OnOurOwn(fixture, plan), type);
    }

    /// <summary>More tiles than multiprocessors: what waits in registers is stored during the next tile.</summary>
    [Test]
    public void ManyTilesAgree([ValueSource(nameof(Endings))] string ending, [Values(40, 1000)] int depth)
    {
        PlanFixture fixture = Operands(ScalarType.BF16, 2100, 2056, depth);
        Plan plan = fixture.Plan(Steps(fixture, ScalarType.BF16, ending, rightByColumns: true, 2100, 2056, depth));
        Dictionary<string, double[]> actual = OnOurOwn(fixture, plan);
        Agrees(Elsewhere(fixture, plan, isSmall: depth == 40), actual, ScalarType.BF16);
    }

    /// <summary>Several calls, which our own kernel doesn't take, of a shape that it has been chosen for.</summary>
    [Test]
    public void AShapeThatIsComputedByOthersToo()
    {
        const int rows = 64, columns = 128, depth = 72, count = 3;
        PlanFixture fixture = new PlanFixture().Random("a", count * rows * depth, ScalarType.BF16).Random("b", columns * depth, ScalarType.BF16)
            .Zeros("c", rows * columns, ScalarType.BF16).Zeros("d", count * rows * columns, ScalarType.BF16);
        Step.MatrixProduct one = Product(fixture, "c", "a", "b", true, rows, columns, depth, null), several = one with
        {
            Output = Rows(fixture, "d", columns),
            Batch = [new BatchLoop(count, rows * depth, 0, rows * columns), new BatchLoop(1, 0, 0, 0)],
        };
        using var interpreter = new InterpreterDevice();
        foreach (Plan plan in new[] { fixture.Plan(one, several), fixture.Plan(several, one) })
            Agrees(fixture.Run(interpreter, plan), OnOurOwn(fixture, plan), ScalarType.BF16);
    }

    [Test]
    public void OddColumnsAreStoredOneByOne()
    {
        PlanFixture fixture = new PlanFixture().Random("a", 300 * 72, ScalarType.BF16).Random("b", 267 * 72, ScalarType.BF16).Random("c", 300 * 272, ScalarType.BF16);
        Plan plan = fixture.Plan(new Step.MatrixProduct(
            "product", Cost.Zero, 300, 267, 70, Rows(fixture, "a", 72), Columns(fixture, "b", 72), Rows(fixture, "c", 272), Accumulate: false, [], null, []));
        using var interpreter = new InterpreterDevice();
        Agrees(fixture.Run(interpreter, plan), OnOurOwn(fixture, plan), ScalarType.BF16);
    }

    [Test]
    public void ProductsOfOneLeftMatrixAreOneLaunch([Values] bool hasBias, [Values] bool rightByColumns, [Values(130, 3000)] int rows)
    {
        (string Name, int Columns)[] outputs = [("q", 520), ("k", 264), ("v", 264)];
        const int depth = 152;
        PlanFixture fixture = new PlanFixture().Random("x", rows * depth, ScalarType.BF16);
        foreach ((string name, int columns) in outputs)
            _ = fixture.Random($"weight {name}", columns * depth, ScalarType.BF16).Random($"bias {name}", columns, ScalarType.BF16).Zeros(name, rows * columns, ScalarType.BF16);
        Plan plan = fixture.Plan([.. outputs.Select(o => Product(
            fixture, o.Name, "x", $"weight {o.Name}", rightByColumns, rows, o.Columns, depth, hasBias ? Epilogue(ScalarType.BF16, o.Columns, Sum(o.Columns, Load(1, At("n"))), "bias") : null, $"bias {o.Name}"))]);
        Assert.That(JoinedProducts.Beside(new ProductRuns((a, b) => a.Buffer == b.Buffer).At(plan.Steps, 0)!)?.Steps.Count, Is.EqualTo(3));
        Dictionary<string, double[]> actual = OnOurOwn(fixture, plan);
        Agrees(Elsewhere(fixture, plan, isSmall: rows == 130), actual, ScalarType.BF16);
    }

    [Test]
    public void ASumOfProductsIsOneLaunch([Values] bool rightByColumns, [Values(130, 3000)] int rows)
    {
        (PlanFixture fixture, Plan plan) = Summed(rows, rightByColumns);
        Assert.That(JoinedProducts.Summed(plan.Steps, _ => true, SameBuffer)?.Steps.Count, Is.EqualTo(3));
        Dictionary<string, double[]> actual = OnOurOwn(fixture, plan), expected = Elsewhere(fixture, plan, isSmall: rows == 130);
        Agrees(new() { ["sum"] = expected["sum"] }, actual, ScalarType.BF16, size: 3 * Math.Sqrt(152));
    }

    [Test]
    public void WhatElseIsReadEndsASum()
    {
        (PlanFixture fixture, Plan plan) = Summed(130, rightByColumns: true);
        Step.MatrixProduct[] steps = [.. plan.Steps.Cast<Step.MatrixProduct>()];
        Assert.That(JoinedProducts.Summed(steps, view => !view.Equals(fixture.View("first")), SameBuffer), Is.Null, "the first is read elsewhere");
        Assert.That(JoinedProducts.Summed(steps, view => !view.Equals(fixture.View("second")), SameBuffer)?.Steps.Count, Is.EqualTo(2));
        Assert.That(JoinedProducts.Summed([steps[0] with { Accumulate = true }, steps[1]], _ => true, SameBuffer), Is.Null, "it adds to what was there");
        Assert.That(JoinedProducts.Summed([steps[0], steps[2]], _ => true, SameBuffer), Is.Null, "another is added");
        Step.MatrixProduct inPlace = steps[1] with { Output = steps[0].Left };
        Assert.That(JoinedProducts.Summed([steps[0], inPlace], _ => true, SameBuffer), Is.Null, "the sum would overwrite what it is made of");
    }

    [Test]
    public void AGatedProductIsOneLaunch([Values] bool rightByColumns, [Values(130, 3000)] int rows, [Values(ScalarType.BF16, ScalarType.F16)] ScalarType type)
    {
        (PlanFixture fixture, Plan plan) = Gated(rows, rightByColumns, type);
        Assert.That(Combined(plan.Steps, _ => true)?.Steps.Count, Is.EqualTo(2));
        Dictionary<string, double[]> actual = OnOurOwn(fixture, plan), expected = Elsewhere(fixture, plan, isSmall: rows == 130);
        Agrees(new() { ["up"] = expected["up"] }, actual, type, size: 12 * 12);
    }

    [Test]
    public void WhatElseIsReadKeepsAGateApart()
    {
        (PlanFixture fixture, Plan plan) = Gated(130, rightByColumns: true, ScalarType.BF16);
        Step.MatrixProduct gate = (Step.MatrixProduct)plan.Steps[0], up = (Step.MatrixProduct)plan.Steps[1];
        Assert.That(Combined([gate, up], view => !view.Equals(fixture.View("gate"))), Is.Null, "the gate is read elsewhere");
        Expr own = Load(0, At("m", GatedColumns, "n")), other = Load(1, At("m", GatedColumns, "n")), bias = Load(2, At("n"));
        Kernel biased = Epilogue(ScalarType.BF16, GatedColumns, Mul(own, Add(other, bias)), "gate", "bias"), byPlace = Epilogue(
            ScalarType.BF16, GatedColumns, Mul(own, Mul(other, Op(Operation.ToFloat, V("n")))), "gate");
        Assert.That(Combined([gate, up with { Epilogue = biased, EpilogueOperands = [fixture.View("gate"), fixture.View("bias")] }], _ => true), Is.Null, "a bias is read");
        Assert.That(Combined([gate, up with { Epilogue = byPlace }], _ => true), Is.Null, "it depends on the column");
        Assert.That(Combined([gate, up with { Left = gate.Output }], _ => true), Is.Null, "they have two left matrices");
    }

    private const int GatedColumns = 520;

    private static JoinedProducts? Combined(IReadOnlyList<Step> steps, Func<BufferView, bool> isPassing) =>
        JoinedProducts.Combined(new ProductRuns(SameBuffer).At(steps, 0)!, isPassing, extent => IntegerRange.Of(extent.Constant));

    private static (PlanFixture Fixture, Plan Plan) Gated(int rows, bool rightByColumns, ScalarType type)
    {
        const int depth = 152;
        var fixture = new PlanFixture().Random("x", rows * depth, type).Random("bias", GatedColumns, type);
        foreach (string name in new[] { "gate", "up" })
            _ = fixture.Random($"weight {name}", GatedColumns * depth, type).Zeros(name, rows * GatedColumns, type);
        Expr own = Load(0, At("m", GatedColumns, "n")), gate = Load(1, At("m", GatedColumns, "n"));
        Expr silu = Div(gate, Add(F(1), Op(Operation.Exp, Op(Operation.Negate, gate))));
        Kernel gated = Epilogue(type, GatedColumns, Mul(silu, own), "gate");
        Plan plan = fixture.Plan([.. new[] { "gate", "up" }.Select(name => Product(
            fixture, name, "x", $"weight {name}", rightByColumns, rows, GatedColumns, depth, name == "up" ? gated : null, "gate"))]);
        return (fixture, plan with { Buffers = [.. plan.Buffers.Select(b => b.Name == "gate" ? b with { FirstStep = 0, LastStep = 1 } : b)] });
    }

    private static bool SameBuffer(BufferView a, BufferView b) => a.Buffer == b.Buffer;

    private static (PlanFixture Fixture, Plan Plan) Summed(int rows, bool rightByColumns)
    {
        const int columns = 520;
        int[] depths = [152, 72, 72];
        string[] outputs = ["first", "second", "sum"];
        var fixture = new PlanFixture();
        for (int i = 0; i < depths.Length; i++)
            _ = fixture.Random($"x{i}", rows * depths[i], ScalarType.BF16).Random($"weight {i}", columns * depths[i], ScalarType.BF16).Zeros(outputs[i], rows * columns, ScalarType.BF16);
        Kernel add = Epilogue(ScalarType.BF16, columns, Sum(columns, Load(1, At("m", columns, "n"))), "addend");
        Plan plan = fixture.Plan([.. outputs.Select((name, i) => Product(
            fixture, name, $"x{i}", $"weight {i}", rightByColumns, rows, columns, depths[i], i == 0 ? null : add, i == 0 ? "x0" : outputs[i - 1]))]);
        PlanBuffer Passing(PlanBuffer buffer, int step) => buffer with { FirstStep = step, LastStep = step + 1 };
        return (fixture, plan with
        {
            Buffers = [.. plan.Buffers.Select(b => b.Name == "first" ? Passing(b, 0) : b.Name == "second" ? Passing(b, 1) : b)],
        });
    }

    /// <summary>By our own kernel, without asking whether it is the fastest; twice, for the same bits.</summary>
    private static Dictionary<string, double[]> OnOurOwn(PlanFixture fixture, Plan plan)
    {
        using CudaDevice device = Open(new CudaDeviceOptions(MeasureProducts: false));
        if (!device.IsHopper)
            Assert.Ignore("this GPU is no Hopper");
        Dictionary<string, double[]> first = fixture.Run(device, plan), second = fixture.Run(device, plan);
        foreach ((string name, double[] values) in first)
            Elements.AreEqual(second[name], values, $"{name}: the same bits every time");
        return first;
    }

    /// <summary>What is small by the interpreter, so that no other kernels run beside ours; else by the library.</summary>
    private static Dictionary<string, double[]> Elsewhere(PlanFixture fixture, Plan plan, bool isSmall)
    {
        if (isSmall)
        {
            using var interpreter = new InterpreterDevice();
            return fixture.Run(interpreter, plan);
        }
        using CudaDevice device = Open(new CudaDeviceOptions(Portable: true));
        return fixture.Run(device, plan);
    }

    private static CudaDevice Open(CudaDeviceOptions options)
    {
        if (!CudaMachine.IsUsable)
            Assert.Ignore("this machine has no GPU that CUDA can use");
        return new CudaDevice(options);
    }

    /// <param name="size">Of what is rounded on the way.</param>
    private static void Agrees(Dictionary<string, double[]> expected, Dictionary<string, double[]> actual, ScalarType type, double size = 12)
    {
        double relative = type == ScalarType.F16 ? Math.ScaleB(1, -9) : Math.ScaleB(1, -6);
        foreach ((string name, double[] values) in expected)
            Elements.Agree(actual[name], values, value => relative * (size + Math.Abs(value)), name);
    }

    private static PlanFixture Operands(ScalarType type, int rows, int columns, int depth) => new PlanFixture()
        .Random("a", rows * depth, type).Random("b", columns * depth, type).Zeros("c", rows * columns, type).Random("bias", columns, type)
        .Random("other", rows * columns, type).Zeros("result", rows * columns, type);

    private static Step[] Steps(PlanFixture fixture, ScalarType type, string ending, bool rightByColumns, int rows, int columns, int depth)
    {
        Expr bias = Load(1, At("n")), other = Load(1, At("m", columns, "n"));
        Step.MatrixProduct Of(Kernel? epilogue, params string[] operands) => Product(fixture, "c", "a", "b", rightByColumns, rows, columns, depth, epilogue, operands);
        Step.MatrixProduct plain = Of(null), biased = Of(Epilogue(type, columns, Sum(columns, bias), "bias"), "bias");
        Kernel map = Kernel([In("c", type), Out("result", type)], Grid("row", N(rows), Vector("j", N(columns),
            Let("v", TanhGeluExpressions.Gelu(Load(0, At("row", columns, "j")))), Store(1, At("row", columns, "j"), V("v")))));
        var gelu = new Step.Fused("map", Cost.Zero, map, [fixture.View("c"), fixture.View("result")]);
        return ending switch
        {
            "nothing" => [plain],
            "bias" => [biased],
            "matrix" => [Of(Epilogue(type, columns, Sum(columns, other), "other"), "other")],
            "both" => [Of(Epilogue(type, columns, Add(Sum(columns, bias), Load(2, At("m", columns, "n"))), "bias", "other"), "bias", "other")],
            "gelu" => [plain, gelu],
            "biased gelu" => [biased, gelu],
            _ => [Of(Epilogue(type, columns, Mul(Load(0, At("m", columns, "n")), TanhGeluExpressions.Slope(other)), "other"), "other")],
        };
    }

    private static Expr Sum(int columns, Expr added) => Add(Load(0, At("m", columns, "n")), added);

    private static Matrix Rows(PlanFixture fixture, string name, int stride) => new(fixture.View(name), stride, 1);

    private static Matrix Columns(PlanFixture fixture, string name, int stride) => new(fixture.View(name), 1, stride);

    private static Step.MatrixProduct Product(
        PlanFixture fixture, string output, string left, string right, bool rightByColumns, int rows, int columns, int depth, Kernel? epilogue, params string[] operands) => new(
        output, Cost.Zero, rows, columns, depth, Rows(fixture, left, depth), rightByColumns ? Columns(fixture, right, depth) : Rows(fixture, right, columns),
        Rows(fixture, output, columns), Accumulate: false, [], epilogue, epilogue is null ? [] : [.. operands.Select(fixture.View)]);

    private static Kernel Epilogue(ScalarType type, int columns, Expr value, params string[] operands) => new(
        "epilogue", [InOut("c", type), .. operands.Select(o => In(o, type))], ["m0", "m1", "n0", "n1"],
        [new Statement.Loop(LoopKind.Grid, "m", V("m0"), V("m1"), [new Statement.Loop(LoopKind.Vector, "n", V("n0"), V("n1"),
            [Let("v", value), Store(0, At("m", columns, "n"), V("v"))])])]);
}
