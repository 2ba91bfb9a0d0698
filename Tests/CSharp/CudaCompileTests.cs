using Legato.Runtime;
using Legato.Runtime.Cuda;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>
/// The kernels that are written by hand, in all the variants that launches ask for: prepared for GPUs that needn't be there, their
/// launches in bounds, and compiled where there is NVRTC.
/// </summary>
[TestFixture("80", 163 << 10)]
[TestFixture("89", 99 << 10)]
[TestFixture("90a", 227 << 10)]
public class CudaCompileTests(string target, int sharedBytes)
{
    private const int Batch = 2, Heads = 4, KeyHeads = 2, Length = 70;

    /// <summary>Sources that tests have in common are compiled once.</summary>
    private readonly HashSet<string> compiled = [];

    private static readonly Expr Causal = Op(Operation.LessOrEqual, V("k"), V("q"));

    private static readonly Expr Window = Op(Operation.And, Causal, Op(Operation.Less, Sub(V("q"), V("k")), new Expr.Size(Extent.Dimension("reach"))));

    private static readonly Expr Biased = Add(V("score"), Mul(Load(0, At("h")), Op(Operation.ToFloat, Sub(V("k"), V("q")))));

    private static readonly (string Name, Expr? Mask, Expr? Score)[] Meanings =
        [("all", null, null), ("causal", Causal, null), ("window", Window, null), ("biased", Window, Biased)];

    [Test, Category("Heavy")]
    public void Attention(
        [Values("all", "causal", "window", "biased")] string meaning, [Values] ScalarType type, [Values(32, 40, 64, 128, 192, 256)] int headSize)
    {
        if (type == ScalarType.I32 || (meaning != "causal" && headSize is not (64 or 256)) || (type == ScalarType.F16 && headSize != 64))
            Assert.Ignore("as the others");
        PlanFixture fixture = Operands(type, headSize, Length).Zeros("lse", Batch * Heads * Length).Zeros("dot", Batch * Heads * Length);
        long queries = Batch * Length * Heads * headSize, keys = Batch * Length * KeyHeads * headSize;
        fixture.Random("do", queries, type).Zeros("dq", queries, type).Zeros("dk", keys, type).Zeros("dv", keys, type);
        AttentionShape shape = Shape(meaning, headSize, Length, Length);
        HeadTensor Query(string name) => Tensor(fixture, name, Length, Heads, headSize);
        HeadTensor Key(string name) => Tensor(fixture, name, Length, KeyHeads, headSize);
        Compile(headSize, fixture.Plan(
            new Step.Attention("attention", Cost.Zero, shape, Query("q"), Key("k"), Key("v"), Query("o"), fixture.View("lse"), null, [fixture.View("slopes")]),
            new Step.AttentionGradient(
                "gradient", Cost.Zero, shape, Query("q"), Key("k"), Key("v"), Query("o"), fixture.View("lse"), Query("do"),
                Query("dq"), Key("dk"), Key("dv"), fixture.View("dot"), [fixture.View("slopes")])));
    }

    [Test, Category("Heavy")]
    public void AttentionBehindAPast([Values("causal", "biased")] string meaning, [Values(1, 5)] int queries, [Values(32, 64, 128, 256)] int headSize)
    {
        const int context = 2300;
        PlanFixture fixture = Operands(ScalarType.BF16, headSize, context).Random("past", Batch, ScalarType.I32).Dimension("context", context);
        Compile(queries == 1 ? 0 : headSize, fixture.Plan(new Step.Attention(
            "attention", Cost.Zero, Shape(meaning, headSize, queries, Extent.Dimension("context")), Tensor(fixture, "q", queries, Heads, headSize),
            Tensor(fixture, "k", context, KeyHeads, headSize), Tensor(fixture, "v", context, KeyHeads, headSize), Tensor(fixture, "o", queries, Heads, headSize),
            null, fixture.View("past"), [fixture.View("slopes")])));
    }

    [Test, Category("Heavy")]
    public void Products([Values] ScalarType left, [Values] ScalarType right, [Values(1, 64)] int rows)
    {
        if (left == ScalarType.I32 || right == ScalarType.I32)
            Assert.Ignore("products have floats");
        const int n = 64, k = 128;
        PlanFixture fixture = new PlanFixture().Random("a", rows * k, left).Random("b", k * n, right).Zeros("c", rows * n);
        Compile(fixture.Plan(new Step.MatrixProduct(
            "product", Cost.Zero, rows, n, k, new Matrix(fixture.View("a"), k, 1), new Matrix(fixture.View("b"), 1, k), new Matrix(fixture.View("c"), n, 1),
            Accumulate: rows == 1, [], null, [])));
    }

