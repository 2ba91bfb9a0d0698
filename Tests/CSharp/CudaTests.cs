using Legato.Runtime;
using Legato.Runtime.Cuda;
using Legato.Runtime.Devices;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>What CUDA's device promises beside the suite that all devices share.</summary>
[TestFixture]
public class CudaTests
{
    [Test]
    public void WhatTheCompilerIsToldTellsMachineCodeApart()
    {
        string? before = Environment.GetEnvironmentVariable(CudaCompiler.OptionsVariable);
        try
        {
            Environment.SetEnvironmentVariable(CudaCompiler.OptionsVariable, null);
            string[] plain = CudaCompiler.Options("90a");
            Environment.SetEnvironmentVariable(CudaCompiler.OptionsVariable, " --generate-line-info  -DX=1");
            string[] told = CudaCompiler.Options("90a");
            Assert.That(told, Is.EqualTo(plain.Concat(["--generate-line-info", "-DX=1"])));
            Assert.That(CudaCompiler.Key("13.0", told, "source"), Is.Not.EqualTo(CudaCompiler.Key("13.0", plain, "source")));
            Assert.That(CudaCompiler.Key("13.0", CudaCompiler.Options("80"), "source"), Is.Not.EqualTo(CudaCompiler.Key("13.0", plain, "source")));
        }
        finally
        {
            Environment.SetEnvironmentVariable(CudaCompiler.OptionsVariable, before);
        }
    }

    [Test]
    public void WithoutAGpuTheMessageSaysWhatToDo()
    {
        if (CudaMachine.IsUsable)
            Assert.Ignore("this machine has a GPU");
        LegatoException? mistake = Assert.Throws<LegatoException>(() => new CudaDevice());
        Assert.That(mistake!.Remedy, Is.Not.Null.And.Not.Empty);
    }

    [Test]
    public void KernelsThatDontCompileAreOneMistake()
    {
        if (!CudaMachine.IsUsable)
            Assert.Ignore("this machine has no GPU that CUDA can use");
        using var device = new CudaDevice();
        LegatoException? mistake = Assert.Throws<LegatoException>(() => device.Compiler.Load(["no kernel", "nor is this"]));
        Assert.That(mistake!.Message, Does.Contain("NVRTC can't compile"));
    }

    [Test]
    public void WhatIsCompiledAheadIsAllThatAPlanTakes()
    {
        if (!CudaMachine.IsUsable)
            Assert.Ignore("this machine has no GPU that CUDA can use");
        using var device = new CudaDevice(new CudaDeviceOptions(MeasureProducts: false));
        PlanFixture fixture = new PlanFixture().Random("x", 64 * 64, ScalarType.BF16).Random("w", 64 * 64, ScalarType.BF16).Zeros("y", 64 * 64, ScalarType.BF16);
        Plan plan = fixture.Plan(
            new Step.MatrixProduct("product", Cost.Zero, 64, 64, 64, new Matrix(fixture.View("x"), 64, 1), new Matrix(fixture.View("w"), 1, 64), new Matrix(fixture.View("y"), 64, 1), Accumulate: false, [], null, []),
            fixture.Fused(Kernel([InOut("y", ScalarType.BF16)], Vector("j", N(64), Store(0, At("j"), Mul(Load(0, At("j")), Load(0, At("j"))))))));
        device.CompileAhead(plan);
        _ = device.Compiler.Alone(() => 0);
        string[] ahead = [.. device.Compiler.Sources];
        using IExecutable executable = device.Compile(plan, new Dictionary<string, IDeviceMemory>());
        executable.Run();
        Assert.That(ahead, Is.Not.Empty);
        Assert.That(device.Compiler.Sources, Is.EquivalentTo(ahead));
    }

    [Test]
    public void NothingIsBegunForADeviceThatWasGivenBack()
    {
        if (!CudaMachine.IsUsable)
            Assert.Ignore("this machine has no GPU that CUDA can use");
        var device = new CudaDevice();
        device.Dispose();
        bool isLoaded = false;
        device.BeginLoading(() => isLoaded = true);
        device.LoadAhead(Purpose.Train, "gpt2-124m", "bf16");
        Assert.That(device.FinishLoading, Throws.Nothing);
        Assert.That(isLoaded, Is.False);
    }

    [Test]
    public void WhatFailsToLoadIsToldAndGivesItsMemoryBack()
    {
        if (!CudaMachine.IsUsable)
            Assert.Ignore("this machine has no GPU that CUDA can use");
        using var device = new CudaDevice();
        PlanFixture fixture = new PlanFixture().Random("x", 8).Zeros("y", 8);
        Plan plan = fixture.Plan(fixture.Fused(Kernel([In("x"), Out("y")], Vector("j", N(8), Store(1, At("j"), Load(0, At("j")))))));
        long before = device.BytesAllocated;
        IExecutable executable = device.Compile(plan, new Dictionary<string, IDeviceMemory>());
        device.BeginLoading(() => throw new LegatoException("no room for code"));
        Assert.That(executable.Run, Throws.TypeOf<LegatoException>().With.Message.Contains("no room for code"));
        executable.Dispose();
        Assert.That(device.BytesAllocated, Is.EqualTo(before));
    }

    [Test]
    public void AGpuThatIsNotThereIsNamed()
    {
        if (!CudaMachine.IsUsable)
            Assert.Ignore("this machine has no GPU that CUDA can use");
        LegatoException? mistake = Assert.Throws<LegatoException>(() => new CudaDevice(new CudaDeviceOptions(Index: 99)));
        Assert.That(mistake!.Message, Does.Contain("no GPU 99").And.Contain("choose 0"));
    }

