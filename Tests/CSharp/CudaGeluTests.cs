using Legato.Runtime.Cuda;
using Legato.Runtime.Devices;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;
using static Legato.Tests.TanhGeluExpressions;

namespace Legato.Tests;

/// <summary>GELU of a product and the gradient through it, which cuBLASLt computes with the product.</summary>
[TestFixture]
public class CudaGeluTests
{
    private const int Rows = 200, Depth = 72;

    private static readonly Expr x = Load(0, At("m", 96, "n"));

    [Test]
    public void GeluIsToldByItsValues()
    {
        Statement.Let[] names = [new("tanh", Op(Operation.Tanh, Mul(F(0.7978845608028654), Add(x, Mul(F(0.044715), Mul(x, Mul(x, x)))))))];
        Expr gelu = Mul(Mul(F(0.5), x), Add(F(1), V("tanh")));
        Assert.That(TanhGelu.Is(gelu, x, names));
        Assert.That(TanhGelu.IsSlope(Slope(x), x, []));
        Expr erf = Mul(Mul(F(0.5), x), Add(F(1), Op(Operation.Erf, Mul(F(Math.Sqrt(0.5)), x))));
        foreach (Expr other in new[] { Slope(x), V("tanh"), Mul(gelu, F(1.0001)), erf, Mul(gelu, V("m")), x })
            Assert.That(TanhGelu.Is(other, x, names), Is.False, other.ToString());
    }

    [Test]
    public void StepsAreTakenAsOneOnlyWhereAllOfTheOutputIsMapped()
    {
        (PlanFixture fixture, Step.MatrixProduct product, Step.Fused map) = Forward(ScalarType.BF16, columns: 96, hasBias: true);
        Assert.That(GeluOfProduct.Of(product, map), Is.EqualTo(new GeluOfProduct(1, new Matrix(fixture.View("result"), 96, 1))));
        Assert.That(GeluOfProduct.Of(product with { Accumulate = true }, map), Is.Null);
        Assert.That(GeluOfProduct.Of(product with { M = Rows + 1 }, map), Is.Null);
        Assert.That(GeluOfProduct.Of(product with { N = 95 }, map), Is.Null);
        Assert.That(GeluOfProduct.Of(product, map with { Operands = [fixture.View("b"), fixture.View("result")] }), Is.Null);
    }

    /// <summary>Odd columns, and float32, go the way of other products.</summary>
    [Test]
    public void GeluAgreesWithTheInterpreter(
        [Values(ScalarType.BF16, ScalarType.F16, ScalarType.F32)] ScalarType type, [Values(96, 93)] int columns, [Values] bool hasBias)
    {
        (PlanFixture fixture, Step.MatrixProduct product, Step.Fused map) = Forward(type, columns, hasBias);
        Agrees(fixture, type, 1, ["c", "result"], product, map);
    }

    [Test]
    public void TheGradientAgreesWithTheInterpreter([Values(ScalarType.BF16, ScalarType.F16, ScalarType.F32)] ScalarType type, [Values(96, 93)] int columns)
    {
        PlanFixture fixture = Operands(type, columns).Random("input", Rows * columns, type);
        Expr sum = Load(0, At("m", columns, "n")), input = Load(1, At("m", columns, "n"));
        Step.MatrixProduct product = Product(fixture, columns, Epilogue(type, "input", columns, Mul(sum, Slope(input))), "input");
        // An error of the slope is multiplied by products of about that size.
        Agrees(fixture, type, Math.Sqrt(Depth), ["c"], product);
    }

    private static void Agrees(PlanFixture fixture, ScalarType type, double size, string[] results, params Step[] steps)
    {
        Plan plan = fixture.Plan(steps);
        using IDevice device = TestDevices.Open("cuda");
        using var interpreter = new InterpreterDevice();
        Dictionary<string, double[]> first = fixture.Run(device, plan), second = fixture.Run(device, plan), expected = fixture.Run(interpreter, plan);
        double relative = type switch { ScalarType.F32 => 1e-4, ScalarType.F16 => 4e-3, _ => 2e-2 };
        foreach (string name in results)
        {
            Elements.AreEqual(first[name], second[name], $"{name}: the same bits every time");
            Elements.Agree(first[name], expected[name], value => relative * (size + Math.Abs(value)), name);
        }
    }

    private static (PlanFixture Fixture, Step.MatrixProduct Product, Step.Fused Map) Forward(ScalarType type, int columns, bool hasBias)
    {
        PlanFixture fixture = Operands(type, columns).Random("bias", columns, type).Zeros("result", Rows * columns, type);
        Kernel? epilogue = hasBias ? Epilogue(type, "bias", columns, Add(Load(0, At("m", columns, "n")), Load(1, At("n")))) : null;
        Step.MatrixProduct product = Product(fixture, columns, epilogue, hasBias ? "bias" : null);
        Expr read = Load(0, At("row", columns, "j"));
        Kernel map = Kernel([In("c", type), Out("result", type)], Grid("row", N(Rows), Vector("j", N(columns), Let("v", Gelu(read)), Store(1, At("row", columns, "j"), V("v")))));
        return (fixture, product, new Step.Fused("map", Cost.Zero, map, [fixture.View("c"), fixture.View("result")]));
    }

    private static PlanFixture Operands(ScalarType type, int columns) =>
        new PlanFixture().Random("a", Rows * Depth, type).Random("b", Depth * columns, type).Zeros("c", Rows * columns, type);

    private static Step.MatrixProduct Product(PlanFixture fixture, int columns, Kernel? epilogue, string? operand) => new(
        "product", Cost.Zero, Rows, columns, Depth, new Matrix(fixture.View("a"), Depth, 1), new Matrix(fixture.View("b"), columns, 1),
        new Matrix(fixture.View("c"), columns, 1), Accumulate: false, [], epilogue, operand is null ? [] : [fixture.View(operand)]);

    private static Kernel Epilogue(ScalarType type, string operand, int columns, Expr value) => new(
        "epilogue", [InOut("c", type), In(operand, type)], ["m0", "m1", "n0", "n1"],
        [new Statement.Loop(LoopKind.Grid, "m", V("m0"), V("m1"), [new Statement.Loop(LoopKind.Vector, "n", V("n0"), V("n1"),
            [Let("v", value), Store(0, At("m", columns, "n"), V("v"))])])]);
}
