using System.Runtime.CompilerServices;
using Legato.Runtime.Cuda;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>How kernels are spelled for GPUs and laid over their threads: held texts, so that machines without one guard them too.</summary>
[TestFixture]
public class CudaTextTests
{
    private const int Rows = 512;

    [Test]
    public void Norm([Values(ScalarType.F32, ScalarType.BF16)] ScalarType type) => Hold($"norm-{type}".ToLowerInvariant(), NormOf(type, 4096));

    [Test]
    public void NormOfShortRows() => Hold("norm-short-rows", NormOf(ScalarType.F32, 64));

    [Test]
    public void NormGradient([Values(ScalarType.F32, ScalarType.BF16)] ScalarType type) => Hold($"norm-gradient-{type}".ToLowerInvariant(), NormGradientOf(type, 768));

    [Test]
    public void SumsOfColumns() => Hold("column-sums", ColumnSumsOf(3072));

    [Test]
    public void CrossEntropy() => Hold("cross-entropy", CrossEntropyOf(50257, 50257, ScalarType.F32));

    [Test]
    public void CrossEntropyOfAlignedRows() => Hold("cross-entropy-aligned", CrossEntropyOf(50257, 50304, ScalarType.BF16));

    [Test]
    public void Optimizer() => Hold("optimizer", OptimizerOf(1 << 20));

    [Test]
    public void ColumnSumsAreCutIntoSmallerParts()
    {
        ColumnSums sums = ColumnSums.Of(NormGradientOf(ScalarType.F32, 768), e => e.Constant) ?? throw new AssertionException("no column sums were found");
        Assert.That(sums.Sums, Is.EqualTo(new[] { 2 }));
        Assert.That(sums.PieceElements, Is.EqualTo(new[] { Extent.Of(32 * 2 * 768) }));
        Hold("norm-gradient-parts", sums.Finish);
    }

    [Test]
    public void LaunchesCoverEveryRowAndColumn([Values(1, 3, 64, 100, 4096, 50257)] int width, [Values(1, 7, 1000)] int rows)
    {
        Runtime.Plans.Index at = At("i", width, "j");
        Kernel kernel = Kernel([In("x"), Out("y")], Grid("i", N(rows), Vector("j", N(width), Store(1, at, Load(0, at)))));
        CudaKernelText text = CudaKernelWriter.Write(kernel, Apart(kernel), e => IntegerRange.Of(e.Constant), 113 << 10);
        long blocks = text.Blocks(e => e.Constant), chunks = text.Chunks(e => e.Constant);
        Assert.That(text.Schedule.Threads, Is.InRange(1, 1024));
        Assert.That(blocks / chunks * text.Schedule.Rows, Is.InRange(rows, rows + text.Schedule.Rows - 1));
        if (text.Schedule.Columns is not null)
            Assert.That(chunks * text.Schedule.ChunkColumns, Is.InRange(width, width + text.Schedule.ChunkColumns - 1));
    }

    [Test]
    public void AThreadFindsItsOwnElementsAgain([Values(96, 768, 3072, 4096)] int width, [Values(ScalarType.F32, ScalarType.BF16)] ScalarType type)
    {
        // Sums in float32 are cleared in one loop and added to, beside narrower elements, in another.
        foreach (Kernel kernel in new[] { NormGradientOf(type, width), ColumnSumsOf(width, type) })
            Assert.That(CudaSchedule.Of(kernel, Apart(kernel), e => e.Constant).Widths.Values.Distinct().Count(), Is.EqualTo(1), kernel.Text);
    }

    [Test]
    public void WhatAnotherThreadWroteIsWaitedFor()
    {
        // Reversed columns are read by other threads than wrote them.
        Kernel kernel = Kernel([In("x"), InOut("y")], Grid("i", N(4),
            Vector("j", N(256), Store(1, At("i", 256, "j"), Load(0, At("i", 256, "j")))),
            Vector("j", N(256), Store(1, At("i", 256, "j"), Load(1, At((V("i"), 256), (Sub(N(255), V("j")), 1)))))));
        Assert.That(CudaKernelWriter.Write(kernel, Apart(kernel), e => IntegerRange.Of(e.Constant), 113 << 10).Text, Does.Contain("__sync"));
    }