    [Test]
    public void LongOddSizesOfNarrowProducts([Values] bool byColumns)
    {
        const int m = 3, n = 1031, k = 1035, stride = 1088;
        PlanFixture fixture = new PlanFixture().Random("a", m * stride, ScalarType.BF16).Random("b", k * stride, ScalarType.BF16).Zeros("c", stride * stride);
        Matrix output = byColumns ? new Matrix(fixture.View("c"), 1, stride) : new Matrix(fixture.View("c"), stride, 1);
        (Matrix left, Matrix right) = (new Matrix(fixture.View("a"), stride, 1), new Matrix(fixture.View("b"), stride, 1));
        Plan plan = fixture.Plan(new Step.MatrixProduct("product", Cost.Zero, m, n, k, left, right, output, Accumulate: false, [], null, []));
        using IDevice device = TestDevices.Open("cuda");
        using var interpreter = new InterpreterDevice();
        Elements.Agree(fixture.Run(device, plan)["c"], fixture.Run(interpreter, plan)["c"], 1e-3, "c");
    }

    [Test]
    public void LongOddSizesAreTakenApart()
    {
        PlanFixture fixture = new PlanFixture().Random("x", 1);
        var whole = new Matrix(fixture.View("x"), 2000, 1);
        var product = new Step.MatrixProduct("product", Cost.Zero, 8, 1031, 1035, whole, whole, whole, Accumulate: false, [], null, []);
        Step.MatrixProduct[] parts = [.. AlignedProducts.Of(product, ScalarType.BF16)];
        Assert.That(parts.Select(p => (p.N.Constant, p.K.Constant)), Is.EqualTo(new[] { (1024L, 11L), (7L, 11L), (1024L, 1024L), (7L, 1024L) }));
        Assert.That(parts.Select(p => p.Accumulate), Is.EqualTo(new[] { false, false, true, true }));
        Assert.That(AlignedProducts.Of(product, ScalarType.F32).Count(), Is.EqualTo(1));
    }

    /// <summary>Products of every layout on Hopper's tensor cores, which take odd sizes as they are.</summary>
    [Test]
    public void NarrowProductsOfEveryLayout(
        [Values] bool leftByColumns, [Values] bool rightByColumns, [Values] bool accumulate, [Values(ScalarType.BF16, ScalarType.F32)] ScalarType type)
    {
        const int m = 131, n = 1031, k = 203, stride = 1088;
        PlanFixture fixture = new PlanFixture().Random("a", m * stride, ScalarType.BF16).Random("b", n * stride, ScalarType.BF16).Random("c", m * stride, type);
        Matrix left = leftByColumns ? new(fixture.View("a"), 1, 136) : new(fixture.View("a"), stride, 1);
        Matrix right = rightByColumns ? new(fixture.View("b"), 1, stride) : new(fixture.View("b"), stride, 1);
        Plan plan = fixture.Plan(new Step.MatrixProduct(
            "product", Cost.Zero, m, n, k, left, right, new Matrix(fixture.View("c"), stride, 1), accumulate, [], null, []));
        using IDevice device = TestDevices.Open("cuda");
        using var interpreter = new InterpreterDevice();
        double[] actual = fixture.Run(device, plan)["c"], expected = fixture.Run(interpreter, plan)["c"];
        // Sums that differ in their last bits may be rounded to neighbours: a bf16 has 8 bits.
        Elements.Agree(actual, expected, value => type == ScalarType.F32 ? 1e-3 : 1e-3 + Math.ScaleB(1, Math.ILogB(value) - 7), "c");
    }

    /// <summary>The gradient of a bias in 16 bits: threads that clear sums and those that add to them must be the same.</summary>
    [Test]
    public void SumsOverRowsHaveTheSameBitsEveryTime()
    {
        const int rows = 4096, columns = 3072;
        Kernel kernel = SumsOverRows(rows, columns);
        PlanFixture fixture = new PlanFixture().Random("x", rows * columns, ScalarType.BF16).Zeros("partial", 32 * columns);
        Plan plan = fixture.Plan(fixture.Fused(kernel));
        using IDevice device = TestDevices.Open("cuda");
        double[] first = fixture.Run(device, plan)["partial"];
        for (int i = 0; i < 20; i++)
            Elements.AreEqual(fixture.Run(device, plan)["partial"], first, $"run {i}");
    }

    private static Kernel SumsOverRows(int rows, int columns)
    {
        Expr start = Mul(V("part"), V("chunk"));
        Runtime.Plans.Index part = At("part", columns, "j");
        return Kernel([In("x", ScalarType.BF16), InOut("partial")], Grid("part", N(32),
            Let("chunk", Div(Add(N(rows), N(31)), N(32))),
            Vector("j", N(columns), Store(1, part, F(0))),
            Loop(LoopKind.Serial, "row", start, Op(Operation.Minimum, Add(start, V("chunk")), N(rows)),
                Vector("j", N(columns), Store(1, part, Add(Load(1, part), Load(0, At("row", columns, "j"))))))));
    }

    [Test]
    public void MemoryBeyondTheGpusIsRefused()
    {
        if (!CudaMachine.IsUsable)
            Assert.Ignore("this machine has no GPU that CUDA can use");
        using var device = new CudaDevice();
        LegatoException? mistake = Assert.Throws<LegatoException>(() => device.Allocate(1L << 45));
        Assert.That(mistake!.Message, Does.Contain("are free").And.Contain("nvidia-smi"));
        Assert.That(device.BytesAllocated, Is.Zero);
    }
}
