using Legato.Runtime.Cuda;
using Legato.Runtime.Devices;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>Sums over rows whose parts one launch finishes: the gradients of biases and of gains.</summary>
[TestFixture]
public class CudaColumnSumsTests
{
    private const int Rows = 4096, Parts = 32;

    private static readonly int[] Columns = [768, 1000];

    [Test]
    public void TheSumOfPartsIsTold()
    {
        Kernel plain = Finish(768), heads = OfHeads(12, 64);
        Assert.That(SumOfParts.Of(plain), Is.EqualTo(new SumOfParts(Parts, 768)));
        Assert.That(SumOfParts.Of(heads), Is.EqualTo(new SumOfParts(Parts, 768)));
        Assert.That(SumOfParts.Of(OfHeads(12, 63)), Is.Null, "columns are missed");
        Assert.That(SumOfParts.Of(plain with { Operands = [In("partial"), InOut("out", ScalarType.BF16)] }), Is.Null, "a sum is rounded");
        Assert.That(SumOfParts.Of(Finish(768, first: 1)), Is.Null, "it doesn't begin with nothing");
        Assert.That(SumOfParts.Of(Finish(768, scale: 2)), Is.Null, "it does something else to parts");
    }

    [Test]
    public void PartsThatAreReadElsewhereAreKept([Values] bool areRead)
    {
        (PlanFixture fixture, Plan plan) = Sums();
        if (areRead)
            plan = plan with { Buffers = [.. plan.Buffers.Select(b => b.Name == "partial1" ? b with { LastStep = b.LastStep + 1 } : b)] };
        using CudaDevice device = CudaDevice.OnPaper(new CudaGpu(0, "a GPU on paper", 90, 132, 80L << 30, 3e12, 227 << 10));
        using IExecutable executable = fixture.Load(device, plan);
        executable.Run();
        Assert.That(device.Compiler.Sources.Any(s => s.Contains("column_sums", StringComparison.Ordinal)), Is.EqualTo(!areRead));
    }

    [Test]
    public void FinishedAtOnceAndApartAreEqualToTheBit()
    {
        (PlanFixture fixture, Plan plan) = Sums();
        using IDevice device = TestDevices.Open("cuda"), interpreter = new InterpreterDevice();
        Dictionary<string, double[]> expected = fixture.Run(interpreter, plan), actual = fixture.Run(device, plan);
        // The plan of an inference starts its kernels early, each by itself.
        Dictionary<string, double[]> apart = fixture.Run(device, plan with { Purpose = Purpose.Forward });
        foreach (string name in Columns.Select((_, i) => $"sum{i}"))
        {
            Elements.AreEqual(actual[name], apart[name], name);
            Elements.Agree(actual[name], expected[name], 1e-2, $"{name}: interpreted, which adds in another order");
        }
    }

    /// <summary>Sums of x and of its squares over all rows, in parts, and the sums of those.</summary>
    private static (PlanFixture Fixture, Plan Plan) Sums()
    {
        PlanFixture fixture = new();
        for (int i = 0; i < Columns.Length; i++)
            _ = fixture.Random($"x{i}", Rows * Columns[i], ScalarType.BF16).Zeros($"partial{i}", Parts * Columns[i]).Zeros($"sum{i}", Columns[i]);
        Step Sum(int i) => new Step.Fused("sum", Cost.Zero, Finish(Columns[i]), [fixture.View($"partial{i}"), fixture.View($"sum{i}")]);
        Plan plan = fixture.Plan(fixture.Fused(Fold()), Sum(0), Sum(1));
        return (fixture, plan with
        {
            Purpose = Purpose.Train,
            Buffers = [.. plan.Buffers.Select(b => b.Name.StartsWith("partial", StringComparison.Ordinal) ? b with { Class = BufferClass.Workspace, LastStep = b.Name == "partial0" ? 1 : 2 } : b)],
        });
    }

    private static Kernel Fold()
    {
        Expr start = Mul(V("part"), V("chunk"));
        var clears = new List<Statement>();
        var adds = new List<Statement>();
        for (int i = 0; i < Columns.Length; i++)
        {
            Runtime.Plans.Index part = At("part", Columns[i], "j");
            Expr x = Load(2 * i, At("row", Columns[i], "j"));
            clears.Add(Vector("j", N(Columns[i]), Store(2 * i + 1, part, F(0))));
            adds.Add(Vector("j", N(Columns[i]), Store(2 * i + 1, part, Add(Load(2 * i + 1, part), i == 0 ? x : Mul(x, x)))));
        }
        return Kernel(
            [.. Columns.SelectMany((_, i) => new[] { In($"x{i}", ScalarType.BF16), InOut($"partial{i}") })],
            Grid("part", N(Parts), [
                Let("chunk", Div(Add(N(Rows), N(Parts - 1)), N(Parts))),
                .. clears,
                Loop(LoopKind.Serial, "row", start, Op(Operation.Minimum, Add(start, V("chunk")), N(Rows)), [.. adds])]));
    }

    private static Kernel Finish(int columns, double first = 0, double scale = 1)
    {
        Expr part = Load(0, At("part", columns, "j"));
        return Kernel(
            [In("partial"), InOut("out")],
            Vector("j", N(columns), Store(1, At("j"), F(first))),
            Serial("part", N(Parts), Vector("j", N(columns), Store(1, At("j"), Add(Load(1, At("j")), scale == 1 ? part : Mul(F(scale), part))))));
    }

    private static Kernel OfHeads(int heads, int size)
    {
        Runtime.Plans.Index at = At("h", 64, "j");
        Expr part = Load(0, At((V("part"), 768), (V("h"), 64), (V("j"), 1)));
        return Kernel(
            [In("partial"), InOut("out")],
            Grid("h", N(heads),
                Vector("j", N(size), Store(1, at, F(0))),
                Serial("part", N(Parts), Vector("j", N(size), Store(1, at, Add(Load(1, at), part))))));
    }
}
