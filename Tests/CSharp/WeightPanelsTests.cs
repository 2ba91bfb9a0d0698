using Legato.Runtime.Cpu;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>Weights that lie in panels: as bytes, for products, for rows that are looked up, and beside plans that need them in rows.</summary>
[TestFixture]
public unsafe class WeightPanelsTests
{
    private const int Rows = 64, Depth = 96;

    [SetUp]
    public void PanelsAreUsedHere()
    {
        if (CpuIsaChoice.Active != CpuIsa.Avx512 || StretchFetch.InStreams)
            Assert.Ignore("weights lie in rows on this processor");
    }

    /// <summary>Writes and reads of any bytes are those of rows, however they cut panels, rows and words.</summary>
    [Test]
    public void BytesAreThoseOfRows([Values(4, 8, 60, 192, 3072)] int rowBytes, [Values(0, 5)] int tail, [Range(1, 3)] int seed)
    {
        var random = new Random(seed);
        var panels = new WeightPanels(rowBytes, 3 * WeightPanels.Rows + tail);
        var expected = new byte[panels.AllRows * rowBytes];
        var memory = new byte[expected.Length];
        fixed (byte* start = memory)
            for (int i = 0; i < 60; i++)
            {
                int from = random.Next(expected.Length), count = 1 + random.Next(expected.Length - from);
                if (random.Next(3) == 0)
                    count = Math.Min(count, 9);
                var piece = new byte[count];
                random.NextBytes(piece);
                panels.Write(start, from, piece);
                piece.CopyTo(expected, from);
                int at = random.Next(expected.Length);
                var read = new byte[expected.Length - at];
                panels.Read(start, at, read);
                Assert.That(read.AsSpan().SequenceEqual(expected.AsSpan(at)), $"bytes from {at} on after {count} from {from} on");
            }
    }

    /// <summary>32 rows side by side, word after word.</summary>
    [Test]
    public void AWordOfAllRowsIsOnePiece()
    {
        var panels = new WeightPanels(8, 64);
        uint[] rows = [.. Enumerable.Range(0, 128).Select(i => (uint)i)], memory = new uint[128];
        fixed (uint* start = memory, source = rows)
            panels.Write((byte*)start, 0, new ReadOnlySpan<byte>(source, 512));
        Assert.That(memory[..32], Is.EqualTo(Enumerable.Range(0, 32).Select(row => (uint)(2 * row))));
        Assert.That(memory[32..64], Is.EqualTo(Enumerable.Range(0, 32).Select(row => (uint)(2 * row + 1))));
        Assert.That(memory[64], Is.EqualTo(64), "the next panel begins where its rows did");
    }

    /// <summary>A head tied to embeddings: the same bits as from rows, whatever the number of rows.</summary>
    [Test]
    public void ATiedHeadHasTheBitsOfRows([Values(ScalarType.F32, ScalarType.BF16)] ScalarType type, [Values(Rows, Rows + 5, Rows + 20)] int rows, [Values(1, 5, 12, 40, 250)] int batch, [Values(1, 2)] int threads)
    {
        using var device = new CpuDevice(new CpuDeviceOptions(threads, Pin: false));
        (PlanFixture fixture, Plan plan) = Tied(type, rows);
        using IExecutable inPanels = fixture.Load(device, plan);
        Assert.That(Memory(inPanels, fixture).Panels, Is.Not.Null);
        using IExecutable inRows = fixture.Load(device, plan);
        Memory(inRows, fixture).LayInRows();
        foreach (IExecutable executable in (IExecutable[])[inPanels, inRows])
        {
            executable.Bind("batch", batch);
            executable.Run();
        }
        Assert.That(Memory(inRows, fixture).Panels, Is.Null, "who needs rows will again");
        foreach (string name in (string[])["table", "x", "logits"])
        {
            Elements.AreEqual(fixture.Read(inPanels, name), fixture.Read(inRows, name), name);
            Assert.That(fixture.Read(inPanels, name), Has.Some.Not.Zero);
        }
    }

    /// <summary>A plan that reads the same memory otherwise has it back in rows; the first then finds it there.</summary>
    [Test]
    public void AnotherPlanHasItsRows()
    {
        using var device = new CpuDevice(new CpuDeviceOptions(2, Pin: false));
        (PlanFixture fixture, Plan plan) = Tied(ScalarType.F32);
        using IExecutable first = fixture.Load(device, plan);
        first.Run();
        double[] logits = fixture.Read(first, "logits"), table = fixture.Read(first, "table");

        Kernel doubled = Kernel([InOut("table")], Grid("row", N(Rows), Vector("k", N(Depth), Store(0, At("row", Depth, "k"), Mul(F(2), Load(0, At("row", Depth, "k")))))));
        Plan otherwise = fixture.Plan(new Step.Fused("doubled", Cost.Zero, doubled, [fixture.View("table")]));
        var persistent = new Dictionary<string, IDeviceMemory> { ["table"] = Memory(first, fixture) };
        using (IExecutable second = device.Compile(otherwise, persistent))
            second.Run();
        Assert.That(Memory(first, fixture).Panels, Is.Null);
        Elements.AreEqual(fixture.Read(first, "table"), [.. table.Select(x => 2 * x)], "table");
        first.Run();
        Assert.That(Memory(first, fixture).Panels, Is.Null, "a plan that trains runs again and again");
        Elements.AreEqual(fixture.Read(first, "logits"), [.. logits.Select(x => 4 * x)], "logits");
    }

