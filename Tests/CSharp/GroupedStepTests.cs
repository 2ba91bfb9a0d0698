using Legato.Runtime.Cpu;
using Legato.Runtime.Cuda;
using Legato.Runtime.Devices;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>Dispatch, grouped products and their gradients: devices against the interpreter, under any routing.</summary>
[TestFixture]
public class GroupedStepTests
{
    private const int Groups = 5;

    /// <summary>Which group each row names.</summary>
    private static readonly Dictionary<string, Func<int, double>> Routings = new()
    {
        ["mixed"] = row => row * 7 % 13 % Groups,
        ["all to one"] = _ => 3,
        ["one empty"] = row => row % 2 * 4,
        ["the first"] = _ => 0,
    };

    private static IEnumerable<string> RoutingNames => Routings.Keys;

    [Test]
    public void DispatchKeepsEveryRowAndTheOrderWithinGroups(
        [ValueSource(typeof(TestDevices), nameof(TestDevices.All))] string device, [ValueSource(nameof(RoutingNames))] string routing, [Values(1, 17, 2500)] int rows)
    {
        PlanFixture fixture = Routed(routing, rows);
        using IDevice opened = TestDevices.Open(device);
        Dictionary<string, double[]> result = fixture.Run(opened, fixture.Plan(Dispatch(fixture, rows)));
        IEnumerable<int> stable = Enumerable.Range(0, rows).OrderBy(row => Routings[routing](row));
        Assert.That(result["order"], Is.EqualTo(stable.Select(row => (double)row)));
        Assert.That(result["offsets"], Is.EqualTo(Enumerable.Range(0, Groups + 1).Select(g => (double)stable.Count(row => Routings[routing](row) < g))));
    }

    [Test]
    public void ARowThatNamesNoGroupIsAnError([Values(-1, Groups)] int group)
    {
        PlanFixture fixture = Sorted(new PlanFixture().Given("index", 3, ScalarType.I32, [0, group, 1]), 3);
        Plan plan = fixture.Plan(Dispatch(fixture, 3));
        using var cpu = new CpuDevice(new CpuDeviceOptions(2, Pin: false));
        using var interpreter = new InterpreterDevice();
        Assert.That(() => fixture.Run(cpu, plan), Throws.InvalidOperationException);
        Assert.That(() => fixture.Run(interpreter, plan), Throws.InvalidOperationException);
    }

    [Test]
    public void ProductsAgreeWithTheInterpreter(
        [ValueSource(typeof(TestDevices), nameof(TestDevices.Compared))] string device, [ValueSource(nameof(RoutingNames))] string routing, [Values(2, 40, 600)] int rows, [Values(1, 2)] int share, [Values] bool byColumns)
    {
        const int n = 70, k = 33;
        PlanFixture fixture = Routed(routing, rows).Random("left", rows / share * k).Random("right", Groups * n * k).Zeros("output", rows * n);
        AgreesWithInterpreter(device, fixture, Dispatch(fixture, rows), Product(fixture, rows, n, k, share, byColumns));
    }

    [Test]
    public void ProductsOfDeepSumsAndNarrowWeights(
        [ValueSource(typeof(TestDevices), nameof(TestDevices.Compared))] string device, [Values(ScalarType.F32, ScalarType.BF16, ScalarType.F16)] ScalarType type, [Values(6, 300)] int rows, [Values] bool byColumns)
    {
        const int n = 48, k = 800;
        PlanFixture fixture = Routed("mixed", rows).Random("left", rows * k).Random("right", Groups * n * k, type).Zeros("output", rows * n);
        AgreesWithInterpreter(device, fixture, Dispatch(fixture, rows), Product(fixture, rows, n, k, 1, byColumns));
    }

