using System.Globalization;

namespace Legato.Runtime;

/// <summary>Counts of things in what people read: 1 token, 2 tokens.</summary>
public static class Counted
{
    /// <param name="noun">What one of them is called.</param>
    public static string Of(long count, string noun) =>
        string.Create(CultureInfo.InvariantCulture, $"{count} {noun}{(count == 1 ? "" : noun.EndsWith("ch", StringComparison.Ordinal) ? "es" : "s")}");
}