    /// <summary>A gate and what passes it, which are computed as one, and a product with an addend.</summary>
    [Test, Category("Heavy")]
    public void GatedProductsAndAddends([Values(ScalarType.BF16, ScalarType.F16)] ScalarType type, [Values] bool rightByColumns)
    {
        const int rows = 300, size = 128, mlp = 512;
        var fixture = new PlanFixture();
        foreach (string name in new[] { "gate weights", "up weights", "down weights" })
            fixture.Random(name, size * mlp, type);
        fixture.Random("x", rows * size, type).Zeros("gate", rows * mlp, type).Zeros("up", rows * mlp, type).Zeros("down", rows * size, type);
        Kernel Epilogue(int columns, Func<Expr, Expr, Expr> value) => new(
            "epilogue", [InOut("c", type), In("other", type)], ["m0", "m1", "n0", "n1"],
            [Loop(LoopKind.Grid, "m", V("m0"), V("m1"), Loop(LoopKind.Vector, "n", V("n0"), V("n1"),
                Store(0, At("m", columns, "n"), value(Load(0, At("m", columns, "n")), Load(1, At("m", columns, "n"))))))]);
        Step.MatrixProduct Product(string output, string left, int n, int k, Kernel? epilogue, params string[] operands) => new(
            output, Cost.Zero, rows, n, k, new Matrix(fixture.View(left), k, 1),
            rightByColumns ? new Matrix(fixture.View(output + " weights"), 1, k) : new Matrix(fixture.View(output + " weights"), n, 1),
            new Matrix(fixture.View(output), n, 1), Accumulate: false, [], epilogue, [.. operands.Select(fixture.View)]);
        Plan plan = fixture.Plan(
            Product("gate", "x", mlp, size, null),
            Product("up", "x", mlp, size, Epilogue(mlp, (own, gate) => Mul(own, Op(Operation.Tanh, gate))), "gate"),
            Product("down", "up", size, mlp, Epilogue(size, Add), "x"));
        Compile(plan with { Buffers = [.. plan.Buffers.Select(b => b.Name == "gate" ? b with { FirstStep = 0, LastStep = 1 } : b)] });
    }

    [Test, Category("Heavy")]
    public void ProductsOfGroups([Values] ScalarType type, [Values] bool byColumns)
    {
        if (type == ScalarType.I32)
            Assert.Ignore("products have floats");
        const int rows = 70, n = 64, k = 128, groups = 3;
        PlanFixture fixture = new PlanFixture().Random("left", rows * k, type).Random("right", groups * n * k, type).Zeros("output", rows * n, type)
            .Zeros("gradient", groups * n * k).Random("index", rows, ScalarType.I32, groups).Zeros("offsets", groups + 1, ScalarType.I32).Zeros("order", rows, ScalarType.I32);
        var sorted = new RowGroups(rows, groups, fixture.View("offsets"), fixture.View("order"));
        GroupedMatrix left = new(fixture.View("left"), k, 1), output = new(fixture.View("output"), n, 1);
        Matrix right = byColumns ? new(fixture.View("right"), 1, k) : new(fixture.View("right"), n, 1);
        Matrix gradient = byColumns ? new(fixture.View("gradient"), 1, k) : new(fixture.View("gradient"), n, 1);
        Compile(fixture.Plan(
            new Step.Dispatch("dispatch", Cost.Zero, sorted, fixture.View("index")),
            new Step.GroupedProduct("product", Cost.Zero, sorted, n, k, left, right, n * k, new Matrix(fixture.View("output"), n, 1), null, []),
            new Step.GroupedGradient("gradient", Cost.Zero, sorted, k, n, left, output, gradient, n * k)));
    }

    [Test, Category("Heavy")]
    public void LargestOfRows([Values] ScalarType type)
    {
        if (type == ScalarType.I32)
            Assert.Ignore("rows have floats");
        PlanFixture fixture = new PlanFixture().Random("x", 300, type).Zeros("values", 9, type).Given("indices", 9, ScalarType.I32, new double[9]);
        Compile(fixture.Plan(new Step.TopK("largest", Cost.Zero, 3, 100, 3, fixture.View("x"), fixture.View("values"), fixture.View("indices"))));
    }

    private static PlanFixture Operands(ScalarType type, int headSize, int length) => new PlanFixture()
        .Dimension("reach", 64)
        .Random("q", Batch * length * Heads * headSize, type).Random("k", Batch * length * KeyHeads * headSize, type)
        .Random("v", Batch * length * KeyHeads * headSize, type).Zeros("o", Batch * length * Heads * headSize, type).Random("slopes", Heads);

    private static HeadTensor Tensor(PlanFixture fixture, string name, int length, int heads, int headSize) =>
        new(fixture.View(name), length * heads * headSize, heads * headSize, headSize);

    private static AttentionShape Shape(string meaning, int headSize, Extent queries, Extent keys)
    {
        (_, Expr? mask, Expr? score) = Meanings.First(m => m.Name == meaning);
        return new AttentionShape(Batch, Heads, KeyHeads, queries, keys, headSize, headSize, 1 / Math.Sqrt(headSize), mask, score);
    }

    /// <summary>Kernels that keep whole heads in shared memory are refused where a block has too little of it.</summary>
    private void Compile(int headSize, Plan plan)
    {
        bool isWhole = plan.Buffers[0].Type == ScalarType.F32 && headSize >= 192;
        if (!isWhole || sharedBytes > 100 << 10)
            Compile(plan);
        else
            Assert.That(() => Compile(plan), Throws.TypeOf<LegatoException>().With.Message.Contains("shared memory"));
    }

    private void Compile(Plan plan)
    {
        var gpu = new CudaGpu(0, "a GPU on paper", int.Parse(target[..2], null), 108, 40L << 30, 1e12, sharedBytes);
        using CudaDevice device = CudaDevice.OnPaper(gpu);
        using (IExecutable executable = device.Compile(plan, new Dictionary<string, IDeviceMemory>()))
            executable.Run();
        if (CudaLibraries.Find(CudaLibrary.Compiler) is null)
            Assert.Ignore("launches are in bounds; this machine has no NVRTC to compile their kernels");
        foreach (string source in device.Compiler.Sources.Where(compiled.Add))
        {
            Assert.That(Nvrtc.Compile(source, out string log, [.. CudaCompiler.Options(target), "--ptxas-options=-v"]), Is.Not.Empty);
            Assert.That(log, Does.Not.Contain("serialized"), "products on Hopper's tensor cores run side by side");
        }
    }
}
