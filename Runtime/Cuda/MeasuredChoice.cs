namespace Legato.Runtime.Cuda;

/// <summary>
/// Chooses by time among ways to compute the same, which may round differently. The same kernel's times differ by a percent or two
/// from one measurement to the next, so ways that are as close are told apart by their order, which is fixed: starts that
/// measure anew then choose the same, and give the same bits.
/// </summary>
internal static class MeasuredChoice
{
    /// <summary>By this share of its time a way must beat the one that stands before it.</summary>
    public const double Margin = 0.03;

    /// <summary>Whether a way is so much faster than the usual one that it takes its place; never where either wasn't measured.</summary>
    public static bool Displaces(double seconds, double usual) => seconds * (1 + Margin) < usual;

    /// <summary>The first way that the fastest doesn't displace.</summary>
    /// <param name="seconds">Of each way, the usual first; infinite where it failed.</param>
    public static int Of(IReadOnlyList<double> seconds)
    {
        double fastest = seconds.Min();
        int at = 0;
        while (Displaces(fastest, seconds[at]))
            at++;
        return at;
    }
}
