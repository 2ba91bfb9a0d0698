using Legato.Runtime;
using Legato.Runtime.Cpu;
using Legato.Runtime.Devices;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>What every device does with a plan, and what the CPU promises beside.</summary>
[TestFixture]
public class DeviceTests
{
    [Test]
    public void MemoryIsZeroedCountedAndFreed([ValueSource(typeof(TestDevices), nameof(TestDevices.All))] string name)
    {
        using IDevice device = TestDevices.Open(name);
        var read = new byte[3];
        foreach (long bytes in new long[] { 0, 100, 5 << 20 })
        {
            IDeviceMemory memory = device.Allocate(bytes);
            Assert.That(device.BytesAllocated, Is.EqualTo(bytes));
            if (bytes > 0)
            {
                memory.Read(bytes - 3, read);
                Assert.That(read, Is.All.Zero);
                memory.Write(bytes - 2, [1, 2]);
                memory.Read(bytes - 3, read);
                Assert.That(read, Is.EqualTo(new byte[] { 0, 1, 2 }));
            }
            Assert.Throws<ArgumentOutOfRangeException>(() => memory.Write(bytes, [1]));
            memory.Dispose();
            memory.Dispose();
            Assert.That(device.BytesAllocated, Is.Zero);
        }
    }

    [Test]
    public void MistakesAreExplained([ValueSource(typeof(TestDevices), nameof(TestDevices.All))] string name)
    {
        using IDevice device = TestDevices.Open(name);
        PlanFixture fixture = new PlanFixture().Dimension("seq", 8).Random("w", 4, kind: BufferClass.Parameter);
        Plan plan = fixture.Plan();
        Assert.That(() => device.Compile(plan, new Dictionary<string, IDeviceMemory>()), Throws.InstanceOf<LegatoException>().With.Message.Contains("'w'"));
        using IDeviceMemory small = device.Allocate(15), other = new Foreign(), weights = device.Allocate(16);
        Assert.That(() => device.Compile(plan, new Dictionary<string, IDeviceMemory> { ["w"] = small }), Throws.InstanceOf<LegatoException>().With.Message.Contains("needs 16"));
        Assert.That(() => device.Compile(plan, new Dictionary<string, IDeviceMemory> { ["w"] = other }), Throws.InstanceOf<LegatoException>().With.Message.Contains("another device"));
        using IExecutable executable = device.Compile(plan, new Dictionary<string, IDeviceMemory> { ["w"] = weights });
        Assert.That(() => executable.Bind("seq", 9), Throws.InstanceOf<LegatoException>().With.Message.Contains("0 to 8"));
        Assert.That(() => executable.Bind("rows", 1), Throws.InstanceOf<LegatoException>().With.Message.Contains("'rows'"));
    }

    [Test]
    public void SetupRunsOnceAndFillsConstants([ValueSource(typeof(TestDevices), nameof(TestDevices.All))] string name)
    {
        using IDevice device = TestDevices.Open(name);
        PlanFixture fixture = new PlanFixture().Given("table", 20, ScalarType.F32, new double[20], BufferClass.Constant);
        Kernel count = Kernel([InOut("table")], Vector("i", N(20), Store(0, At("i"), Add(Load(0, At("i")), Op(Operation.ToFloat, V("i"))))));
        Plan plan = fixture.Plan() with { Setup = [fixture.Fused(count)] };
        using IDeviceMemory table = device.Allocate(80);
        using IExecutable executable = device.Compile(plan, new Dictionary<string, IDeviceMemory> { ["table"] = table });
        executable.Run();
        Assert.That(fixture.Read(executable, "table"), Is.EqualTo(Enumerable.Range(0, 20).Select(i => (double)i)));
    }

    [Test]
    public void WhatIsFreedCantBeRun()
    {
        using var device = new CpuDevice(new CpuDeviceOptions(1, Pin: false));
        Plan plan = new PlanFixture().Random("w", 4, kind: BufferClass.Parameter).Plan();
        IDeviceMemory weights = device.Allocate(16);
        IExecutable executable = device.Compile(plan, new Dictionary<string, IDeviceMemory> { ["w"] = weights });
        executable.Run();
        weights.Dispose();
        Assert.Throws<ObjectDisposedException>(executable.Run);
        executable.Dispose();
        Assert.Throws<ObjectDisposedException>(executable.Run);
        Assert.That(device.BytesAllocated, Is.Zero);
    }