    [Test]
    public void AnEpilogueSeesItsOwnRow([ValueSource(typeof(TestDevices), nameof(TestDevices.Compared))] string device, [Values(3, 300)] int rows)
    {
        const int n = 64, k = 20;
        PlanFixture fixture = Routed("mixed", rows).Random("left", rows * k).Random("right", Groups * n * k).Zeros("output", rows * n)
            .Random("gate", rows * n);
        Runtime.Plans.Index at = At("m", n, "n");
        var scaled = new Kernel("scale", [InOut("out"), In("gate")], ["m0", "m1", "n0", "n1"],
            [Loop(LoopKind.Grid, "m", V("m0"), V("m1"), Loop(LoopKind.Vector, "n", V("n0"), V("n1"), Store(0, at, Mul(Load(0, at), Load(1, at)))))]);
        Step.GroupedProduct product = Product(fixture, rows, n, k, 1, byColumns: true);
        AgreesWithInterpreter(device, fixture, Dispatch(fixture, rows), product with { Epilogue = scaled, EpilogueOperands = [fixture.View("gate")] });
    }

    [Test]
    public void GradientsAgreeWithTheInterpreter(
        [ValueSource(typeof(TestDevices), nameof(TestDevices.Compared))] string device, [ValueSource(nameof(RoutingNames))] string routing, [Values(2, 40, 1000)] int rows, [Values(1, 2)] int share, [Values] bool byColumns)
    {
        const int m = 37, n = 64;
        PlanFixture fixture = Routed(routing, rows).Random("left", rows * m).Random("right", rows / share * n).Random("output", Groups * m * n);
        Matrix output = byColumns ? new Matrix(fixture.View("output"), 1, m) : new Matrix(fixture.View("output"), n, 1);
        AgreesWithInterpreter(device, fixture, Dispatch(fixture, rows), new Step.GroupedGradient(
            "gradient", Cost.Zero, Rows(fixture, rows), m, n, new GroupedMatrix(fixture.View("left"), m, 1),
            new GroupedMatrix(fixture.View("right"), n, share), output, m * n));
    }

    [Test]
    public void ARowHasTheBitsOfTheDenseProductWhateverItsGroup()
    {
        const int rows = 120, n = 96, k = 500;
        PlanFixture fixture = Routed("all to one", rows).Random("left", rows * k).Random("right", Groups * n * k)
            .Zeros("output", rows * n).Zeros("dense", rows * n);
        var dense = new Step.MatrixProduct(
            "dense", Cost.Zero, rows, n, k, new Matrix(fixture.View("left"), k, 1), new Matrix(new BufferView(fixture.Id("right"), 3 * n * k, []), 1, k),
            new Matrix(fixture.View("dense"), n, 1), Accumulate: false, [], null, []);
        foreach (int threads in new[] { 1, 2, 3 })
        {
            using var device = new CpuDevice(new CpuDeviceOptions(threads, Pin: false));
            Dictionary<string, double[]> result = fixture.Run(
                device, fixture.Plan(Dispatch(fixture, rows), Product(fixture, rows, n, k, 1, byColumns: true), dense));
            Elements.AreEqual(result["output"], result["dense"], $"{threads} threads");
        }
    }

    /// <summary>More tiles of rows than the second and third axis of a GPU's grid take.</summary>
    [Test]
    public void MillionsOfRowsAreALaunchThatGpusTake()
    {
        const int rows = 65_536 * 32;
        PlanFixture fixture = Sorted(new PlanFixture().Zeros("index", rows, ScalarType.I32), rows).Zeros("left", rows).Zeros("right", Groups).Zeros("output", rows);
        using CudaDevice device = CudaDevice.OnPaper(new CudaGpu(0, "a GPU on paper", 80, 108, 40L << 30, 1e12, 163 << 10));
        using IExecutable executable = device.Compile(fixture.Plan(Dispatch(fixture, rows), Product(fixture, rows, 1, 1, 1, byColumns: false)), new Dictionary<string, IDeviceMemory>());
        Assert.That(executable.Run, Throws.Nothing);
    }

