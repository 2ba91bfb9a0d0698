using Legato.Runtime.Plans;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>
/// Random expressions over x [3, width], y [width] and integers z [3], in which nothing overflows and no comparison is
/// between floats that rounding could reorder.
/// </summary>
internal sealed class RandomExpressions(int seed)
{
    private readonly Random random = new(seed);
    private readonly int width = 1 + seed * 7 % 90;

    public Expr Float(int depth, bool vector)
    {
        if (depth == 0)
            return FloatLeaf(vector);
        Expr x = Float(depth - 1, vector);
        return random.Next(12) switch
        {
            0 => Add(x, Float(depth - 1, vector)),
            1 => Sub(x, Float(depth - 1, vector)),
            2 => Op(Operation.Tanh, Mul(x, Float(depth - 1, vector))),
            3 => Op(Operation.Tanh, x),
            4 => Op(Operation.Exp, Op(Operation.Minimum, x, F(1))),
            5 => Where(Condition(vector), x, Float(depth - 1, vector)),
            6 => Op(Operation.Sqrt, Add(Op(Operation.Absolute, x), F(1))),
            7 => Op(Operation.Maximum, x, Float(depth - 1, vector)),
            8 => Div(x, Add(Mul(x, x), F(1))),
            9 => Op(Operation.Erf, x),
            10 => Add(x, Mul(x, F(0.5))),
            _ => Add(x, Op(Operation.ToFloat, Integer(vector))),
        };
    }

    private Expr FloatLeaf(bool vector) => random.Next(vector ? 6 : 3) switch
    {
        0 => F(Math.Round(random.NextDouble() * 4 - 2, 2)),
        1 => Load(0, At((V("i"), width), (N(random.Next(width)), 1))),
        2 => Op(Operation.ToFloat, Load(2, At("i"))),
        3 => Load(0, At("i", width, "j")),
        4 => Load(1, At("j")),
        _ => Load(0, At((V("i"), width), (Op(Operation.Remainder, Integer(vector), N(width)), 1))),
    };

    private Expr Condition(bool vector) => random.Next(3) switch
    {
        0 => Op(Operation.Less, Integer(vector), Integer(vector)),
        1 => Op(Operation.And, Op(Operation.LessOrEqual, Integer(vector), N(5)), Op(Operation.Not, Op(Operation.Equal, Integer(vector), N(1)))),
        _ => Op(Operation.Or, Op(Operation.Less, N(3), Integer(vector)), Op(Operation.Equal, Load(2, At("i")), Integer(vector))),
    };

    private Expr Integer(bool vector) => random.Next(6) switch
    {
        0 => N(random.Next(1, 12)),
        1 => Load(2, At("i")),
        2 => V("i"),
        3 => Op(Operation.Divide, Add(vector ? V("j") : V("i"), Load(2, At("i"))), N(random.Next(1, 6))),
        4 => Op(Operation.Maximum, vector ? V("j") : V("i"), N(2)),
        _ => vector ? V("j") : V("i"),
    };
}