    [Test]
    public void ALoadThatPositionsGuardIsMadeOnlyWhereItExists()
    {
        Expr far = Load(0, At((V("j"), 1), (N(-64), 1))), own = Load(0, At("j")), first = Load(0, At((N(1 << 20), 1)));
        string Text(Expr value)
        {
            Kernel kernel = Kernel([In("x"), Out("y")], Vector("j", N(256), Store(1, At("j"), value)));
            return CudaKernelWriter.Write(kernel, Apart(kernel), e => IntegerRange.Of(e.Constant), 113 << 10).Text;
        }

        Assert.That(Text(Where(Op(Operation.LessOrEqual, N(64), V("j")), far, F(0))), Does.Not.Contain("fetch<"));
        Assert.That(Text(Where(Op(Operation.Not, Op(Operation.Less, V("j"), N(300))), first, own)), Does.Contain("? p0[1048576] :"));
        Assert.That(Text(Where(Op(Operation.Less, Op(Operation.Random, N(7), V("j")), F(0.1)), F(0), own)), Does.Contain("fetch<4>"), "data guards nothing");
    }

    [Test]
    public void AValueThatIsStoredIsReadAgain()
    {
        Expr x = Load(0, At("j"));
        Kernel kernel = Kernel([InOut("x")], Vector("j", N(256), Store(0, At("j"), Mul(x, x)), Store(0, At("j"), Mul(x, x))));
        string[] stores = [.. CudaKernelWriter.Write(kernel, Apart(kernel), e => IntegerRange.Of(e.Constant), 113 << 10).Text.Split('\n').Where(l => l.Contains("] = ("))];
        Assert.That(stores, Has.Length.EqualTo(2));
        Assert.That(stores[1], Does.Not.Contain("in0").And.Contain("p0["));
    }

    [Test]
    public void OperandsApartFromEachOtherMeetInAThird()
    {
        CudaView At(nint start, nint end) => new(null!, "x", ScalarType.F32, start, end, null!, 1);
        Assert.That(CudaLowering.Memory([At(0, 64), At(64, 128), At(128, 256), At(0, 128)]).Select(m => m.Alias), Is.EqualTo(new[] { 0, 0, 2, 0 }));
    }

    private static Kernel NormOf(ScalarType type, int width)
    {
        Runtime.Plans.Index at = At("i", width, "j");
        return Kernel([In("x", type), In("gain"), Out("y", type)], Grid("i", N(Rows),
            Sum("s"), Vector("j", N(width), Fold("s", Mul(Load(0, at), Load(0, at)))),
            Let("r", Op(Operation.Rsqrt, Add(Mul(V("s"), F(1.0 / width)), F(1e-5)))),
            Vector("j", N(width), Store(2, at, Mul(Mul(Load(0, at), V("r")), Load(1, At("j")))))));
    }

    private static Kernel ColumnSumsOf(int width, ScalarType type = ScalarType.BF16)
    {
        Runtime.Plans.Index at = At("row", width, "j"), part = At("part", width, "j");
        Expr start = Mul(V("part"), V("chunk"));
        return Kernel([In("x", type), InOut("partial")], Grid("part", N(32),
            Let("chunk", Div(Add(N(Rows), N(31)), N(32))),
            Vector("j", N(width), Store(1, part, F(0))),
            Loop(LoopKind.Serial, "row", start, Op(Operation.Minimum, Add(start, V("chunk")), N(Rows)),
                Vector("j", N(width), Store(1, part, Add(Load(1, part), Load(0, at)))))));
    }

