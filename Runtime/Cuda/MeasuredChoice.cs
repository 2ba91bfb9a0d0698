namespace Legato.Runtime.Cuda;

/// <summary>A way to compute something, as it was measured.</summary>
/// <param name="Seconds">Infinite where it failed.</param>
/// <param name="Digest">Of the result's bits: ways with the same one round alike.</param>
internal readonly record struct MeasuredWay(double Seconds, ulong Digest);

/// <summary>
/// Chooses by time among ways to compute the same, so that starts that measure anew give the same bits. Among ways that give the
/// same bits the fastest is taken. Ways that round otherwise are told apart by their order, which is fixed, unless one is clearly
/// faster: the same kernel's times differ by some percent from one measurement to the next.
/// </summary>
internal static class MeasuredChoice
{
    /// <summary>
    /// By this share of its time a way must beat the usual one to take its place with other bits. No product of GPT-2 124M's or LLaMA 1B's and 8B's
    /// on an H200 lies near, however its clocks stand: where ways that round otherwise are faster, they are by up to 16 %, or 2.6 times as fast and more.
    /// </summary>
    public const double Margin = 0.3;

    /// <summary>Whether a way is so much faster than the usual one that it takes its place; never where either wasn't measured.</summary>
    public static bool Displaces(double seconds, double usual) => seconds * (1 + Margin) < usual;

    /// <summary>The index of the way to take.</summary>
    /// <param name="ways">The usual first.</param>
    public static int Of(IReadOnlyList<MeasuredWay> ways)
    {
        double fastest = ways.Min(way => way.Seconds);
        MeasuredWay chosen = ways.GroupBy(way => way.Digest).Select(alike => alike.MinBy(way => way.Seconds)).First(best => !Displaces(fastest, best.Seconds));
        return ways.ToList().IndexOf(chosen);
    }
}