    /// <summary>Rows of 16 bits, which the GPU gives to tensor cores; the outputs are float32, so that only the order of sums differs.</summary>
    [Test]
    public void NarrowRowsOnTheGpu(
        [ValueSource(nameof(RoutingNames))] string routing, [Values(40, 500)] int rows, [Values(1, 2)] int share, [Values] bool byColumns,
        [Values(ScalarType.BF16, ScalarType.F16)] ScalarType type)
    {
        (PlanFixture fixture, Step.GroupedProduct product, Step.GroupedGradient gradient) = NarrowRows(routing, rows, share, byColumns, type);
        AgreesWithInterpreter("cuda", fixture, Dispatch(fixture, rows), product);
        AgreesWithInterpreter("cuda", fixture, Dispatch(fixture, rows), gradient);
    }

    /// <summary>A gradient gathers the rows that a product beside it then needn't pick.</summary>
    [Test]
    public void ProductsBesideAGradientOnTheGpu([ValueSource(nameof(RoutingNames))] string routing, [Values] bool byColumns, [Values] bool after)
    {
        const int rows = 40;
        (PlanFixture fixture, Step.GroupedProduct product, Step.GroupedGradient gradient) = NarrowRows(routing, rows, 2, byColumns, ScalarType.BF16);
        AgreesWithInterpreter("cuda", fixture, after ? [Dispatch(fixture, rows), gradient, product] : [Dispatch(fixture, rows), product, gradient]);
    }

    /// <summary>So many columns that the product gathers the rows; pairs of tiles, and an odd one of columns and rows.</summary>
    [Test]
    public void ManyColumnsOnTheGpu(
        [ValueSource(nameof(RoutingNames))] string routing, [Values] bool byColumns, [Values(ScalarType.F32, ScalarType.BF16)] ScalarType output)
    {
        const int rows = 136, n = 8328, k = 16, share = 2;
        PlanFixture fixture = Routed(routing, rows).Random("left", rows / share * k, ScalarType.BF16).Random("right", Groups * n * k, ScalarType.BF16).Random("output", rows * n, output);
        AgreesWithInterpreter("cuda", fixture, Tolerance(output), Dispatch(fixture, rows), Product(fixture, rows, n, k, share, byColumns));
    }

    /// <summary>So many rows that one group's are two bands of tiles, with an odd tile at the end; the groups of others end in odd tiles too.</summary>
    [Test]
    public void ManyRowsOnTheGpu([Values("mixed", "all to one")] string routing, [Values] bool byColumns)
    {
        const int rows = 3100, n = 520, k = 16;
        PlanFixture fixture = Routed(routing, rows).Random("left", rows * k, ScalarType.BF16).Random("right", Groups * n * k, ScalarType.BF16).Random("output", rows * n);
        AgreesWithInterpreter("cuda", fixture, Dispatch(fixture, rows), Product(fixture, rows, n, k, 1, byColumns));
    }

    /// <summary>
    /// So many columns that products gather rows while they are under way: two of them, each with rows of its own, and one that finds the first
    /// one's rows there. Every run has the same bits.
    /// </summary>
    [Test]
    public void ProductsThatGatherOnTheGpu([Values("mixed", "one empty")] string routing)
    {
        const int rows = 150, n = 8200, k = 8, share = 2;
        const ScalarType output = ScalarType.BF16;
        using IDevice opened = TestDevices.Open("cuda");
        using var interpreter = new InterpreterDevice();
        PlanFixture fixture = Routed(routing, rows).Random("right", Groups * n * k, ScalarType.BF16);
        foreach (string left in new[] { "left", "other" })
            fixture.Random(left, rows / share * k, ScalarType.BF16);
        string[] outputs = ["output", "of the other", "again"];
        foreach (string result in outputs)
            fixture.Random(result, rows * n, output);
        Plan Steps(params (string Left, string Output)[] products) => fixture.Plan(
            [Dispatch(fixture, rows), .. products.Select(p => Product(fixture, rows, n, k, share, byColumns: false, p.Left, p.Output))]);
        using IExecutable executable = fixture.Load(opened, Steps(("left", "output"), ("other", "of the other"), ("left", "again")));
        Dictionary<string, double[]> expected = fixture.Run(interpreter, Steps(("left", "output"), ("other", "of the other")));
        double[][]? first = null;
        for (int run = 0; run < 4; run++)
        {
            executable.Run();
            double[][] actual = [.. outputs.Select(name => fixture.Read(executable, name))];
            Elements.AreEqual(actual[2], actual[0], "what is gathered is what is found there");
            first ??= actual;
            foreach (int i in new[] { 0, 1 })
                Elements.AreEqual(actual[i], first[i], $"run {run} has the bits of the first");
        }
        foreach (int i in new[] { 0, 1 })
            Elements.Agree(first![i], expected[outputs[i]], Tolerance(output), outputs[i]);
    }

