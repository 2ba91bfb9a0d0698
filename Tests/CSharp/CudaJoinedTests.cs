using Legato.Runtime.Cuda;
using Legato.Runtime.Devices;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>Kernels over tensors of several shapes that are launched as one: what an optimizer does to all parameters.</summary>
[TestFixture]
public class CudaJoinedTests
{
    /// <summary>Rows and columns: whole vectors and odd ones, more than a block's elements and fewer, a sum's pieces and one sum.</summary>
    private static readonly (int Rows, int Columns)[] Shapes = [(300, 768), (1, 768), (12, 64), (7, 33), (1, 5), (96, 1024), (512, 96)];

    private static int Count => Shapes.Length;

    [Test]
    public void AllTensorsAreUpdatedByOneLaunch() => Assert.That(Sources(Updates(decays: false)), Is.EqualTo(1));

    [Test]
    public void AnotherUpdateIsAnotherPartOfTheSameLaunch() => Assert.That(Sources(Updates(decays: true)), Is.EqualTo(1));

    [Test]
    public void SumsOfAllTensorsAreOneLaunchAndThoseOfTheirPiecesAnother() => Assert.That(Sources(Norms()), Is.EqualTo(2));

    [Test]
    public void KernelsThatWaitForEachOtherStayApart()
    {
        PlanFixture fixture = new PlanFixture().Random("x", 4096).Zeros("y", 4096).Zeros("z", 4096);
        Step Copy(string from, string to) => fixture.Fused(Kernel([In(from), Out(to)], Grid("i", N(4), Vector("j", N(1024), Store(1, At("i", 1024, "j"), Load(0, At("i", 1024, "j")))))));
        Plan plan = fixture.Plan(Copy("x", "y"), Copy("y", "z")) with { Purpose = Purpose.Train };
        using CudaDevice device = CudaDevice.OnPaper(Gpu);
        using IExecutable executable = fixture.Load(device, plan);
        Assert.That(device.Compiler.Sources.Single(), Does.Not.Contain("Members"));
    }

    [Test]
    public void WhatUsesThePositionIsNoWalkThroughElements()
    {
        Runtime.Plans.Index at = At("i", 8, "j");
        Kernel Of(Expr value) => Kernel([In("x"), Out("y")], Grid("i", N(4), Vector("j", N(8), Store(1, at, value))));
        FlatKernel? Flat(Kernel kernel) => FlatKernel.Of(kernel, [new OperandMemory(ScalarType.F32, 16, 0), new OperandMemory(ScalarType.F32, 16, 1)]);
        Assert.That(Flat(Of(Op(Operation.ToFloat, V("j")))), Is.Null);
        Assert.That(Flat(Of(Load(0, At("j", 4, "i")))), Is.Null, "transposed");
        Assert.That(Flat(Of(Load(0, At("j")))), Is.Null, "a row for all");
        Assert.That(Flat(Of(Load(0, at)))?.Count, Is.EqualTo(32));
    }

    [Test]
    public void JoinedAndAloneAreEqualToTheBit()
    {
        using IDevice device = TestDevices.Open("cuda"), interpreter = new InterpreterDevice();
        PlanFixture fixture = Tensors();
        // The plan of an inference starts its kernels early, each by itself.
        Plan alone = fixture.Plan([.. NormSteps(fixture), .. UpdateSteps(fixture, true)]), joined = alone with { Purpose = Purpose.Train };
        Dictionary<string, double[]> expected = fixture.Run(interpreter, alone), apart = fixture.Run(device, alone), first = fixture.Run(device, joined), second = fixture.Run(device, joined);
        foreach ((string name, double[] values) in first)
        {
            Elements.AreEqual(values, second[name], $"{name}: two runs");
            if (!name.StartsWith('s'))
                Elements.AreEqual(values, apart[name], $"{name}: joined and alone");
            // The GPU rounds a product and its sum together, so that a stored bfloat16 may be the next one, and adds in another order.
            double share = name[0] switch { 'p' => 1.0 / 128, 's' => 1e-5, _ => 1e-7 };
            Elements.Agree(values, expected[name], value => 1e-5 + share * Math.Abs(value), $"{name}: interpreted");
        }
    }

    private static CudaGpu Gpu => new(0, "a GPU on paper", 90, 132, 80L << 30, 3e12, 227 << 10);

    private static PlanFixture Tensors()
    {
        PlanFixture fixture = new PlanFixture().Given("norm", 1, ScalarType.F32, [1.7]);
        for (int i = 0; i < Count; i++)
        {
            long elements = (long)Shapes[i].Rows * Shapes[i].Columns;
            fixture.Random($"g{i}", elements).Random($"w{i}", elements).Random($"m{i}", elements).Zeros($"p{i}", elements, ScalarType.BF16).Zeros($"s{i}", 1);
        }
        return fixture;
    }

    private static Plan Updates(bool decays)
    {
        PlanFixture fixture = Tensors();
        return fixture.Plan([.. UpdateSteps(fixture, decays)]) with { Purpose = Purpose.Train };
    }

    private static Plan Norms()
    {
        PlanFixture fixture = Tensors();
        return fixture.Plan([.. NormSteps(fixture)]) with { Purpose = Purpose.Train };
    }

    private static IEnumerable<Step> NormSteps(PlanFixture fixture) => Enumerable.Range(0, Count).Select(i => fixture.Fused(Kernel(
        [In($"g{i}"), Out($"s{i}")],
        Sum("sum"), Vector("j", N((long)Shapes[i].Rows * Shapes[i].Columns), Fold("sum", Mul(Load(0, At("j")), Load(0, At("j"))))), Store(1, At(), V("sum")))));

    private static IEnumerable<Step> UpdateSteps(PlanFixture fixture, bool decays) => Enumerable.Range(0, Count).Select(i =>
    {
        Runtime.Plans.Index at = At("i", Shapes[i].Columns, "j");
        Expr w = Load(2, at), decayed = decays && i % 2 == 0 ? Mul(w, F(0.9)) : w;
        return fixture.Fused(Kernel(
            [In("norm"), In($"g{i}"), InOut($"w{i}"), InOut($"m{i}"), Out($"p{i}", ScalarType.BF16)],
            Grid("i", N(Shapes[i].Rows),
                Let("clip", Op(Operation.Minimum, F(1), Div(F(1), Load(0, At())))),
                Vector("j", N(Shapes[i].Columns),
                    Let("d", Add(Mul(F(0.5), Load(3, at)), Mul(Load(1, at), V("clip")))),
                    Let("new", Sub(decayed, Mul(F(0.25), V("d")))),
                    Store(2, at, V("new")), Store(3, at, V("d")), Store(4, at, V("new"))))));
    });

    private static int Sources(Plan plan)
    {
        using CudaDevice device = CudaDevice.OnPaper(Gpu);
        using IExecutable executable = Tensors().Load(device, plan);
        executable.Run();
        return device.Compiler.Sources.Count();
    }
}
