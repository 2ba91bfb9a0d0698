using Legato.Runtime;
using Legato.Runtime.Plans;
using NUnit.Framework;
using Index = Legato.Runtime.Plans.Index;

namespace Legato.Tests;

public sealed class PlanFileTests
{
    private readonly TemporaryFolder folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => folder.Dispose();

    [Test]
    public void AnyPlanIsReadAsItWasWritten([Range(1, 40)] int seed)
    {
        Plan plan = new RandomPlan(seed).Plan();
        string text = PlanFile.Write(plan);
        Plan read = PlanFile.Read(text, "test");

        Assert.That(PlanFile.Write(read), Is.EqualTo(text));
        Assert.That(read.Steps.Select(s => s.GetType()), Is.EqualTo(plan.Steps.Select(s => s.GetType())));
        Assert.That(read.Buffers.Select(b => b.Bytes), Is.EqualTo(plan.Buffers.Select(b => b.Bytes)));
    }

    [Test]
    public void AnyExpressionIsReadAsItWasWritten([Range(1, 200)] int seed)
    {
        Expr expr = new RandomPlan(seed).Expr(5);
        Assert.That(PlanText.ReadExpr(PlanText.Write(expr)), Is.EqualTo(expr));
    }

    [TestCase(double.NaN)]
    [TestCase(double.NegativeInfinity)]
    [TestCase(-0.0)]
    [TestCase(1e-45)]
    [TestCase(1.5e300)]
    public void EveryNumberSurvives(double value) =>
        Assert.That(PlanText.ReadExpr(PlanText.Write(new Expr.Number(value))), Is.EqualTo(new Expr.Number(value)));

    [TestCase("")]
    [TestCase("Add(a, b")]
    [TestCase("Add(a b)")]
    [TestCase("Frobnicate(a)")]
    [TestCase("1(a)")]
    [TestCase("$x[i]")]
    [TestCase("$0[i")]
    [TestCase("{batch")]
    [TestCase("a b")]
    public void BrokenExpressionsAreRefused(string text) => Assert.That(() => PlanText.ReadExpr(text), Throws.TypeOf<FormatException>());

    [Test]
    public void DeepNestingIsRefused() =>
        Assert.That(() => PlanText.ReadExpr(string.Concat(Enumerable.Repeat("Negate(", 100_000))), Throws.TypeOf<FormatException>());

    [Test]
    public void DamagedPlansAreRefused()
    {
        string text = PlanFile.Write(new RandomPlan(1).Plan());
        void Refused(string damaged, string message)
        {
            string path = folder.File("damaged.plan.json");
            File.WriteAllText(path, damaged);
            Assert.That(() => PlanFile.Load(path), Throws.TypeOf<LegatoException>().With.Property("Where").EqualTo(path).And.Message.Contains(message));
        }

        Refused(text[..(text.Length / 2)], "can't be read");
        Refused(text.Replace("\"version\": 1", "\"version\": 99"), "version 99");
        Refused(text.Replace("\"steps\"", "\"stairs\""), "stairs");
        Refused(text.Replace("\"arena_bytes\": ", "\"arena_bytes\": -"), "outside the arena");
        Refused(text.Replace("\"buffer\": ", "\"buffer\": 9"), "not declared");
        Refused("{}", "no version");
        Refused("[]", "no version");
        Refused("", "can't be read");
        Assert.That(() => PlanFile.Load(folder.File("absent.plan.json")), Throws.TypeOf<LegatoException>());
    }

    [Test]
    public void AnyCorruptionIsAnErrorOrAPlan()
    {
        var random = new Random(1);
        char[] text = PlanFile.Write(new RandomPlan(2).Plan()).ToCharArray();
        for (int round = 0; round < 300; round++)
        {
            char[] damaged = [.. text];
            damaged[random.Next(damaged.Length)] = (char)random.Next(32, 127);
            try
            {
                _ = PlanFile.Read(new string(damaged), "test");
            }
            catch (LegatoException)
            {
            }
        }
    }

    [Test]
    public void AFolderOfPlansIsAPlanSource()
    {
        var source = new BigramPlans(9);
        PlanRequest train = new(Purpose.Train, 2, 4, 4, Optimizer: OptimizerSettings.Default with { Clip = 0.5 });
        PlanRequest decode = new(Purpose.Decode, 2, 1, 16);
        string path = folder.File("saved");
        SavedPlans.Save(path, source, train, decode);
        var saved = new SavedPlans(path);

        Assert.That(PlanFile.Write(saved.Plan(train)), Is.EqualTo(PlanFile.Write(source.Plan(train))));
        Assert.That(saved.Plan(decode).Purpose, Is.EqualTo(Purpose.Decode));
        Assert.That(saved.Model.Parameters.Single().Path, Is.EqualTo("table"));
        Assert.That(saved.Model.Config, Is.EqualTo(source.Model.Config));
        Assert.That(
            () => saved.Plan(decode with { Batch = 3 }),
            Throws.TypeOf<LegatoException>().With.Message.Contains("batch3").And.Message.Contains(SavedPlans.FileName(decode)));
        Assert.That(() => new SavedPlans(folder.File("unsaved")), Throws.TypeOf<LegatoException>());
    }

    /// <summary>Plans with every kind of step, statement and expression, out of a seed.</summary>
    private sealed class RandomPlan(int seed)
    {
        private readonly Random random = new(seed);