    private static (PlanFixture Fixture, Step.GroupedProduct Product, Step.GroupedGradient Gradient) NarrowRows(
        string routing, int rows, int share, bool byColumns, ScalarType type)
    {
        const int n = 328, k = 200;
        PlanFixture fixture = Routed(routing, rows).Random("left", rows / share * k, type).Random("right", Groups * n * k, type).Random("output", rows * n)
            .Random("gradient", rows * n, type).Random("matrices", Groups * n * k);
        Matrix output = byColumns ? new Matrix(fixture.View("matrices"), 1, k) : new Matrix(fixture.View("matrices"), n, 1);
        return (fixture, Product(fixture, rows, n, k, share, byColumns), new Step.GroupedGradient(
            "gradient", Cost.Zero, Rows(fixture, rows), k, n, new GroupedMatrix(fixture.View("left"), k, share),
            new GroupedMatrix(fixture.View("gradient"), n, 1), output, n * k));
    }

    private static PlanFixture Routed(string routing, int rows) =>
        Sorted(new PlanFixture().Given("index", rows, ScalarType.I32, [.. Enumerable.Range(0, rows).Select(Routings[routing])]), rows);

    private static PlanFixture Sorted(PlanFixture fixture, int rows) =>
        fixture.Zeros("offsets", Groups + 1, ScalarType.I32).Zeros("order", rows, ScalarType.I32);

    private static RowGroups Rows(PlanFixture fixture, int rows) => new(rows, Groups, fixture.View("offsets"), fixture.View("order"));

    private static Step.Dispatch Dispatch(PlanFixture fixture, int rows) => new("dispatch", Cost.Zero, Rows(fixture, rows), fixture.View("index"));

    private static Step.GroupedProduct Product(PlanFixture fixture, int rows, int n, int k, int share, bool byColumns, string left = "left", string output = "output") => new(
        "product", Cost.Zero, Rows(fixture, rows), n, k, new GroupedMatrix(fixture.View(left), k, share),
        byColumns ? new Matrix(fixture.View("right"), 1, k) : new Matrix(fixture.View("right"), n, 1), n * k,
        new Matrix(fixture.View(output), n, 1), null, []);

    /// <summary>Of sums of a few products of normally distributed numbers: of 16 bits, the last one's place where they are largest.</summary>
    private static double Tolerance(ScalarType output) => output == ScalarType.F32 ? 1e-3 : 0.13;

    private static void AgreesWithInterpreter(string device, PlanFixture fixture, params Step[] steps) => AgreesWithInterpreter(device, fixture, 1e-3, steps);

    private static void AgreesWithInterpreter(string device, PlanFixture fixture, double tolerance, params Step[] steps)
    {
        using IDevice opened = TestDevices.Open(device);
        using var interpreter = new InterpreterDevice();
        Plan plan = fixture.Plan(steps);
        Dictionary<string, double[]> actual = fixture.Run(opened, plan);
        foreach ((string name, double[] expected) in fixture.Run(interpreter, plan))
            Elements.Agree(actual[name], expected, tolerance, name);
    }
}