    /// <summary>Weights that were there before a plan was made ready.</summary>
    [Test]
    public void WhatWasWrittenBeforeIsTurned()
    {
        using var device = new CpuDevice(new CpuDeviceOptions(2, Pin: false));
        using IDeviceMemory memory = device.Allocate(Rows * Depth * sizeof(float));
        var bytes = new byte[memory.Bytes];
        new Random(1).NextBytes(bytes);
        memory.Write(0, bytes);
        using (IExecutable executable = device.Compile(Tied(ScalarType.F32).Plan, new Dictionary<string, IDeviceMemory> { ["table"] = memory }))
            Assert.That(((CpuMemory)memory).Panels, Is.EqualTo(new WeightPanels(Depth * sizeof(float), Rows)));
        var read = new byte[bytes.Length];
        memory.Read(0, read);
        Assert.That(read, Is.EqualTo(bytes));
    }

    /// <summary>A part of the columns that fills no panel, or columns of a part of their depth, stay where they are.</summary>
    [TestCase(Rows, Depth, ExpectedResult = true)]
    [TestCase(Rows - 1, Depth, ExpectedResult = false)]
    [TestCase(Rows, Depth - 1, ExpectedResult = false)]
    [TestCase(32, Depth, ExpectedResult = true)]
    public bool ProductsOfWholePanels(int columns, int depth)
    {
        using var device = new CpuDevice(new CpuDeviceOptions(1, Pin: false));
        (PlanFixture fixture, Plan plan) = Tied(ScalarType.F32);
        Step.MatrixProduct head = plan.Steps.OfType<Step.MatrixProduct>().Single();
        using IExecutable executable = fixture.Load(device, fixture.Plan(head with { N = columns, K = depth }));
        return Memory(executable, fixture).Panels is not null;
    }

    /// <summary>Which rows fill no panel is known from the first on only.</summary>
    [TestCase(Rows, ExpectedResult = true)]
    [TestCase(Rows + 5, ExpectedResult = false)]
    public bool RowsFromThe32ndOnAreLookedUp(int rows)
    {
        using var device = new CpuDevice(new CpuDeviceOptions(1, Pin: false));
        (PlanFixture fixture, Plan plan) = Tied(ScalarType.F32, rows);
        Step.Fused embed = plan.Steps.OfType<Step.Fused>().Single();
        BufferView[] operands = [.. embed.Operands.Select(view => view == fixture.View("table") ? view with { Offset = 32 * Depth } : view)];
        using IExecutable executable = fixture.Load(device, fixture.Plan(embed with { Operands = operands }, plan.Steps.OfType<Step.MatrixProduct>().Single()));
        return Memory(executable, fixture).Panels is not null;
    }

    [Test]
    public void OnlyRowsByTheirNumberAreLookedUp()
    {
        var panels = new WeightPanels(Depth * sizeof(float), Rows);
        Kernel Reading(Runtime.Plans.Index at, long to) => Kernel([In("table"), Out("y")], Grid("b", N(4), Vector("k", N(to), Store(1, At("b", Depth, "k"), Load(0, at)))));
        Assert.That(PanelLookup.Of(Reading(At("b", Depth, "k"), Depth), 0, panels), Is.Not.Null);
        Assert.That(PanelLookup.Of(Reading(At("b", Depth, "k"), Depth + 1), 0, panels), Is.Null, "beyond the row");
        Assert.That(PanelLookup.Of(Reading(At((V("b"), Depth), (V("k"), 2)), Depth / 2), 0, panels), Is.Null, "every second element");
        Assert.That(PanelLookup.Of(Reading(At((V("b"), Depth), (V("k"), 1), (V("k"), 1)), Depth / 2), 0, panels), Is.Null, "every second, counted twice");
        Assert.That(PanelLookup.Of(Reading(At("b", Depth / 2, "k"), Depth), 0, panels), Is.Null, "from the middle of a row on");
        Assert.That(PanelLookup.Of(Reading(At("k"), Depth), 0, panels), Is.Null, "no number of a row");
        Assert.That(PanelLookup.Of(Reading(At("b", Depth, "k"), Depth), 1, panels), Is.Null, "it is written");
    }

    private static CpuMemory Memory(IExecutable executable, PlanFixture fixture) => (CpuMemory)executable.Memory(executable.Plan.Buffers[fixture.Id("table")]);

    private static (PlanFixture Fixture, Plan Plan) Tied(ScalarType type, int rows = Rows)
    {
        Extent batch = Extent.Dimension("batch");
        PlanFixture fixture = new PlanFixture().Dimension("batch", 256).Random("table", rows * Depth, type, kind: BufferClass.Parameter)
            .Random("tokens", batch, ScalarType.I32, rows).Zeros("x", batch * Depth).Zeros("logits", batch * rows);
        Kernel embed = Kernel([In("tokens", ScalarType.I32), In("table", type), Out("x")], Grid("b", Size(batch), Vector("k", N(Depth),
            Store(2, At("b", Depth, "k"), Load(1, At((Load(0, At("b")), Depth), (V("k"), 1)))))));
        return (fixture, fixture.Plan(
            new Step.Fused("embed", Cost.Zero, embed, [fixture.View("tokens"), fixture.View("table"), fixture.View("x")]),
            new Step.MatrixProduct("head", Cost.Zero, batch, rows, Depth, new Matrix(fixture.View("x"), Depth, 1), new Matrix(fixture.View("table"), 1, Depth),
                new Matrix(fixture.View("logits"), rows, 1), false, [], null, [])));
    }
}