        public Plan Plan()
        {
            Step[] steps = [Fused(), Product(), Attention(), Gradient(), TopK(), Choose(), Dispatch(), Grouped(), GroupedGradient(), new Step.Loop("loop", Cost(), "layer", 3, true, [Fused(), Product()])];
            PlanBuffer[] buffers =
            [
                .. Enumerable.Range(0, 4).Select(i => new PlanBuffer(
                    i, $"buffer.{i}", i == 0 ? BufferClass.Activation : (BufferClass)random.Next(9), (ScalarType)random.Next(4), [new PlanAxis("batch", Extent.Dimension("batch")), new PlanAxis("wide", 8)], 64 * i, 0, 5)),
            ];
            PlanParameter parameter = new("a.b", [new PlanAxis("x", 3)], new Initializer(InitializerKind.Normal, 0.02), true, ["", "Data"]);
            DynamicDimension[] dimensions = [new("batch", 1, 8), new("seq", 1, 100)];
            return new Plan("model", Purpose.Prefill, "fp32", dimensions, buffers, [parameter], [Fused()], steps, 4096);
        }

        public Expr Expr(int depth) => random.Next(depth > 0 ? 7 : 4) switch
        {
            0 => new Expr.Number(random.Next(3) == 0 ? double.PositiveInfinity : random.NextDouble() * 100 - 50),
            1 => new Expr.Integer(random.Next(-1000, 1000)),
            2 => new Expr.Size(Size()),
            3 => new Expr.Variable($"v{random.Next(10)}_x"),
            4 => new Expr.Load(random.Next(12), Index(depth - 1)),
            _ => new Expr.Apply((Operation)random.Next((int)Operation.Select + 1), [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => Expr(depth - 1))]),
        };

        private Index Index(int depth) => new([.. Enumerable.Range(0, random.Next(4)).Select(_ => new IndexTerm(Expr(depth), random.Next(2) == 0 ? 1 : Size()))]);

        private Extent Size() => Extent.Of(random.Next(-5, 1000)) * Extent.Dimension("batch") + Extent.Of(random.Next(3)) * Extent.Dimension("seq") * Extent.Dimension("batch") + random.Next(100);

        private Cost Cost() => new(Size(), Size());

        private BufferView View() => new(random.Next(4), Size(), [.. Enumerable.Range(0, random.Next(2)).Select(_ => new LoopStride("layer", Size()))]);

        private Kernel Kernel() => new(
            "kernel",
            [new KernelOperand("x", ScalarType.F32, Access.Read), new KernelOperand("y", ScalarType.BF16, Access.ReadWrite)],
            random.Next(2) == 0 ? [] : ["m0", "m1"],
            [
                new Statement.Loop(LoopKind.Grid, "i", Expr(0), Expr(1),
                [
                    new Statement.Accumulator("sum", Reduction.Maximum),
                    new Statement.Loop(LoopKind.Vector, "j", Expr(0), Expr(0), [new Statement.Accumulate("sum", Expr(2))]),
                    new Statement.Let("z", Expr(3)),
                    new Statement.Store(1, Index(2), Expr(2)),
                ]),
            ]);

        private Step.Fused Fused() => new("fused", Cost(), Kernel(), [View(), View()]);

        private Matrix Matrix() => new(View(), Size(), Size());

        private Step.MatrixProduct Product() => random.Next(2) == 0
            ? new("product", Cost(), Size(), Size(), Size(), Matrix(), Matrix(), Matrix(), true, [], Kernel(), [View()])
            : new("product", Cost(), Size(), Size(), Size(), Matrix(), Matrix(), Matrix(), false, [new BatchLoop(Size(), Size(), Size(), Size())], null, []);

        private AttentionShape Shape() => new(Size(), 4, 2, Size(), Size(), 16, 16, 0.25, random.Next(2) == 0 ? null : Expr(3), random.Next(2) == 0 ? null : Expr(3));

        private HeadTensor Heads() => new(View(), Size(), Size(), Size());

        private Step.Attention Attention() => new(
            "attention", Cost(), Shape(), Heads(), Heads(), Heads(), Heads(), random.Next(2) == 0 ? null : View(), random.Next(2) == 0 ? null : View(), [View()]);

        private Step.AttentionGradient Gradient() => new(
            "gradient", Cost(), Shape(), Heads(), Heads(), Heads(), Heads(), View(), Heads(), Heads(), Heads(), Heads(), View(), []);

        private RowGroups Rows() => new(Size(), 4, View(), View());

        private GroupedMatrix GroupedMatrix() => new(View(), Size(), random.Next(1, 4));

        private Step.Dispatch Dispatch() => new("dispatch", Cost(), Rows(), View());

        private Step.GroupedProduct Grouped() => random.Next(2) == 0
            ? new("grouped", Cost(), Rows(), Size(), Size(), GroupedMatrix(), Matrix(), Size(), Matrix(), Kernel(), [View()])
            : new("grouped", Cost(), Rows(), Size(), Size(), GroupedMatrix(), Matrix(), Size(), Matrix(), null, []);

        private Step.GroupedGradient GroupedGradient() => new(
            "grouped gradient", Cost(), Rows(), Size(), Size(), GroupedMatrix(), GroupedMatrix(), Matrix(), Size());

        private Step.Choose Choose() => new("choose", Cost(), Size(), Size(), View(), View(), View(), View(), View());

        private Step.TopK TopK() => new("top", Cost(), Size(), Size(), 3, View(), View(), View());
    }
}