    private static Kernel NormGradientOf(ScalarType type, int width)
    {
        Runtime.Plans.Index at = At("row", width, "j"), part = At("part", width, "j");
        Expr start = Mul(V("part"), V("chunk"));
        return Kernel([In("x", type), In("dy", type), InOut("partial"), Out("dx", type)], Grid("part", N(32),
            Let("chunk", Div(Add(N(Rows), N(31)), N(32))),
            Vector("j", N(width), Store(2, part, F(0))),
            Loop(LoopKind.Serial, "row", start, Op(Operation.Minimum, Add(start, V("chunk")), N(Rows)),
                Sum("s"),
                Vector("j", N(width), Fold("s", Mul(Load(0, at), Load(1, at))), Store(2, part, Add(Load(2, part), Load(1, at)))),
                Vector("j", N(width), Store(3, at, Sub(Load(1, at), Mul(V("s"), Load(0, at))))))));
    }

    private static Kernel CrossEntropyOf(int vocabulary, int stride, ScalarType type)
    {
        Runtime.Plans.Index at = At("i", stride, "j");
        Expr shifted = Op(Operation.Exp, Sub(Load(1, at), V("m")));
        return Kernel([In("label", ScalarType.I32), In("logits", type), Out("loss"), Out("gradient", type)], Grid("i", N(Rows),
            Let("l", Load(0, At("i"))), Largest("m"), Sum("p"),
            Vector("j", N(vocabulary), Fold("m", Load(1, at)), Fold("p", Where(Op(Operation.Equal, V("j"), V("l")), Load(1, at), F(0)))),
            Sum("s"), Vector("j", N(vocabulary), Fold("s", shifted)),
            Store(2, At("i"), Sub(Add(Op(Operation.Log, V("s")), V("m")), V("p"))),
            Vector("j", N(vocabulary), Store(3, at, Sub(Div(shifted, V("s")), Where(Op(Operation.Equal, V("j"), V("l")), F(1), F(0)))))));
    }

    private static Kernel OptimizerOf(int count)
    {
        Runtime.Plans.Index at = At("j");
        return Kernel([In("norm"), In("g"), InOut("w"), InOut("m"), InOut("v")],
            Let("clip", Op(Operation.Minimum, F(1), Div(F(1), Load(0, At())))),
            Vector("j", N(count),
                Let("d", Mul(Load(1, at), V("clip"))),
                Let("m1", Add(Mul(F(0.9), Load(3, at)), Mul(F(0.1), V("d")))),
                Let("v1", Add(Mul(F(0.95), Load(4, at)), Mul(F(0.05), Mul(V("d"), V("d"))))),
                Store(2, at, Sub(Load(2, at), Mul(F(1e-3), Div(V("m1"), Add(Op(Operation.Sqrt, V("v1")), F(1e-8)))))),
                Store(3, at, V("m1")), Store(4, at, V("v1"))));
    }

    private static OperandMemory[] Apart(Kernel kernel) => [.. kernel.Operands.Select((o, i) => new OperandMemory(o.Type, 16, i))];

    private static void Hold(string name, Kernel kernel, [CallerFilePath] string here = "")
    {
        CudaKernelText text = CudaKernelWriter.Write(kernel, Apart(kernel), e => IntegerRange.Of(e.Constant), 113 << 10);
        string actual = $"// {text.Blocks(e => e.Constant)} blocks of {text.Schedule.Threads} threads, {text.Schedule.Group} a row\n{text.Text}";
        string path = Path.Combine(Path.GetDirectoryName(here)!, "..", "Goldens", "cuda", name + ".cu");
        if (Environment.GetEnvironmentVariable("LEGATO_BLESS") == "1")
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, actual);
        }
        string held = File.Exists(path) ? File.ReadAllText(path) : "";
        Assert.That(actual, Is.EqualTo(held), $"{name} differs; LEGATO_BLESS=1 rewrites it");
    }
}
