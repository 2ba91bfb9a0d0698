using NUnit.Framework;

namespace Legato.Tests;

/// <summary>
/// Compares the elements of tensors: millions of them in milliseconds, where NUnit's own comparison of two arrays takes seconds. NaN is the same as NaN,
/// an infinity as itself.
/// </summary>
internal static class Elements
{
    public static void AreEqual(double[] actual, double[] expected, string what) => Agree(actual, expected, 0, what);

    /// <param name="tolerance">The largest difference of two elements that agree.</param>
    public static void Agree(double[] actual, double[] expected, double tolerance, string what) => Agree(actual, expected, _ => tolerance, what);

    /// <param name="tolerance">The same for an expected element.</param>
    public static void Agree(double[] actual, double[] expected, Func<double, double> tolerance, string what)
    {
        if (Difference(actual, expected, tolerance) is { } difference)
            Assert.Fail($"{what}: {difference}");
    }

    /// <summary>How many elements differ, and the first and the worst of them; null where none does.</summary>
    public static string? Difference(double[] actual, double[] expected, Func<double, double> tolerance)
    {
        if (actual.Length != expected.Length)
            return $"{actual.Length} elements instead of {expected.Length}";
        (int count, int first, int worst) = (0, -1, -1);
        double largest = double.NegativeInfinity;
        for (int i = 0; i < expected.Length; i++)
        {
            double distance = Math.Abs(actual[i] - expected[i]);
            if (actual[i].Equals(expected[i]) || distance <= tolerance(expected[i]))
                continue;
            if (count++ == 0)
                first = i;
            // Nothing is further apart than what has no distance.
            if (double.IsNaN(distance))
                distance = double.PositiveInfinity;
            if (distance > largest)
                (largest, worst) = (distance, i);
        }
        return count == 0 ? null : $"{count} of {expected.Length} elements differ, first {Pair(first)}, most {Pair(worst)}";

        string Pair(int i) => $"[{i}] {actual[i]:R} instead of {expected[i]:R}";
    }
}
