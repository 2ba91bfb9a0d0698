using Legato.Runtime.Devices;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>Attention steps of a plan against the interpreter.</summary>
[TestFixture("cpu")]
[TestFixture("cuda")]
public class DeviceAttentionTests(string device)
{
    private const int Batch = 2, Heads = 4, KeyHeads = 2, HeadSize = 8;

    private static readonly Expr Causal = Op(Operation.LessOrEqual, V("k"), V("q"));

    private static readonly Expr SoftCap = Mul(F(5), Op(Operation.Tanh, Div(V("score"), F(5))));

    /// <summary>A bias for each head, from an extra operand.</summary>
    private static readonly Expr Biased = Add(V("score"), Mul(Load(0, At("h")), Op(Operation.ToFloat, Sub(V("k"), V("q")))));

    private static readonly (string Name, Expr? Mask, Expr? Score)[] Shapes =
        [("all", null, null), ("causal", Causal, null), ("capped", Causal, SoftCap), ("biased", Causal, Biased)];

    [Test]
    public void ForwardAndGradient([Values("all", "causal", "capped", "biased")] string shape, [Values(1, 19, 150)] int length)
    {
        PlanFixture fixture = Tensors(length, length).Zeros("dq", Batch * length * Heads * HeadSize).Zeros("dk", Batch * length * KeyHeads * HeadSize)
            .Zeros("dv", Batch * length * KeyHeads * HeadSize).Random("do", Batch * length * Heads * HeadSize).Zeros("dot", Batch * Heads * length);
        AttentionShape meaning = Shape(shape, length, length);
        HeadTensor Query(string name) => Tensor(fixture, name, length, Heads);
        HeadTensor Key(string name) => Tensor(fixture, name, length, KeyHeads);
        var forward = new Step.Attention(
            "attention", Cost.Zero, meaning, Query("q"), Key("k"), Key("v"), Query("o"), fixture.View("lse"), null, [fixture.View("slopes")]);
        var gradient = new Step.AttentionGradient(
            "gradient", Cost.Zero, meaning, Query("q"), Key("k"), Key("v"), Query("o"), fixture.View("lse"), Query("do"),
            Query("dq"), Key("dk"), Key("dv"), fixture.View("dot"), [fixture.View("slopes")]);
        Agree(fixture, fixture.Plan(forward, gradient));
    }

    [Test]
    public void QueriesBehindAPast([Values("causal", "biased")] string shape, [Values(1, 5)] int queries)
    {
        const int context = 40;
        PlanFixture fixture = Tensors(queries, context).Given("past", Batch, ScalarType.I32, [3, 30]).Dimension("context", context);
        var step = new Step.Attention(
            "attention", Cost.Zero, Shape(shape, queries, Extent.Dimension("context")), Tensor(fixture, "q", queries, Heads),
            Tensor(fixture, "k", context, KeyHeads), Tensor(fixture, "v", context, KeyHeads), Tensor(fixture, "o", queries, Heads),
            null, fixture.View("past"), [fixture.View("slopes")]);
        Agree(fixture, fixture.Plan(step), ("context", 36));
    }

    private static PlanFixture Tensors(int queries, int keys) => new PlanFixture()
        .Random("q", Batch * queries * Heads * HeadSize).Random("k", Batch * keys * KeyHeads * HeadSize).Random("v", Batch * keys * KeyHeads * HeadSize)
        .Zeros("o", Batch * queries * Heads * HeadSize).Zeros("lse", Batch * Heads * queries).Random("slopes", Heads);

    private static HeadTensor Tensor(PlanFixture fixture, string name, int length, int heads) =>
        new(fixture.View(name), length * heads * HeadSize, heads * HeadSize, HeadSize);

    private static AttentionShape Shape(string name, Extent queries, Extent keys)
    {
        (_, Expr? mask, Expr? score) = Shapes.First(s => s.Name == name);
        return new AttentionShape(Batch, Heads, KeyHeads, queries, keys, HeadSize, HeadSize, 0.35, mask, score);
    }

    private void Agree(PlanFixture fixture, Plan plan, params (string, long)[] bindings)
    {
        using IDevice compared = TestDevices.Open(device);
        using var interpreter = new InterpreterDevice();
        Dictionary<string, double[]> actual = fixture.Run(compared, plan, bindings);
        foreach ((string name, double[] expected) in fixture.Run(interpreter, plan, bindings))
            Elements.Agree(actual[name], expected, 2e-4, name);
    }
}
