using System.Runtime.Intrinsics;
using Legato.Runtime.Cpu;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using NUnit.Framework;

namespace Legato.Tests;

using Math128 = VectorMath<Vector128<float>, Vector128<int>, Lanes128>;
using Math256 = VectorMath<Vector256<float>, Vector256<int>, Lanes256>;
using Math512 = VectorMath<Vector512<float>, Vector512<int>, Lanes512>;

/// <summary>Vector functions against float64 over their whole domains.</summary>
[TestFixture]
public class VectorMathTests
{
    private static readonly float[] Extremes =
    [
        0f, -0f, 1f, -1f, float.Epsilon, -float.Epsilon, 1e-38f, 1.17549435e-38f, float.MaxValue, float.MinValue,
        float.PositiveInfinity, float.NegativeInfinity, float.NaN, 88.7f, 88.8f, -87.4f, -103.9f, -104.1f, 0.625f, 4f, 1e10f,
    ];

    [Test]
    public void ExpIsWithinTwoUnits() => Check(v => Math512.Exp(v), v => Math256.Exp(v), v => Math128.Exp(v), Math.Exp, -110, 95, 2);

    [Test]
    public void LogIsWithinTwoUnits()
    {
        Check(v => Math512.Log(v), v => Math256.Log(v), v => Math128.Log(v), Math.Log, 1e-3, 3, 2);
        Check(v => Math512.Log(v), v => Math256.Log(v), v => Math128.Log(v), Math.Log, 1e-45, 1e-37, 2);
        Check(v => Math512.Log(v), v => Math256.Log(v), v => Math128.Log(v), Math.Log, 1, 1e30, 2);
    }

    [Test]
    public void TanhIsWithinThreeUnits() => Check(v => Math512.Tanh(v), v => Math256.Tanh(v), v => Math128.Tanh(v), Math.Tanh, -12, 12, 3);

    [Test]
    public void ErfIsWithinAMillionth() =>
        Check(v => Math512.Erf(v), v => Math256.Erf(v), v => Math128.Erf(v), ErrorFunction.Erf, -6, 6, 0, absolute: 1e-6);

    [Test]
    public void SinAndCosAreWithinTwoUnitsOfOne()
    {
        Check(v => Lanes512.Sin(v), v => Lanes256.Sin(v), v => Lanes128.Sin(v), Math.Sin, -1e5, 1e5, 2, absolute: 1e-7, largest: 1e6f);
        Check(v => Lanes512.Cos(v), v => Lanes256.Cos(v), v => Lanes128.Cos(v), Math.Cos, -1e5, 1e5, 2, absolute: 1e-7, largest: 1e6f);
    }

    [Test]
    public void ReciprocalRootIsWithinTwoUnits() =>
        Check(v => Math512.Rsqrt(v), v => Math256.Rsqrt(v), v => Math128.Rsqrt(v), x => 1 / Math.Sqrt(x), 1e-6, 1e6, 2);

    [Test]
    public void PowerIsWithinTwoUnits()
    {
        foreach (double exponent in new[] { -3.5, -1, 0, 0.5, 2, 7.25 })
            Check(
                v => Math512.Power(v, Vector512.Create((float)exponent)), v => Math256.Power(v, Vector256.Create((float)exponent)),
                v => Math128.Power(v, Vector128.Create((float)exponent)), x => Math.Pow(x, exponent), 1e-3, 1e3, 2);
    }

    [Test]
    public void RandomNumbersHaveTheBitsOfTheDefinition()
    {
        foreach (int seed in new[] { 0, 1, -7, int.MaxValue })
            for (int counter = 0; counter < 4096; counter += 16)
            {
                Vector512<int> counters = Vector512.Create(counter) + Vector512<int>.Indices;
                Vector512<float> numbers = VectorRandom<Vector512<float>, Vector512<int>, Lanes512>.Random(Vector512.Create(seed), counters);
                for (int lane = 0; lane < 16; lane++)
                    Assert.That(numbers[lane], Is.EqualTo(Philox.Uniform(seed, counter + lane)));
            }
    }

    [Test]
    public void PhiloxGivesTheKnownWords()
    {
        // Known answers of the paper's reference implementation for 2x32-10.
        Assert.That(Philox.Word(0, 0), Is.EqualTo(0xff1dae59));
        Assert.That(Philox.Word(0xffffffff, 0xffffffffffffffff), Is.EqualTo(0x2c3f628b));
        Assert.That(Philox.Word(0x13198a2e, 0x85a308d3243f6a88), Is.EqualTo(0xdd7ce038));
    }

    private static void Check(
        Func<Vector512<float>, Vector512<float>> wide, Func<Vector256<float>, Vector256<float>> middle,
        Func<Vector128<float>, Vector128<float>> narrow, Func<double, double> exact,
        double from, double to, double units, double absolute = 0, float largest = float.PositiveInfinity)
    {
        var random = new Random(1);
        IEnumerable<float> points = Enumerable.Range(0, 40_000)
            .Select(i => i % 2 == 0 ? (float)(from + (to - from) * random.NextDouble()) : BitConverter.Int32BitsToSingle(random.Next(int.MinValue, int.MaxValue)))
            .Concat(Extremes)
            .Where(x => float.IsNaN(x) || Math.Abs(x) <= largest);
        foreach (float x in points)
        {
            Compare(x, exact(x), wide(Vector512.Create(x))[7], units, absolute);
            Compare(x, exact(x), middle(Vector256.Create(x))[3], units, absolute);
            Compare(x, exact(x), narrow(Vector128.Create(x))[1], units, absolute);
        }
    }

    private static void Compare(float x, double exact, float actual, double units, double absolute)
    {
        float expected = (float)exact;
        if (float.IsNaN(expected) || float.IsInfinity(expected) || float.IsInfinity(actual) || float.IsNaN(actual))
        {
            // At the border of the range a result one unit off may overflow or not.
            bool border = Math.Abs(exact) > float.MaxValue * 0.999999 && Math.Abs(actual) > float.MaxValue * 0.999999;
            if (!border && !expected.Equals(actual))
                Assert.Fail($"at {x:R}: {actual:R} instead of {expected:R}");
            return;
        }
        double unit = Math.Max(MathF.BitIncrement(MathF.Abs(expected)) - MathF.Abs(expected), float.Epsilon);
        double error = Math.Abs(actual - exact);
        if (error > units * unit && error > absolute)
            Assert.Fail($"at {x:R}: {actual:R} instead of {exact:R}, {error / unit:F2} units off");
    }
}