    [Test]
    public void LoopsMoveTheirViews([ValueSource(typeof(TestDevices), nameof(TestDevices.All))] string name, [Values] bool reversed)
    {
        using IDevice device = TestDevices.Open(name);
        PlanFixture fixture = new PlanFixture().Random("x", 8).Given("w", 24, ScalarType.F32, [.. Enumerable.Range(0, 24).Select(i => i + 1.0)]);
        Kernel affine = Kernel([InOut("x"), In("w")], Vector("i", N(8), Store(0, At("i"), Add(Mul(Load(0, At("i")), F(0.5)), Load(1, At("i"))))));
        var step = new Step.Fused("affine", Cost.Zero, affine, [fixture.View("x"), new BufferView(1, 0, [new LoopStride("layer", 8)])]);
        double[] before = fixture.Run(device, fixture.Plan())["x"];
        double[] after = fixture.Run(device, fixture.Plan(new Step.Loop("layers", Cost.Zero, "layer", 3, reversed, [step])))["x"];
        foreach (int layer in reversed ? new[] { 2, 1, 0 } : [0, 1, 2])
            for (int i = 0; i < 8; i++)
                before[i] = before[i] * 0.5 + layer * 8 + i + 1;
        Assert.That(after, Is.EqualTo(before).Within(1e-5));
    }

    [Test]
    public void TopKTakesTheLargestAndTheFirstOfEquals([ValueSource(typeof(TestDevices), nameof(TestDevices.All))] string name)
    {
        using IDevice device = TestDevices.Open(name);
        PlanFixture fixture = new PlanFixture()
            .Given("x", 10, ScalarType.F32, [3, 5, 1, 5, 2, -1, -1, -3, -1, -2]).Zeros("values", 6).Zeros("indices", 6, ScalarType.I32);
        Dictionary<string, double[]> result = fixture.Run(device, fixture.Plan(
            new Step.TopK("top", Cost.Zero, 2, 5, 3, fixture.View("x"), fixture.View("values"), fixture.View("indices"))));
        Assert.That(result["values"], Is.EqualTo(new[] { 5.0, 5, 3, -1, -1, -1 }));
        Assert.That(result["indices"], Is.EqualTo(new[] { 1.0, 3, 0, 0, 1, 3 }));
    }

    [Test]
    public void MatrixProductsInAllLayouts(
        [ValueSource(typeof(TestDevices), nameof(TestDevices.Compared))] string name, [Values(1, 5, 130)] int m, [Values(7, 64)] int n, [Values] bool leftByColumns, [Values] bool rightByColumns, [Values] bool outputByColumns)
    {
        const int k = 33;
        PlanFixture fixture = new PlanFixture().Random("a", m * k).Random("b", k * n).Random("c", m * n);
        Matrix Operand(string tensor, int rows, int columns, bool byColumns) =>
            byColumns ? new Matrix(fixture.View(tensor), 1, rows) : new Matrix(fixture.View(tensor), columns, 1);
        AgreesWithInterpreter(name, fixture, 1e-4, new Step.MatrixProduct(
            "product", Cost.Zero, m, n, k, Operand("a", m, k, leftByColumns), Operand("b", k, n, rightByColumns),
            Operand("c", m, n, outputByColumns), Accumulate: true, [], null, []));
    }

    [Test]
    public void MatrixProductsInBatches([ValueSource(typeof(TestDevices), nameof(TestDevices.Compared))] string name, [Values(ScalarType.F32, ScalarType.BF16, ScalarType.F16)] ScalarType type)
    {
        const int m = 6, n = 10, k = 4;
        PlanFixture fixture = new PlanFixture().Random("a", 6 * m * k).Random("b", 3 * k * n, type).Zeros("c", 6 * m * n);
        AgreesWithInterpreter(name, fixture, 1e-4, new Step.MatrixProduct(
            "products", Cost.Zero, m, n, k, new Matrix(fixture.View("a"), k, 1), new Matrix(fixture.View("b"), n, 1), new Matrix(fixture.View("c"), n, 1),
            Accumulate: false, [new BatchLoop(2, 3 * m * k, 0, 3 * m * n), new BatchLoop(3, m * k, k * n, m * n)], null, []));
    }

    [Test]
    public void TheNumberOfWorkersChangesNoBit()
    {
        (PlanFixture fixture, Plan plan) = Block(batch: 3, width: 70);
        Dictionary<string, double[]>? first = null;
        foreach (int threads in new[] { 1, 2, 3 })
        {
            using var device = new CpuDevice(new CpuDeviceOptions(threads, Pin: false));
            Dictionary<string, double[]> result = fixture.Run(device, plan, ("batch", 3));
            first ??= result;
            foreach ((string name, double[] values) in first)
                Elements.AreEqual(result[name], values, name);
        }
    }

    [Test]
    public void ASteadyRunAllocatesNothing()
    {
        (PlanFixture fixture, Plan plan) = Block(batch: 8, width: 64);
        using var device = new CpuDevice(new CpuDeviceOptions(2, Pin: false));
        using IExecutable executable = fixture.Load(device, plan);
        for (long batch = 1; batch <= 8; batch++)
            Run(batch);
        var before = new long[2];
        var after = new long[2];
        Action<Worker> readBefore = worker => before[worker.Index] = GC.GetAllocatedBytesForCurrentThread();
        Action<Worker> readAfter = worker => after[worker.Index] = GC.GetAllocatedBytesForCurrentThread();
        // This thread is worker 0.
        device.Team.Run(readBefore);
        for (int i = 0; i < 10; i++)
            Run(1 + i % 8);
        device.Team.Run(readAfter);
        Assert.That(after, Is.EqualTo(before));

        void Run(long batch)
        {
            executable.Bind("batch", batch);
            executable.Run();
        }
    }

