namespace Legato.Runtime.Interpreter;

/// <summary>The error function to about 1e-15 (Abramowitz and Stegun 1964, 7.1.6 and 7.1.14).</summary>
internal static class ErrorFunction
{
    private const double SeriesLimit = 3;
    private const int FractionTerms = 60;

    public static double Erf(double x)
    {
        if (double.IsNaN(x))
            return x;
        double magnitude = Math.Abs(x);
        double value = magnitude < SeriesLimit ? Series(magnitude) : 1 - ComplementFraction(magnitude);
        return Math.CopySign(value, x);
    }

    /// <summary>erf x = 2/√π · exp(-x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1·3·…·(2n+1)); all terms positive.</summary>
    private static double Series(double x)
    {
        double term = x, sum = x;
        for (int n = 1; term > sum * 1e-17; n++)
        {
            term *= 2 * x * x / (2 * n + 1);
            sum += term;
        }
        return 2 / Math.Sqrt(Math.PI) * Math.Exp(-x * x) * sum;
    }

    /// <summary>erfc x = exp(-x²)/√π · 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + …)))), from the innermost term outwards.</summary>
    private static double ComplementFraction(double x)
    {
        double fraction = x;
        for (int n = FractionTerms; n >= 1; n--)
            fraction = x + n / 2.0 / fraction;
        return Math.Exp(-x * x) / Math.Sqrt(Math.PI) / fraction;
    }
}
