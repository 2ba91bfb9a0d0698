using Legato.Runtime.Plans;
using static Legato.Tests.KernelLanguage;

namespace Legato.Tests;

/// <summary>GELU by a hyperbolic tangent, and its slope, as kernels spell them.</summary>
internal static class TanhGeluExpressions
{
    public static Expr Gelu(Expr x) => Mul(Mul(F(0.5), x), Add(F(1), Tanh(x)));

    public static Expr Slope(Expr x) => Add(
        Mul(F(0.5), Add(F(1), Tanh(x))),
        Mul(Mul(F(0.5), x), Mul(Sub(F(1), Mul(Tanh(x), Tanh(x))), Mul(F(0.7978845608028654), Add(F(1), Mul(F(3 * 0.044715), Mul(x, x)))))));

    private static Expr Tanh(Expr x) => Op(Operation.Tanh, Mul(F(0.7978845608028654), Add(x, Mul(F(0.044715), Mul(x, Mul(x, x))))));
}