    [Test]
    public void OnlyDependentStepsWait()
    {
        const int n = 32;
        PlanFixture fixture = new PlanFixture().Random("x", n * n).Random("w", n * n).Zeros("q", n * n).Zeros("k", n * n).Zeros("v", n * n).Zeros("y", n * n);
        Step Product(string left, string output) => new Step.MatrixProduct(
            output, Cost.Zero, n, n, n, new Matrix(fixture.View(left), n, 1), new Matrix(fixture.View("w"), n, 1), new Matrix(fixture.View(output), n, 1), false, [], null, []);
        using var device = new CpuDevice(new CpuDeviceOptions(2, Pin: false));
        Assert.That(Waits(Product("x", "q"), Product("x", "k"), Product("x", "v")), Is.Zero);
        Assert.That(Waits(Product("x", "q"), Product("x", "k"), Product("q", "y"), Product("k", "v")), Is.EqualTo(1));
        Assert.That(Waits(Product("x", "q"), Product("y", "x")), Is.EqualTo(1));
        Assert.That(Waits([.. Enumerable.Repeat(Product("x", "q"), 3)]), Is.EqualTo(2));
        AgreesWithInterpreter("cpu", fixture, 1e-4, Product("x", "q"), Product("x", "k"), Product("x", "v"), Product("q", "y"));

        int Waits(params Step[] steps)
        {
            using var executable = (CpuExecutable)fixture.Load(device, fixture.Plan(steps));
            return executable.Waits;
        }
    }

    [Test]
    public void MeasuredStepsAddUp()
    {
        (PlanFixture fixture, Plan plan) = Block(batch: 2, width: 64);
        using var device = new CpuDevice(new CpuDeviceOptions(2, Pin: false, MeasureSteps: true));
        using IExecutable executable = fixture.Load(device, plan);
        executable.Run();
        executable.Run();
        IReadOnlyList<StepTime> times = ((IStepTimings)executable).StepTimes;
        Assert.That(times.Select(t => t.Name), Is.EquivalentTo(new[] { "product", "fused" }));
        Assert.That(times.Sum(t => t.Executions), Is.EqualTo(2 * (1 + 3 * 2)));
        Assert.That(times, Has.All.Matches<StepTime>(t => t.Seconds > 0));
        Assert.That(StepTimeTable.Format("test", times), Does.Contain("product").And.Contain("total"));
    }

    /// <summary>Rows times weights, then three times normalised and added to themselves.</summary>
    private static (PlanFixture Fixture, Plan Plan) Block(long batch, int width)
    {
        Extent rows = 50 * Extent.Dimension("batch");
        PlanFixture fixture = new PlanFixture().Dimension("batch", batch).Random("x", rows * width).Random("w", width * width).Zeros("y", rows * width).Zeros("n", rows * width);
        Runtime.Plans.Index at = At("i", width, "j");
        Kernel normalise = Kernel([In("y"), Out("n")], Grid("i", Size(rows),
            Sum("s"), Vector("j", N(width), Fold("s", Mul(Load(0, at), Load(0, at)))),
            Let("r", Op(Operation.Rsqrt, Add(Div(V("s"), F(width)), F(1e-5)))),
            Vector("j", N(width), Store(1, at, Mul(Load(0, at), V("r"))))));
        Kernel add = Kernel([InOut("y"), In("n")], Grid("i", Size(rows), Vector("j", N(width), Store(0, at, Add(Load(0, at), Load(1, at))))));
        var product = new Step.MatrixProduct(
            "product", Cost.Zero, rows, width, width, new Matrix(fixture.View("x"), width, 1), new Matrix(fixture.View("w"), width, 1),
            new Matrix(fixture.View("y"), width, 1), false, [], null, []);
        return (fixture, fixture.Plan(product, new Step.Loop("layers", Cost.Zero, "l", 3, false, [fixture.Fused(normalise), fixture.Fused(add)])));
    }

    private static void AgreesWithInterpreter(string name, PlanFixture fixture, double tolerance, params Step[] steps)
    {
        using IDevice device = TestDevices.Open(name);
        using var interpreter = new InterpreterDevice();
        Plan plan = fixture.Plan(steps);
        Dictionary<string, double[]> actual = fixture.Run(device, plan);
        foreach ((string tensor, double[] expected) in fixture.Run(interpreter, plan))
            Elements.Agree(actual[tensor], expected, tolerance, tensor);
    }

    private sealed class Foreign : IDeviceMemory
    {
        public long Bytes => 1024;

        public void Write(long offset, ReadOnlySpan<byte> source)
        {
        }

        public void Read(long offset, Span<byte> target)
        {
        }

        public void Dispose()
        {
        }
    }
}
